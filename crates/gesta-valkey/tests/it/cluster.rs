//! The laws on a cluster of two servers, each with half of the slots.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gesta_conformance::SnapshotHarness;
use gesta_core::{MemorySnapshotStore, SnapshotStore};
use tempfile::TempDir;
use test_servers::free_ports;

use super::server::Server;

/// How long two servers may take to become a cluster.
const MEET_TIME: Duration = Duration::from_secs(60);

/// The servers, and the folder of their configurations, which they write while they run.
struct TwoServers(Option<([Server; 2], TempDir)>);

impl TwoServers {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [one, one_bus, other, other_bus] = free_ports();
        let start = |port: u16, bus: u16| {
            let (bus, nodes) = (bus.to_string(), folder.path().join(format!("{port}.conf")));
            let nodes = nodes.to_string_lossy();
            let arguments =
                ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-config-file", &nodes];
            Server::start_at(port, &arguments)
        };
        let Some(servers) = start(one, one_bus).zip(start(other, other_bus)) else { return Self(None) };
        let servers = [servers.0, servers.1];
        assert_eq!(servers[0].command("CLUSTER ADDSLOTSRANGE 0 8191"), "+OK");
        assert_eq!(servers[1].command("CLUSTER ADDSLOTSRANGE 8192 16383"), "+OK");
        assert_eq!(servers[0].command(&format!("CLUSTER MEET 127.0.0.1 {other} {other_bus}")), "+OK");
        let begun = Instant::now();
        for server in &servers {
            // Slots of both servers answer as soon as the cluster is whole.
            let is_whole = || {
                let answers = ["GET a", "GET b", "GET c", "GET d"].map(|command| server.command(command));
                answers.iter().all(|answer| !answer.starts_with("-CLUSTERDOWN"))
            };
            while !is_whole() {
                assert!(begun.elapsed() < MEET_TIME, "the servers are no cluster");
                std::thread::yield_now();
            }
        }
        Self(Some((servers, folder)))
    }
}

impl SnapshotHarness for TwoServers {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        match &self.0 {
            Some((servers, _)) => Arc::new(servers[0].snapshots()),
            None => Arc::new(MemorySnapshotStore::new()),
        }
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        match &self.0 {
            Some((servers, _)) => {
                servers.iter().for_each(|server| assert_eq!(server.command("FLUSHALL"), "+OK"));
                store
            }
            None => self.store(),
        }
    }
}

mod two_servers {
    use super::TwoServers;

    gesta_conformance::snapshot_laws!(TwoServers::new());
}
