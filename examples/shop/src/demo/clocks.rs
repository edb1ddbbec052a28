//! The orders service is killed and starts again under another clock, two hours early or late. Each timer fires once.
//!
//! `libfaketime` moves the clock of the service, and the other programs keep the real one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::programs::{post, request};
use super::{CENTS, Outcome, Shop};

/// The clocks that the service gets in turn, in seconds before or after the real one.
const OFFSETS: [i64; 5] = [7_200, -7_200, 0, -7_200, 7_200];
/// Far enough that each timer that was set under any clock is due.
const OFFSET_AT_END: i64 = 6 * 3_600;
/// The times to pay of the orders between two kills: over at once, under a later clock, and long after.
const PAY_WITHIN_SECONDS: [u64; 4] = [1, 1_800, 5_400, 13_800];
/// The time to pay of orders that are paid. It is over under no clock.
const PAID_WITHIN_SECONDS: u64 = 48 * 3_600;
/// Where the system keeps named shared memory.
const SHARED_MEMORY: &str = "/dev/shm";
/// How long a customer waits before the same request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The orders of all customers.
#[derive(Default)]
struct Orders {
    unpaid: Vec<String>,
    paid: Vec<String>,
}

impl Shop {
    /// Kills the orders service that number of times while timers are set and fire, and moves its clock each time. In the end
    /// every timer fired once, unless its order was paid.
    pub(super) fn move_clocks(&mut self, kills: u32, say: &mut dyn FnMut(&str)) -> Outcome {
        self.orders.set("LD_PRELOAD", &library()?);
        // Only the wall clock is wrong.
        self.orders.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut orders = Orders::default();
        for (kill, offset) in (0..kills).zip(OFFSETS.into_iter().cycle()) {
            self.order_some(kill, &mut orders)?;
            self.restart_orders_at(offset)?;
        }
        // What a killed service had in hand comes again, and its timer is set by the clock of then.
        let count = orders.unpaid.len() + orders.paid.len();
        self.wait("every order has its timer", |shop| Ok(shop.timers("set")?.len() == count))?;
        self.restart_orders_at(OFFSET_AT_END)?;
        let Orders { unpaid, paid } = &orders;
        self.wait("orders that nobody paid are cancelled", |shop| shop.has_status(unpaid, "cancelled"))?;
        self.wait("paid orders are shipped", |shop| shop.has_status(paid, "shipped"))?;
        self.check_timers(&orders)?;
        say(&format!(
            "{kills} kills under clocks up to 2 h off: {} timers fired once each, {} were cancelled and never fired",
            unpaid.len(),
            paid.len()
        ));
        if self.parked()? != 0 {
            return Err("no order may be parked".to_owned());
        }
        self.kill_orders()
    }

    fn restart_orders_at(&mut self, offset: i64) -> Outcome {
        self.kill_orders()?;
        self.orders.set("FAKETIME", &format!("{offset:+}"));
        self.orders.start()
    }

    /// Kills the orders service, and removes what the library leaves behind of a killed process.
    fn kill_orders(&mut self) -> Outcome {
        let id = self.orders.id();
        self.orders.kill()?;
        for name in
            id.into_iter().flat_map(|id| [format!("faketime_shm_{id}"), format!("sem.faketime_sem_{id}")])
        {
            // Before the first restart there is none.
            drop(fs::remove_file(Path::new(SHARED_MEMORY).join(name)));
        }
        Ok(())
    }

    fn order_some(&self, kill: u32, orders: &mut Orders) -> Outcome {
        for (number, seconds) in (0..).zip(PAY_WITHIN_SECONDS) {
            let order = format!("unpaid-{kill}-{number}");
            self.place_surely(&order, seconds);
            orders.unpaid.push(order);
        }
        let order = format!("paid-{kill}");
        self.place_surely(&order, PAID_WITHIN_SECONDS);
        self.pay(&order)?;
        orders.paid.push(order);
        Ok(())
    }

    /// Places an order of a pen, again under its key until it is answered.
    fn place_surely(&self, order: &str, pay_within_seconds: u64) {
        let url = format!("{}/commands/order/{order}/place", self.orders.url());
        let body =
            json!({"article": "pen", "count": 1, "cents": CENTS, "pay_within_seconds": pay_within_seconds});
        while post(&url, &body, Some(&url)).is_err() {
            thread::sleep(RETRY_PAUSE);
        }
    }

    /// Each order has set one timer. That of each unpaid order fired once, and no other.
    fn check_timers(&self, orders: &Orders) -> Outcome {
        let (set, fired) = (self.timers("set")?, self.timers("fired")?);
        let all = orders.unpaid.iter().chain(&orders.paid);
        if set != all.map(|order| (order.clone(), 1)).collect() {
            return Err(format!("each order sets one timer, but they were set this often: {set:?}"));
        }
        if fired != orders.unpaid.iter().map(|order| (order.clone(), 1)).collect() {
            return Err(format!(
                "each timer of an unpaid order fires once, but they fired this often: {fired:?}"
            ));
        }
        let other = "select count(*) from orders where status = 'cancelled' and reason != 'not paid in time'";
        match self.orders.rows("orders", other)?.as_slice() {
            [row] if row == &json!([0]) => Ok(()),
            rows => Err(format!("orders cancelled for another reason: {}", Value::from(rows))),
        }
    }

    /// How often the timer of each order was `set`, or `fired`.
    fn timers(&self, what: &str) -> Outcome<BTreeMap<String, usize>> {
        let (mut timers, mut from) = (BTreeMap::new(), "start".to_owned());
        loop {
            let query = format!("category=fulfilment&type=gesta.process.timer-{what}&from={from}");
            let page = request(&format!("{}/events?{query}", self.server.url()))?;
            for event in page["events"].as_array().into_iter().flatten() {
                let order = event["stream"].as_str().and_then(|stream| stream.strip_prefix("fulfilment-"));
                *timers.entry(order.unwrap_or_default().to_owned()).or_default() += 1;
            }
            if page["end"] == true {
                return Ok(timers);
            }
            from = page["scannedTo"].as_str().unwrap_or_default().to_owned();
        }
    }
}

/// The library that moves the clock of a program, from the program `faketime`.
fn library() -> Outcome<String> {
    let missing = |why: &dyn std::fmt::Display| format!("`faketime` is needed: install the package ({why})");
    let asked = Command::new("faketime").args(["-f", "+0s", "printenv", "LD_PRELOAD"]).output();
    let asked = asked.map_err(|error| missing(&error))?;
    let library = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if library.is_empty() {
        return Err(missing(&String::from_utf8_lossy(&asked.stderr)));
    }
    Ok(library)
}
