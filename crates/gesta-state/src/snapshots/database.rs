//! One connection to the file: tables and statements.
//!
//! *Layout*: table `snapshot` has a row for each snapshot. Its small columns come first, so that a list does not read
//! the states. `value` is the encoded snapshot with its checksum. `application_id` and `user_version` name the file and
//! its format.

use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;

use bytes::Bytes;
use gesta_core::{
    Fingerprint, Snapshot, SnapshotInfo, SnapshotKey, SnapshotPage, SnapshotStream, StoreId, StreamName,
    Version,
};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Row};

use crate::database::{FileFormat, SQLITE_MAGIC, bound, harden, is_new};
use crate::error::StateError;
use crate::limits::SNAPSHOT_CACHE_KIB;

/// `application_id` is "Gsn1" in ASCII.
const FILE: FileFormat = FileFormat { application_id: 0x4773_6e31, format: 1, of: "snapshot" };

/// As much of a file as tells whose it is.
const HEAD_BYTES: u64 = 100;

const SCHEMA: &str = "
    create table snapshot (
        store blob not null,
        kind blob not null,
        stream text not null,
        version integer not null,
        state_bytes integer not null,
        value blob not null,
        primary key (store, kind, stream, version)
    ) strict;
";

pub(super) struct Database {
    connection: Connection,
}

impl Database {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |error: Error| StateError::of_sqlite("open", path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        configure(&connection).map_err(failed)?;
        create(&mut connection).map_err(failed)?;
        FILE.check(&connection, path)?;
        // Last: a file of something else is not changed, and the head of a new one says at once who has made it.
        connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
        Ok(Self { connection })
    }

    /// Opens a file to read it, and changes nothing.
    pub(super) fn open_copy(path: &Path) -> Result<Self, StateError> {
        let failed = |error: Error| StateError::of_sqlite("open", path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        harden(&connection).map_err(failed)?;
        // Reads the schema, where damage shows.
        is_new(&connection).map_err(failed)?;
        FILE.check(&connection, path)?;
        Ok(Self { connection })
    }

    /// Refuses a file that is no database at all, from its first bytes: SQLite calls it damaged. A missing file and an empty one are
    /// new.
    pub(super) fn check_is_database(path: &Path) -> Result<(), StateError> {
        Self::check_head(path, |head| head.is_empty() || head.starts_with(SQLITE_MAGIC))
    }

    /// Refuses a file that this store has not made, from its first bytes.
    pub(super) fn check_is_own(path: &Path) -> Result<(), StateError> {
        Self::check_head(path, |head| FILE.is_at_head_of(head))
    }

    fn check_head(path: &Path, is_right: impl Fn(&[u8]) -> bool) -> Result<(), StateError> {
        let mut head = Vec::new();
        match std::fs::File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StateError::io("read", path, &error)),
            Ok(_) => {}
        }
        match is_right(&head) {
            true => Ok(()),
            false => Err(StateError::NotAStore { path: path.to_owned(), of: FILE.of }),
        }
    }

    /// The newest snapshot that is whole.
    pub(super) fn newest(
        &self,
        of: &SnapshotKey,
        at_most: Option<Version>,
    ) -> rusqlite::Result<Option<Snapshot>> {
        let mut statement = self.connection.prepare_cached(
            "select version, value from snapshot \
             where store = ?1 and kind = ?2 and stream = ?3 and version <= ?4 order by version desc",
        )?;
        let at_most = at_most.map_or(i64::MAX, stored);
        let mut rows =
            statement.query((of.store.as_bytes(), of.kind.as_bytes(), of.stream.as_str(), at_most))?;
        while let Some(row) = rows.next()? {
            let value = Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?);
            if let Some(snapshot) = Snapshot::from_value(of, version(row, 0)?, &value) {
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    }

    pub(super) fn put(&self, of: &SnapshotKey, snapshot: &Snapshot) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare_cached("insert or replace into snapshot values (?1, ?2, ?3, ?4, ?5, ?6)")?;
        let value = snapshot.to_value(of);
        let row = (
            of.store.as_bytes(),
            of.kind.as_bytes(),
            of.stream.as_str(),
            stored(snapshot.version),
            i64::try_from(snapshot.state.len()).unwrap_or(i64::MAX),
            &value[..],
        );
        statement.execute(row).map(drop)
    }

    pub(super) fn list(&self, of: &SnapshotKey) -> rusqlite::Result<Vec<SnapshotInfo>> {
        let mut statement = self.connection.prepare_cached(
            "select version, state_bytes from snapshot \
             where store = ?1 and kind = ?2 and stream = ?3 order by version",
        )?;
        let key = (of.store.as_bytes(), of.kind.as_bytes(), of.stream.as_str());
        let rows = statement.query_map(key, |row| {
            Ok(SnapshotInfo { version: version(row, 0)?, state_bytes: count(row, 1)? })
        })?;
        rows.collect()
    }

    pub(super) fn remove(&mut self, of: &SnapshotKey, versions: &[Version]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(
                "delete from snapshot where store = ?1 and kind = ?2 and stream = ?3 and version = ?4",
            )?;
            for version in versions {
                let stream = of.stream.as_str();
                statement.execute((of.store.as_bytes(), of.kind.as_bytes(), stream, stored(*version)))?;
            }
        }
        transaction.commit()
    }

    pub(super) fn streams(
        &self,
        within: Option<StoreId>,
        after: Option<&SnapshotKey>,
        limit: NonZeroU32,
    ) -> rusqlite::Result<SnapshotPage> {
        let mut statement = self.connection.prepare_cached(
            "select store, kind, stream, count(*), sum(state_bytes), max(version) from snapshot \
             where (store, kind, stream) > (?1, ?2, ?3) and store <= ?4 \
             group by store, kind, stream order by store, kind, stream limit ?5",
        )?;
        // A store sorts before all its keys, and no store sorts after 17 bytes of 255.
        let first = within.as_ref().map_or(&[][..], |store| store.as_bytes());
        let last = within.as_ref().map_or(&[0xff; 17][..], |store| store.as_bytes());
        let after = match after {
            Some(key) if &key.store.as_bytes()[..] >= first => {
                (&key.store.as_bytes()[..], &key.kind.as_bytes()[..], key.stream.as_str())
            }
            _ => (first, &[][..], ""),
        };
        let rows = statement.query_map((after.0, after.1, after.2, last, limit.get()), stream)?;
        let streams = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let is_full = streams.len() >= usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let next = streams.last().filter(|_| is_full).map(|stream| stream.key.clone());
        Ok(SnapshotPage { streams, next })
    }
}

/// True if the error means that the file does not hold what this store wrote.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
    )
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    harden(connection)?;
    connection.pragma_update(None, "synchronous", "off")?;
    bound(connection, SNAPSHOT_CACHE_KIB)
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    if !is_new(connection)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another connection may have been faster.
    if is_new(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        FILE.write(&transaction)?;
    }
    transaction.commit()
}

/// A version as the file has it. None of a log is as large as the bound.
fn stored(version: Version) -> i64 {
    i64::try_from(version.get()).unwrap_or(i64::MAX)
}

fn version(row: &Row<'_>, at: usize) -> rusqlite::Result<Version> {
    count(row, at).map(Version::new)
}

fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let number = row.get::<_, i64>(at)?;
    u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(at, number))
}

fn stream(row: &Row<'_>) -> rusqlite::Result<SnapshotStream> {
    let stream = row.get::<_, String>(2)?;
    let stream = StreamName::new(&stream)
        .map_err(|error| Error::FromSqlConversionFailure(2, Type::Text, Box::new(error)))?;
    let key = SnapshotKey {
        store: StoreId::from_bytes(row.get(0)?),
        kind: Fingerprint::from_bytes(row.get(1)?),
        stream,
    };
    Ok(SnapshotStream {
        key,
        snapshots: count(row, 3)?,
        state_bytes: count(row, 4)?,
        newest: version(row, 5)?,
    })
}
