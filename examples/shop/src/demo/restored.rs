//! The shop goes on in another log: one restored from a backup that was taken between two rounds of orders, or a copy that went
//! through PostgreSQL. Groups and processes are where they were, and timers fire.

use std::path::Path;

use serde_json::{Value, json};

use super::kills::Customers;
use super::programs::Program;
use super::{Outcome, Shop, log_of};

/// Rounds of orders before the backup.
const ROUNDS: u32 = 4;

impl Shop {
    /// Kills the server while customers order, backs its log up, and lets the orders go on. Then restores the backup, and
    /// returns the shop on the restored log when it has finished all that the backup holds.
    pub(super) fn restore(
        mut self,
        programs: &Path,
        folder: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Outcome<Self> {
        let backup = folder.join("backup").display().to_string();
        let (paid, later) = self.while_ordering(|shop, customers| {
            let paid = shop.back_up(&log_of(folder), &backup, customers)?;
            customers.wait_for_orders();
            Ok(paid)
        })?;
        self.stop()?;
        say(&format!("a backup has at least {paid} orders that were paid; {later} are paid now"));

        let restored = folder.join("restored");
        Program::new(programs, "shop-server", &[]).run(&[
            "restore",
            "--from",
            &backup,
            "--dir",
            &log_of(&restored),
        ])?;
        let shop = Self::open(programs, &restored, say)?;
        shop.finish_restored(paid, say)?;
        Ok(shop)
    }

    /// Kills all programs while customers order, copies the log into a database and from there into a new folder, and returns the
    /// shop on that copy, when it has finished all that was paid.
    pub(super) fn move_through(
        mut self,
        programs: &Path,
        (folder, database): (&Path, &str),
        say: &mut dyn FnMut(&str),
    ) -> Outcome<Self> {
        let unpaid = ["unpaid".to_owned()];
        self.place(&unpaid[0], 1, 3_600)?;
        // What a customer has in hand is answered before the server ends.
        let ((), paid) = self.while_ordering(|_, customers| {
            (0..ROUNDS).for_each(|_| customers.wait_for_orders());
            Ok(())
        })?;
        self.place("late", 1, 1)?;
        self.orders.kill()?;
        self.server.kill()?;
        let moved = folder.join("moved");
        for (from, to) in [(&*log_of(folder), database), (database, &*log_of(&moved))] {
            self.server.run(&["copy", "--from", from, "--to", to])?;
        }
        self.stop()?;
        say(&format!("{paid} orders were paid before the log was moved"));
        let shop = Self::open(programs, &moved, say)?;
        shop.finish_restored(paid, say)?;
        shop.wait("the timer that was set before fires", |shop| {
            shop.has_status(&["late".to_owned()], "cancelled")
        })?;
        match shop.has_status(&unpaid, "placed")? {
            true => Ok(shop),
            false => Err("an order was cancelled before its time".to_owned()),
        }
    }

    /// Takes a backup of the log of a server that is killed for it. Returns how many orders were paid before.
    fn back_up(&mut self, log: &str, to: &str, customers: &Customers) -> Outcome<u32> {
        (0..ROUNDS).for_each(|_| customers.wait_for_orders());
        self.server.kill()?;
        let paid = customers.orders();
        self.server.run(&["backup", "--dir", log, "--to", to])?;
        self.server.start()?;
        Ok(paid)
    }

    /// Waits until all that was paid in the restored log is shipped, and compares the books.
    fn finish_restored(&self, paid: u32, say: &mut dyn FnMut(&str)) -> Outcome {
        let payments = |shop: &Self| -> Outcome<i64> {
            let rows = shop.payments.rows("payments", "select count(*) from payments")?;
            rows.first()
                .and_then(|row| row[0].as_i64())
                .ok_or_else(|| format!("no number: {}", Value::from(rows)))
        };
        self.wait("the payments of the backup are there", |shop| Ok(payments(shop)? >= i64::from(paid)))?;
        self.wait("all that was paid is shipped", |shop| {
            let books = shop.books()?;
            Ok(books.ordered == payments(shop)? && books.agree())
        })?;
        let books = self.books()?;
        say(&format!("restored: {} pens are sold, {} left the house", books.ordered, books.shipped));
        self.wait("each payment has a receipt", |shop| {
            let without =
                shop.payments.rows("payments", "select count(*) from payments where receipts = 0")?;
            Ok(without == [json!([0])])
        })?;
        self.check_receipts()
    }
}
