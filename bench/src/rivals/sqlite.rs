//! SQLite: a B-tree with a write-ahead log, synced at each commit.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bench_core::{DATA, Event};
use rusqlite::Connection;

use super::raw::RawLog;

pub struct Sqlite {
    file: PathBuf,
    writer: Mutex<Connection>,
    /// Idle connections for readers.
    readers: Mutex<Vec<Connection>>,
    next: AtomicU64,
}

impl RawLog for Sqlite {
    fn open(folder: &Path) -> Self {
        let file = folder.join("log.sqlite");
        let connection = Connection::open(&file).expect("a database");
        connection
            .execute_batch(
                "pragma journal_mode = wal; pragma synchronous = full;
                 create table log (position integer primary key, stream integer, version integer, data blob, unique (stream, version));",
            )
            .expect("a schema");
        Self { file, writer: Mutex::new(connection), readers: Mutex::default(), next: AtomicU64::new(1) }
    }

    fn append(&self, events: &[Event]) {
        let mut connection = self.writer.lock().expect("no panic");
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut insert =
                transaction.prepare_cached("insert into log values (?, ?, ?, ?)").expect("a statement");
            let first = self.next.fetch_add(events.len() as u64, Ordering::Relaxed);
            for (event, position) in events.iter().zip(first..) {
                let (stream, position) = (event.stream.cast_signed(), position.cast_signed());
                insert.execute((position, stream, position, &DATA[..])).expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
    }

    fn read_all(&self) -> u64 {
        self.read("select data from log order by position", [])
    }

    fn read_stream(&self, stream: u64) -> u64 {
        self.read("select data from log where stream = ? order by version", [stream.cast_signed()])
    }
}

impl Sqlite {
    fn read(&self, query: &str, parameters: impl rusqlite::Params) -> u64 {
        let free = self.readers.lock().expect("no panic").pop();
        let connection = free.unwrap_or_else(|| Connection::open(&self.file).expect("a database"));
        let count = {
            let mut query = connection.prepare_cached(query).expect("a statement");
            let mut rows = query.query(parameters).expect("a read");
            let mut count = 0;
            while let Some(row) = rows.next().expect("a row") {
                let data = row.get_ref(0).expect("a column").as_blob().expect("data");
                assert_eq!(data.len(), DATA.len());
                count += 1;
            }
            count
        };
        self.readers.lock().expect("no panic").push(connection);
        count
    }
}
