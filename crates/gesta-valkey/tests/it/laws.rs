//! The laws on one server.

use std::sync::Arc;

use gesta_conformance::SnapshotHarness;
use gesta_core::{MemorySnapshotStore, SnapshotStore};

use super::server::Server;

/// One server; without one, the in-memory store stands in, and the test says that it was skipped.
struct OneServer(Option<Server>);

impl OneServer {
    fn new() -> Self {
        Self(Server::start(&[]))
    }
}

impl SnapshotHarness for OneServer {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        match &self.0 {
            Some(server) => {
                assert_eq!(server.command("FLUSHALL"), "+OK");
                Arc::new(server.snapshots())
            }
            None => Arc::new(MemorySnapshotStore::new()),
        }
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        match &self.0 {
            Some(server) => {
                assert_eq!(server.command("FLUSHALL"), "+OK");
                store
            }
            None => self.store(),
        }
    }
}

mod one_server {
    use super::OneServer;

    gesta_conformance::snapshot_laws!(OneServer::new());
}
