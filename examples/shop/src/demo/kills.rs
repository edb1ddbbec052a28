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
struct Addresses {
    orders: String,
    payments: String,
}

/// Customers who order, one after the other.
#[derive(Default)]
pub(super) struct Customers {
    count: AtomicU32,
    is_over: AtomicBool,
}

impl Shop {
    /// Kills that number of programs while customers order, then waits until the books agree.
    pub(super) fn kill_all(&mut self, kills: u32, say: &mut dyn FnMut(&str)) -> Outcome {
        let ((), orders) = self.while_ordering(|shop, customers| {
            (0..kills).try_for_each(|kill| {
                customers.wait_for_orders();
                let program = shop.program(kill);
                program.kill()?;
                program.start()
            })
        })?;
        say(&format!("{kills} kills while {orders} orders were placed and paid"));
        self.check_orders(orders, say)
    }

    /// Does something while customers order, and ends when they have the answers to what they had in hand. Returns its outcome, and how
    /// many orders were placed and paid.
    pub(super) fn while_ordering<T>(
        &mut self,
        act: impl FnOnce(&mut Self, &Customers) -> Outcome<T>,
    ) -> Outcome<(T, u32)> {
        let (addresses, customers) = (self.addresses(), Customers::default());
        let done = thread::scope(|scope| {
            let ordering = scope.spawn(|| customers.order(&addresses));
            let done = act(self, &customers);
            customers.is_over.store(true, Ordering::SeqCst);
            ordering.join().map_err(|_| "the customers panicked".to_owned())?;
            done
        })?;
        Ok((done, customers.orders()))
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

    fn addresses(&self) -> Addresses {
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

impl Customers {
    /// The orders that were placed and paid.
    pub(super) fn orders(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until they got some more answers.
    pub(super) fn wait_for_orders(&self) {
        let enough = self.orders() + ORDERS_BETWEEN_KILLS;
        while self.orders() < enough && !self.is_over.load(Ordering::SeqCst) {
            thread::sleep(RETRY_PAUSE);
        }
    }

    /// Orders and pays, one after the other. Every request is sent until it is answered, under its key.
    fn order(&self, shop: &Addresses) {
        while !self.is_over.load(Ordering::SeqCst) {
            let order = name(self.orders());
            let place = json!({"article": "pen", "count": 1, "cents": CENTS, "pay_within_seconds": 3600});
            let placed = format!("{}/commands/order/{order}/place", shop.orders);
            let payment = format!("for-{order}");
            let pay = json!({"payment": payment, "order": order, "cents": CENTS});
            let paid = format!("{}/commands/payment/{payment}/pay", shop.payments);
            if is_answered(&placed, &place, &self.is_over) && is_answered(&paid, &pay, &self.is_over) {
                self.count.fetch_add(1, Ordering::SeqCst);
            }
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
