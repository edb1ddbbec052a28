//! The shop on two servers of a store on a cluster of NATS. Nodes of the cluster are killed while customers order.

use std::path::Path;

use test_servers::NatsCluster;

use super::programs::Program;
use super::{Outcome, Shop};

/// Partitions of the store. An order, a stock and a payment are in any of them.
const PARTITIONS: u16 = 3;

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
            // Others use the cluster too.
            let name = format!("shop-{}", std::process::id());
            let store = format!("{}/{name}?copy={}&partitions={PARTITIONS}", cluster.url(), copy.display());
            Program::new(programs, "shop-server", &["--store", &store])
        });
        server.start()?;
        second.start()?;
        say(&format!("three nodes, {PARTITIONS} partitions: {}", cluster.url()));
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
        let (orders, stall) = self.while_ordering_watched(|shop, customers| {
            (0..kills).try_for_each(|kill| {
                customers.wait_for_orders();
                let node = kill as usize % cluster.size();
                cluster.kill(node);
                say(&format!("node {node} is killed after {} orders", customers.orders()));
                shop.wait_for_shipment()?;
                customers.wait_for_orders();
                cluster.start_again(node);
                cluster.wait_until_ready(node);
                say(&format!("node {node} is back after {} orders", customers.orders()));
                shop.wait_for_shipment()
            })
        })?;
        self.check_orders(orders, say)?;
        say(&format!("{orders} orders are placed, paid and shipped once each"));
        say(&format!("longest time without a shipped order: {:.1} s", stall.as_secs_f64()));
        Ok(())
    }
}
