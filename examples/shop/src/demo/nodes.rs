//! The shop on two servers of a store on a cluster of NATS. Nodes of the cluster are killed while customers order.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use test_servers::NatsCluster;

use super::kills::{order_until, wait_for_orders};
use super::programs::Program;
use super::servers::longest_stall;
use super::{Outcome, Shop};

impl Shop {
    /// Starts the programs on two servers of a store on a cluster, each with its copy in the folder.
    pub(super) fn open_clustered(
        programs: &Path,
        folder: &Path,
        cluster: &NatsCluster,
        say: &mut dyn FnMut(&str),
    ) -> Outcome<Self> {
        let [mut server, mut second] = ["first", "second"].map(|name| {
            let copy = folder.join(name);
            let store = format!("{}/shop?copy={}", cluster.url(), copy.display());
            Program::new(programs, "shop-server", &["--store", &store])
        });
        server.start()?;
        second.start()?;
        say(&format!("three nodes: {}", cluster.url()));
        say(&format!("a second server of the log is at {}", second.url()));
        Self::serve(programs, folder, (server, Some(second)), say)
    }

    /// Kills that number of nodes, one after the other, and starts each again. Customers order meanwhile. Then waits until the books agree.
    pub(super) fn lose_nodes(
        &mut self,
        cluster: &mut NatsCluster,
        kills: u32,
        say: &mut dyn FnMut(&str),
    ) -> Outcome {
        let (addresses, orders) = (self.addresses(), self.orders.url().to_owned());
        let (count, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
        let stall = thread::scope(|scope| {
            let customers = scope.spawn(|| order_until(&addresses, &count, &is_over));
            let watch = scope.spawn(|| longest_stall(&orders, &is_over));
            let lost = (0..kills).try_for_each(|kill| {
                wait_for_orders(&count, &is_over);
                let node = kill as usize % cluster.size();
                cluster.kill(node);
                say(&format!("node {node} is killed after {} orders", count.load(Ordering::SeqCst)));
                self.wait_for_shipment()?;
                wait_for_orders(&count, &is_over);
                cluster.start_again(node);
                cluster.wait_until_ready(node);
                say(&format!("node {node} is back after {} orders", count.load(Ordering::SeqCst)));
                self.wait_for_shipment()
            });
            is_over.store(true, Ordering::SeqCst);
            let (customers, stall) = (customers.join(), watch.join());
            let panicked = |_| "a thread of the demo panicked".to_owned();
            customers.map_err(panicked)?;
            lost.and(stall.map_err(panicked))
        })?;
        let orders = count.load(Ordering::SeqCst);
        self.check_orders(orders, say)?;
        say(&format!("{orders} orders are placed, paid and shipped once each"));
        say(&format!("longest time without a shipped order: {:.1} s", stall.as_secs_f64()));
        Ok(())
    }
}
