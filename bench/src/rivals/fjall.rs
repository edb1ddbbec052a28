//! fjall: an LSM tree, with the journal synced at each commit.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bench_core::{DATA, Event};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::raw::{RawLog, index_key};

pub struct Fjall {
    database: Database,
    log: Keyspace,
    index: Keyspace,
    next: AtomicU64,
}

impl RawLog for Fjall {
    fn open(folder: &Path) -> Self {
        let database = Database::builder(folder).open().expect("a database");
        let open = |name| database.keyspace(name, KeyspaceCreateOptions::default).expect("a keyspace");
        Self { log: open("log"), index: open("index"), database: database.clone(), next: AtomicU64::new(1) }
    }

    fn append(&self, events: &[Event]) {
        let first = self.next.fetch_add(events.len() as u64, Ordering::Relaxed);
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (event, position) in events.iter().zip(first..) {
            batch.insert(&self.log, position.to_be_bytes(), DATA);
            batch.insert(&self.index, index_key(event.stream, position), position.to_be_bytes());
        }
        batch.commit().expect("a commit");
    }

    fn read_all(&self) -> u64 {
        let read = self.log.iter().map(|entry| entry.value().expect("an event"));
        read.inspect(|data| assert_eq!(data.len(), DATA.len())).count() as u64
    }

    fn read_stream(&self, stream: u64) -> u64 {
        let positions =
            self.index.prefix(stream.to_be_bytes()).map(|entry| entry.value().expect("a position"));
        let read = positions.map(|position| self.log.get(position).expect("a read").expect("an event"));
        read.inspect(|data| assert_eq!(data.len(), DATA.len())).count() as u64
    }
}
