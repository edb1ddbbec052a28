//! redb: copy-on-write B-trees, each commit synced.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bench_core::{DATA, Event};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::raw::{RawLog, index_key};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const INDEX: TableDefinition<'_, &[u8], u64> = TableDefinition::new("index");

pub struct Redb {
    database: Database,
    next: AtomicU64,
}

impl RawLog for Redb {
    fn open(folder: &Path) -> Self {
        let database = Database::create(folder.join("log.redb")).expect("a database");
        Self { database, next: AtomicU64::new(1) }
    }

    fn append(&self, events: &[Event]) {
        let write = self.database.begin_write().expect("a transaction");
        {
            let (mut log, mut index) =
                (write.open_table(LOG).expect("a table"), write.open_table(INDEX).expect("a table"));
            let first = self.next.fetch_add(events.len() as u64, Ordering::Relaxed);
            for (event, position) in events.iter().zip(first..) {
                log.insert(position, &DATA[..]).expect("an insert");
                index.insert(&index_key(event.stream, position)[..], position).expect("an insert");
            }
        }
        write.commit().expect("a commit");
    }

    fn read_all(&self) -> u64 {
        let read = self.database.begin_read().expect("a transaction");
        let log = read.open_table(LOG).expect("a table");
        let events = log.iter().expect("a read").map(|entry| entry.expect("an event"));
        events.inspect(|(_, data)| assert_eq!(data.value().len(), DATA.len())).count() as u64
    }

    fn read_stream(&self, stream: u64) -> u64 {
        let read = self.database.begin_read().expect("a transaction");
        let (log, index) = (read.open_table(LOG).expect("a table"), read.open_table(INDEX).expect("a table"));
        let (from, to) = (index_key(stream, 0), index_key(stream, u64::MAX));
        let positions = index.range(&from[..]..=&to[..]).expect("a read");
        let events = positions.map(|entry| {
            let (_, position) = entry.expect("a position");
            log.get(position.value()).expect("a read").expect("an event")
        });
        events.inspect(|data| assert_eq!(data.value().len(), DATA.len())).count() as u64
    }
}
