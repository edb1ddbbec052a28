//! Customers order while all programs of the shop are killed, one after the other. In the end every order is shipped once.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::programs::Program;
use super::{CENTS, Outcome, Shop};

/// How long a customer waits before the same request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Orders that must be answered between two kills.
const ORDERS_BETWEEN_KILLS: u32 = 5;

/// The addresses that customers use. They stay the same over restarts.
pub(super) struct Addresses {
    orders: String,
    payments: String,
}

impl Shop {
    /// Kills that number of programs while customers order, then waits until the books agree.
    pub(super) fn kill_all(&mut self, kills: u32, say: &mut dyn FnMut(&str)) -> Outcome {
        let addresses = self.addresses();
        let (count, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
        let killed = thread::scope(|scope| {
            let customers = scope.spawn(|| order_until(&addresses, &count, &is_over));
            let killed = (0..kills).try_for_each(|kill| {
                wait_for_orders(&count, &is_over);
                let program = self.program(kill);
                program.kill()?;
                program.start()
            });
            is_over.store(true, Ordering::SeqCst);
            customers.join().map_err(|_| "the customers panicked".to_owned())?;
            killed
        });
        killed?;
        let orders = count.load(Ordering::SeqCst);
        say(&format!("{kills} kills while {orders} orders were placed and paid"));
        self.check_orders(orders, say)
    }

    /// Waits until all these orders of customers are shipped and the books agree. Each was shipped once, and each payment has one
    /// receipt.
    pub(super) fn check_orders(&self, orders: u32, say: &mut dyn FnMut(&str)) -> Outcome {
        let names = (0..orders).map(name).collect::<Vec<_>>();
        self.wait("all orders are shipped", |shop| shop.has_status(&names, "shipped"))?;
        self.wait("the books agree", |shop| shop.books().map(|books| books.agree()))?;
        let books = self.books()?;
        say(&format!("{} pens are sold, {} left the house", books.ordered, books.shipped));
        if books.ordered != i64::from(orders) {
            return Err(format!("{} pens were sold, {orders} ordered", books.ordered));
        }
        self.check_receipts()
    }

    /// Each payment has one receipt, and no order is parked.
    pub(super) fn check_receipts(&self) -> Outcome {
        let receipts = self.payments.rows("payments", "select count(*) from payments where receipts != 1")?;
        if receipts != [json!([0])] || self.parked()? != 0 {
            return Err(format!("payments without exactly one receipt: {}", Value::from(receipts)));
        }
        Ok(())
    }

    pub(super) fn addresses(&self) -> Addresses {
        Addresses { orders: self.orders.url().to_owned(), payments: self.payments.url().to_owned() }
    }

    /// Each program in its turn.
    fn program(&mut self, kill: u32) -> &mut Program {
        match kill % 4 {
            0 => &mut self.stock,
            1 => &mut self.orders,
            2 => &mut self.payments,
            _ => &mut self.server,
        }
    }
}

fn name(number: u32) -> String {
    format!("k{number}")
}

/// Waits until customers got some more answers.
pub(super) fn wait_for_orders(count: &AtomicU32, is_over: &AtomicBool) {
    let enough = count.load(Ordering::SeqCst) + ORDERS_BETWEEN_KILLS;
    while count.load(Ordering::SeqCst) < enough && !is_over.load(Ordering::SeqCst) {
        thread::sleep(RETRY_PAUSE);
    }
}

/// Orders and pays, one after the other. Every request is sent until it is answered, under its key.
pub(super) fn order_until(shop: &Addresses, count: &AtomicU32, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let order = name(count.load(Ordering::SeqCst));
        let place = json!({"article": "pen", "count": 1, "cents": CENTS, "pay_within_seconds": 3600});
        let placed = format!("{}/commands/order/{order}/place", shop.orders);
        let payment = format!("for-{order}");
        let pay = json!({"payment": payment, "order": order, "cents": CENTS});
        let paid = format!("{}/commands/payment/{payment}/pay", shop.payments);
        if is_answered(&placed, &place, is_over) && is_answered(&paid, &pay, is_over) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Sends a request until it is answered. False if it was not when all was over.
fn is_answered(url: &str, body: &Value, is_over: &AtomicBool) -> bool {
    while super::programs::post(url, body, Some(url)).is_err() {
        if is_over.load(Ordering::SeqCst) {
            return false;
        }
        thread::sleep(RETRY_PAUSE);
    }
    true
}
