//! The laws of an event store, on a single server and on a cluster of three, with one partition and with three.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gesta_conformance::{Clock, Harness, Memory, Restarting, Snapshot};
use gesta_core::EventStore;
use gesta_jetstream::{JetStreamStore, JetStreamUrl, Options};
use tempfile::TempDir;
use test_servers::{NATS_CLUSTER_URL, NATS_URL};

use crate::history::Kept;
use test_servers::given;

/// A store on servers. Without them the in-memory store stands in, and the test says that it was skipped.
struct JetStream {
    clock: Clock,
    servers: Option<String>,
    url: Option<JetStreamUrl>,
    /// Losses so far. After one, the copy of before is left.
    losses: AtomicU32,
    takes_single_server: bool,
    /// The folders of the copies.
    folders: TempDir,
    stand_in: Memory,
}

impl JetStream {
    fn on_one_server(partitions: u16) -> Self {
        Self::at(given(NATS_URL), partitions, true)
    }

    fn on_a_cluster(partitions: u16) -> Self {
        Self::at(given(NATS_CLUSTER_URL), partitions, false)
    }

    fn at(servers: Option<String>, partitions: u16, takes_single_server: bool) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let address = |servers| format!("{servers}/{name}?partitions={partitions}").parse().unwrap();
        let url = servers.as_ref().map(address);
        let folders = tempfile::tempdir().unwrap();
        let (clock, stand_in) = (Clock::default(), Memory::new(partitions));
        let losses = AtomicU32::new(0);
        Self { clock, servers, url, losses, takes_single_server, folders, stand_in }
    }

    fn open(&self, url: &JetStreamUrl, process: &str) -> Arc<dyn EventStore> {
        let clock = self.clock.clone();
        let options = Options {
            clock: Some(Arc::new(move || clock.now())),
            takes_single_server: self.takes_single_server,
            only_existing: false,
            copy: gesta_log::Options { segment_size_bytes: 64 << 20, ..gesta_log::Options::default() },
        };
        let losses = self.losses.load(Ordering::Relaxed);
        let folder = self.folders.path().join(format!("{process}-{losses}"));
        Arc::new(JetStreamStore::open(url, &folder, &options).unwrap_or_else(|error| panic!("{error:?}")))
    }
}

impl Harness for JetStream {
    fn store(&self) -> Arc<dyn EventStore> {
        match &self.url {
            Some(url) => self.open(url, "first"),
            None => self.stand_in.store(),
        }
    }

    fn clock(&self) -> &Clock {
        match &self.url {
            Some(_) => &self.clock,
            None => self.stand_in.clock(),
        }
    }

    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        match &self.url {
            Some(url) => {
                drop(store);
                self.open(url, "first")
            }
            None => self.stand_in.restart(store),
        }
    }

    fn snapshot(&self, store: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        let (Some(servers), Some(url)) = (&self.servers, &self.url) else {
            return self.stand_in.snapshot(store);
        };
        (store, Box::new(Kept::of(servers, url)))
    }

    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        let Some(url) = &self.url else { return self.stand_in.put_back(snapshot) };
        snapshot.downcast::<Kept>().expect("the snapshot is of this harness").put_back();
        self.losses.fetch_add(1, Ordering::Relaxed);
        Some(self.open(url, "first"))
    }

    fn second(&self, _: &Arc<dyn EventStore>) -> Option<Arc<dyn EventStore>> {
        self.url.as_ref().map(|url| self.open(url, "second"))
    }
}

mod on_one_server {
    use super::JetStream;
    gesta_conformance::laws!(JetStream::on_one_server(1));
}

mod with_three_partitions_on_one_server {
    use super::JetStream;
    gesta_conformance::laws!(JetStream::on_one_server(3));
}

/// Every few calls, the store is closed and opened again.
mod under_restarts {
    use super::{JetStream, Restarting};
    gesta_conformance::laws!(Restarting::every(12, JetStream::on_a_cluster(1)));
}

mod with_three_partitions_on_a_cluster {
    use super::JetStream;
    gesta_conformance::laws!(JetStream::on_a_cluster(3));
}
