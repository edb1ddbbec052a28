//! The laws of a key-value store and of a snapshot store, on the cluster of three and on a single server.

use std::sync::Arc;

use gesta_conformance::{
    KeyValueHarness, MemoryKeyValues, MemorySnapshots, RestartingKeyValues, SnapshotHarness,
};
use gesta_core::{KeyValueStore, SnapshotStore, StoreId};
use gesta_jetstream::{JetStreamBuckets, JetStreamUrl, OpenError, Options};
use test_servers::{NATS_CLUSTER_URL, NATS_URL};

use crate::opening::at;
use test_servers::given;

const STORE: StoreId = StoreId::from_bytes([7; 16]);

/// Buckets of a random name. Without servers, stores in memory stand in.
struct Buckets {
    url: Option<JetStreamUrl>,
    takes_single_server: bool,
}

impl Buckets {
    fn on_a_cluster() -> Self {
        let servers = given(NATS_CLUSTER_URL);
        Self { url: servers.map(|servers| at(&servers)), takes_single_server: false }
    }

    fn on_one_server() -> Self {
        let servers = given(NATS_URL);
        Self { url: servers.map(|servers| at(&servers)), takes_single_server: true }
    }

    fn open(&self) -> Option<JetStreamBuckets> {
        let options = Options { takes_single_server: self.takes_single_server, ..Options::default() };
        Some(JetStreamBuckets::open(self.url.as_ref()?, STORE, &options).unwrap())
    }
}

impl KeyValueHarness for Buckets {
    fn store(&self) -> Arc<dyn KeyValueStore> {
        match self.open() {
            Some(buckets) => Arc::new(buckets.values().unwrap()),
            None => MemoryKeyValues::new().store(),
        }
    }

    fn restart(&self, store: Arc<dyn KeyValueStore>) -> Arc<dyn KeyValueStore> {
        match &self.url {
            Some(_) => {
                drop(store);
                KeyValueHarness::store(self)
            }
            None => store,
        }
    }
}

impl SnapshotHarness for Buckets {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        match self.open() {
            Some(buckets) => Arc::new(buckets.snapshots().unwrap()),
            None => MemorySnapshots::new().store(),
        }
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        match &self.url {
            Some(url) => {
                purge(url);
                store
            }
            None => MemorySnapshots::new().lose_all(store),
        }
    }
}

/// Removes all snapshots, as an operator may.
fn purge(url: &JetStreamUrl) {
    let servers = url.to_string();
    let servers = servers.rsplit_once('/').unwrap().0.replace(',', ",nats://");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(servers.split(',').collect::<Vec<_>>()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let stream = context.get_stream(format!("KV_gesta-{}-snapshots", url.name())).await.unwrap();
        stream.purge().await.unwrap();
    });
}

mod values {
    use super::Buckets;
    gesta_conformance::key_value_laws!(Buckets::on_a_cluster());
}

mod values_under_restarts {
    use super::{Buckets, RestartingKeyValues};
    gesta_conformance::key_value_laws!(RestartingKeyValues::every(3, Buckets::on_one_server()));
}

mod snapshots {
    use super::Buckets;
    gesta_conformance::snapshot_laws!(Buckets::on_a_cluster());
}

#[test]
fn buckets_of_another_store_are_refused() {
    let Some(servers) = given(NATS_CLUSTER_URL) else { return };
    let url = at(&servers);
    let open =
        |store| JetStreamBuckets::open(&url, StoreId::from_bytes([store; 16]), &Options::default()).unwrap();
    open(1).values().unwrap();
    let refused = open(2).values().err().unwrap();
    let is_named = refused.to_string().contains(&StoreId::from_bytes([1; 16]).to_string());
    assert!(matches!(refused, OpenError::Refused { .. }) && is_named, "{refused}");
}

#[test]
fn a_single_server_and_a_missing_store_are_refused_at_once() {
    let Some(servers) = given(NATS_URL) else { return };
    let (url, folder) = (at(&servers), tempfile::tempdir().unwrap());
    let open =
        |options: Options| gesta_jetstream::JetStreamStore::open(&url, folder.path(), &options).unwrap_err();
    let alone = open(Options::default());
    assert!(
        matches!(alone, OpenError::Refused { .. }) && alone.to_string().contains("cluster of three"),
        "{alone}"
    );
    let missing = open(Options { takes_single_server: true, only_existing: true, ..Options::default() });
    assert!(
        matches!(missing, OpenError::Refused { .. }) && missing.to_string().contains("there is no stream"),
        "{missing}"
    );
}
