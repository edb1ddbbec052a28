//! The shop on two servers of one database. The one that deals the consumer groups is killed while customers order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::kills::Customers;
use super::programs::{Program, request, rows};
use super::{Outcome, PATIENCE, Shop};

/// The pause between two looks, far below the stall that is measured.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

impl Shop {
    /// Starts the programs on two servers of a schema of a database.
    pub(super) fn open_shared(
        programs: &Path,
        folder: &Path,
        database: &str,
        say: &mut dyn FnMut(&str),
    ) -> Outcome<Self> {
        let [mut server, mut second] =
            [(); 2].map(|()| Program::new(programs, "shop-server", &["--store", database]));
        server.start()?;
        second.start()?;
        say(&format!("a second server of the log is at {}", second.url()));
        Self::serve(programs, folder, (server, Some(second)), say)
    }

    /// Kills the server that deals the groups, that number of times, while customers order. Then waits until the books agree.
    pub(super) fn lose_servers(&mut self, kills: u32, say: &mut dyn FnMut(&str)) -> Outcome {
        let (orders, stall) = self.while_ordering_watched(|shop, customers| {
            (0..kills).try_for_each(|_| {
                customers.wait_for_orders();
                shop.lose_server(say)?;
                shop.wait_for_shipment()
            })
        })?;
        self.check_orders(orders, say)?;
        say(&format!("longest time without a shipped order: {:.1} s", stall.as_secs_f64()));
        Ok(())
    }

    /// [`Self::while_ordering`], with the longest time in which no order was shipped.
    pub(super) fn while_ordering_watched(
        &mut self,
        act: impl FnOnce(&mut Self, &Customers) -> Outcome,
    ) -> Outcome<(u32, Duration)> {
        let (url, is_over) = (self.orders.url().to_owned(), AtomicBool::new(false));
        thread::scope(|scope| {
            let watch = scope.spawn(|| longest_stall(&url, &is_over));
            let done = self.while_ordering(act);
            is_over.store(true, Ordering::SeqCst);
            let stall = watch.join().map_err(|_| "the watch over shipments panicked".to_owned());
            let ((), orders) = done?;
            Ok((orders, stall?))
        })
    }

    /// Kills the server that deals, and starts it again once the other one deals.
    fn lose_server(&mut self, say: &mut dyn FnMut(&str)) -> Outcome {
        let mut servers = std::iter::once(&mut self.server).chain(&mut self.second).collect::<Vec<_>>();
        let lost = dealing(&servers)?;
        servers[lost].kill()?;
        let begun = Instant::now();
        dealing(&servers)?;
        say(&format!(
            "the server that deals the groups is killed; the other one deals {:.1} s later",
            begun.elapsed().as_secs_f64()
        ));
        servers[lost].start()
    }

    /// Waits until an order is shipped that was not shipped yet.
    pub(super) fn wait_for_shipment(&self) -> Outcome {
        let before = shipped(self.orders.url())?;
        self.wait("an order is shipped", |shop| Ok(shipped(shop.orders.url())? > before))
    }
}

/// The place of the server that deals the groups, once one says so. A server that was killed says nothing.
fn dealing(servers: &[&mut Program]) -> Outcome<usize> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let deals = |server: &&mut Program| {
            request(&format!("{}/readyz", server.url()))
                .is_ok_and(|ready| ready["groups"]["dealtHere"] == true)
        };
        if let Some(place) = servers.iter().position(deals) {
            return Ok(place);
        }
        thread::sleep(LOOK_PAUSE);
    }
    Err(format!("{} s passed, and no server deals the groups", PATIENCE.as_secs()))
}

/// The longest time in which no further order was shipped, as the view of the orders service shows it.
fn longest_stall(orders: &str, is_over: &AtomicBool) -> Duration {
    let (mut longest, mut seen, mut since) = (Duration::ZERO, 0, Instant::now());
    while !is_over.load(Ordering::SeqCst) {
        longest = longest.max(since.elapsed());
        // A service that is away has shipped nothing.
        let now = shipped(orders).unwrap_or(seen);
        if now > seen {
            (seen, since) = (now, Instant::now());
        }
        thread::sleep(LOOK_PAUSE);
    }
    longest
}

fn shipped(orders: &str) -> Outcome<i64> {
    let counted = rows(orders, "orders", "select count(*) from orders where status = 'shipped'")?;
    let number = counted.first().and_then(|row| row[0].as_i64());
    number.ok_or_else(|| "the view of orders has no count".to_owned())
}
