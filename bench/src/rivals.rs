//! Embedded engines used as raw logs with an index per stream, at their durable setting, beside Gesta in the same run.
//!
//! Each append writes its events under the next positions, and for each an index entry (stream, version), in one transaction
//! that is synced before it returns. The rivals check nothing, keep no ids, types or tags and no checksum of their own making;
//! Gesta does all of that in the same time.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use gesta_log::{LogStore, Options};
use redb::{ReadableDatabase as _, TableDefinition};

use crate::append::{LOADS, Load, append, warm_up};
use crate::figure::{Round, versus};

const DATA: [u8; 256] = [b'x'; 256];

/// A raw log: appends so many events to a task's stream, durably.
trait RawLog: Sync {
    fn open(folder: &Path) -> Self
    where
        Self: Sized;
    fn append(&self, task: u64, events: u64);
}

pub fn run() {
    for load in LOADS {
        let ours = || {
            let folder = tempfile::tempdir().expect("a folder");
            let log = LogStore::open(folder.path(), &Options::default()).expect("a log");
            warm_up(&log);
            Round::time(|| append(&log, &load))
        };
        versus(&load.name.replace("append", "fjall 3"), ours, || theirs::<Fjall>(&load));
        versus(&load.name.replace("append", "redb 4"), ours, || theirs::<Redb>(&load));
        versus(&load.name.replace("append", "SQLite"), ours, || theirs::<Sqlite>(&load));
    }
}

/// Appends a tenth of the load, and a quarter second's worth at least: rivals are slower.
fn theirs<R: RawLog>(load: &Load) -> Round {
    let folder = tempfile::tempdir().expect("a folder");
    let rival = R::open(folder.path());
    let rounds = (load.events / load.tasks / load.batch / 10).max(20);
    Round::time(|| {
        std::thread::scope(|scope| {
            for task in 0..load.tasks {
                let rival = &rival;
                scope.spawn(move || (0..rounds).for_each(|_| rival.append(task, load.batch)));
            }
        });
        rounds * load.tasks * load.batch
    })
}

fn index_key(task: u64, version: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&task.to_be_bytes());
    key[8..].copy_from_slice(&version.to_be_bytes());
    key
}

struct Fjall {
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

    fn append(&self, task: u64, events: u64) {
        let first = self.next.fetch_add(events, Ordering::Relaxed);
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for position in first..first + events {
            batch.insert(&self.log, position.to_be_bytes(), DATA);
            batch.insert(&self.index, index_key(task, position), position.to_be_bytes());
        }
        batch.commit().expect("a commit");
    }
}

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const INDEX: TableDefinition<'_, &[u8], u64> = TableDefinition::new("index");

struct Redb {
    database: redb::Database,
    next: AtomicU64,
}

impl RawLog for Redb {
    fn open(folder: &Path) -> Self {
        let database = redb::Database::create(folder.join("log.redb")).expect("a database");
        assert!(database.begin_read().is_ok());
        Self { database, next: AtomicU64::new(1) }
    }

    fn append(&self, task: u64, events: u64) {
        let write = self.database.begin_write().expect("a transaction");
        {
            let (mut log, mut index) =
                (write.open_table(LOG).expect("a table"), write.open_table(INDEX).expect("a table"));
            let first = self.next.fetch_add(events, Ordering::Relaxed);
            for position in first..first + events {
                log.insert(position, &DATA[..]).expect("an insert");
                index.insert(&index_key(task, position)[..], position).expect("an insert");
            }
        }
        write.commit().expect("a commit");
    }
}

struct Sqlite {
    connection: Mutex<rusqlite::Connection>,
    next: AtomicU64,
}

impl RawLog for Sqlite {
    fn open(folder: &Path) -> Self {
        let connection = rusqlite::Connection::open(folder.join("log.sqlite")).expect("a database");
        connection
            .execute_batch(
                "pragma journal_mode = wal; pragma synchronous = full;
                 create table log (position integer primary key, stream integer, version integer, data blob, unique (stream, version));",
            )
            .expect("a schema");
        Self { connection: Mutex::new(connection), next: AtomicU64::new(1) }
    }

    fn append(&self, task: u64, events: u64) {
        let mut connection = self.connection.lock().expect("no panic");
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut insert =
                transaction.prepare_cached("insert into log values (?, ?, ?, ?)").expect("a statement");
            let first = self.next.fetch_add(events, Ordering::Relaxed);
            for position in first..first + events {
                insert
                    .execute((signed(position), signed(task), signed(position), &DATA[..]))
                    .expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a small number")
}
