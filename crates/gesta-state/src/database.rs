//! The SQLite file: tables, statements, checksums.
//!
//! *Choice:* one connection with an exclusive lock, not several. A second process is refused instead of meeting ours
//! at every write, no shared memory file is needed, and no reader can see a transaction that is not synced. The cost:
//! reads wait for the transaction under way, and `sqlite3` cannot look into a served file.
//!
//! *Layout*: table `value` (key, revision, checksum, value) has a row for each key. Table `state` has one row: the
//! number of the last write, the digest of all rows, and a checksum of both. The digest is the exclusive or of the rows'
//! checksums, so an open notices a row that is missing. `application_id` and `user_version` name the file and its
//! format.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gesta_core::{Entry, KeyName, KeyPrefix, KeyValueError, LIST_BYTES_MAX, Revision};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, Row};
use xxhash_rust::xxh3::Xxh3Default;

use crate::error::{StateError, message};
use crate::limits::{BUSY_TIMEOUT, CACHE_KIB, WAL_BYTES_KEPT, WAL_CHECKPOINT_PAGES};

/// `application_id` is "Gkv1" in ASCII.
const FILE: FileFormat = FileFormat { application_id: 0x476b_7631, format: 1, of: "key-value" };

const SCHEMA: &str = "
    create table value (
        key text primary key not null,
        revision integer not null,
        checksum integer not null,
        value blob not null
    ) strict;
    create table state (last integer not null, digest integer not null, checksum integer not null) strict;
";

/// An open file.
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
    /// The file that was opened, whatever the path leads to now.
    file: FileId,
    committed: State,
    /// The state after the writes of the transaction under way.
    next: State,
    /// Makes the next commit fail as if a sync had failed.
    #[cfg(test)]
    pub(crate) fails_next_commit: bool,
}

/// The identity of a file on this machine: its device and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(Self(file.dev(), file.ino()))
    }
}

/// What a transaction changes besides its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// The number of the last write.
    last: u64,
    /// The exclusive or of the checksums of all rows.
    digest: i64,
}

impl State {
    fn checksum(self) -> i64 {
        checksum_of("", self.last, &self.digest.to_le_bytes())
    }
}

/// Why a write of a transaction was not made.
pub(crate) enum WriteError {
    /// The key has another revision. The transaction goes on.
    Changed(Option<Revision>),
    /// The transaction is lost.
    Failed(StateError),
}

/// Why rows cannot be read.
enum Fault {
    Sqlite(Error),
    Damage(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Database {
    /// Opens a file that nobody writes to, and changes nothing in its folder.
    pub(crate) fn open_copy(path: &Path) -> Result<Self, StateError> {
        let failed = |error: Error| StateError::of_sqlite("open", path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        harden(&connection).map_err(failed)?;
        Self::checked(connection, path)
    }

    /// Opens the file, or makes it. Everything that it shows afterwards is durable.
    ///
    /// After a crash the write-ahead log may hold a transaction that was written and not synced. It is written into
    /// the file and synced here, before anybody reads it.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |error: Error| StateError::of_sqlite("open", path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        configure(&connection).map_err(failed)?;
        if is_new(&connection).map_err(failed)? {
            create(&connection).map_err(failed)?;
            sync_folder_of(path)?;
        }
        connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).map_err(failed)?;
        Self::checked(connection, path)
    }

    fn checked(connection: Connection, path: &Path) -> Result<Self, StateError> {
        FILE.check(&connection, path)?;
        check_structure(&connection, path)?;
        let committed = read_state(&connection, path)?;
        let database = Self {
            connection,
            path: path.to_owned(),
            file: FileId::of(path).map_err(|error| StateError::io("open", path, &error))?,
            committed,
            next: committed,
            #[cfg(test)]
            fails_next_commit: false,
        };
        database.verify()?;
        Ok(database)
    }

    pub(crate) fn get(&self, key: &KeyName) -> Result<Option<Entry>, StateError> {
        self.find(key).map_err(|fault| self.explain(fault))
    }

    fn find(&self, key: &KeyName) -> Result<Option<Entry>, Fault> {
        let sql = "select revision, checksum, value from value where key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([key.as_str()])?;
        rows.next()?.map(|row| entry(key, row)).transpose()
    }

    pub(crate) fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&KeyName>,
        limit: NonZeroU32,
    ) -> Result<Vec<(KeyName, Entry)>, StateError> {
        self.page(prefix, after, limit).map_err(|fault| self.explain(fault))
    }

    fn page(
        &self,
        prefix: &KeyPrefix,
        after: Option<&KeyName>,
        limit: NonZeroU32,
    ) -> Result<Vec<(KeyName, Entry)>, Fault> {
        let mut statement = self.connection.prepare_cached(
            "select revision, checksum, value, key from value \
             where key >= ?1 and key > ?2 and key < ?3 order by key limit ?4",
        )?;
        // No key has a character as high as this.
        let beyond = format!("{}\u{7f}", prefix.as_str());
        let after = after.map_or("", KeyName::as_str);
        let mut rows = statement.query((prefix.as_str(), after, beyond, limit.get()))?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let name = row.get::<_, String>(3)?;
            let key = KeyName::new(&name).map_err(|error| Fault::Damage(format!("key {name:?}: {error}")))?;
            let entry = entry(&key, row)?;
            bytes += entry.value.len();
            if bytes > LIST_BYTES_MAX && !page.is_empty() {
                break;
            }
            page.push((key, entry));
        }
        Ok(page)
    }

    /// Begins a transaction of writes.
    ///
    /// # Errors
    /// [`StateError::Displaced`] if the file is no longer at its path: what is written there would be lost.
    pub(crate) fn begin(&mut self) -> Result<(), StateError> {
        match FileId::of(&self.path) {
            Ok(file) if file == self.file => {}
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(StateError::io("look at", &self.path, &error));
            }
            Ok(_) | Err(_) => return Err(StateError::Displaced { path: self.path.clone() }),
        }
        self.next = self.committed;
        self.connection.execute_batch("begin immediate").map_err(|error| self.failed(&error))
    }

    pub(crate) fn put(
        &mut self,
        key: &KeyName,
        value: &[u8],
        expect: Option<Revision>,
    ) -> Result<Revision, WriteError> {
        let old = self.check(key, expect)?;
        let revision = self.next.last + 1;
        let checksum = checksum_of(key.as_str(), revision, value);
        let put = self.connection.prepare_cached(
            "insert into value (key, revision, checksum, value) values (?1, ?2, ?3, ?4) on conflict (key) \
             do update set revision = excluded.revision, checksum = excluded.checksum, value = excluded.value",
        );
        let row = (key.as_str(), revision.cast_signed(), checksum, value);
        let put = put.and_then(|mut statement| statement.execute(row));
        put.map_err(|error| WriteError::Failed(self.failed(&error)))?;
        self.next = State { last: revision, digest: self.next.digest ^ old ^ checksum };
        Ok(Revision::new(revision))
    }

    pub(crate) fn delete(&mut self, key: &KeyName, expect: Revision) -> Result<(), WriteError> {
        let old = self.check(key, Some(expect))?;
        let delete = self.connection.prepare_cached("delete from value where key = ?1");
        let delete = delete.and_then(|mut statement| statement.execute([key.as_str()]));
        delete.map_err(|error| WriteError::Failed(self.failed(&error)))?;
        self.next = State { last: self.next.last + 1, digest: self.next.digest ^ old };
        Ok(())
    }

    /// Checks the revision of a key. Returns the checksum of its row, 0 if it has none.
    fn check(&self, key: &KeyName, expect: Option<Revision>) -> Result<i64, WriteError> {
        let actual = self.connection.prepare_cached("select revision, checksum from value where key = ?1");
        let actual = actual.and_then(|mut statement| {
            statement.query_row([key.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional()
        });
        let actual = actual.map_err(|error| WriteError::Failed(self.failed(&error)))?;
        let revision = actual.map(|(revision, _)| Revision::new(revision.cast_unsigned()));
        if revision != expect {
            return Err(WriteError::Changed(revision));
        }
        Ok(actual.map_or(0, |(_, checksum)| checksum))
    }

    /// Commits the transaction. Its writes are durable then.
    ///
    /// After [`KeyValueError::InDoubt`] this connection is of no use: opening the file again settles the transaction.
    pub(crate) fn commit(&mut self) -> Result<(), KeyValueError> {
        assert!(self.next.last >= self.committed.last, "revisions never go back");
        if self.next == self.committed {
            // Every write was refused. Nothing needs a sync.
            let ended = self.connection.execute_batch("rollback");
            return ended.map_err(|error| KeyValueError::from(&self.failed(&error)));
        }
        let State { last, digest } = self.next;
        let row = (last.cast_signed(), digest, self.next.checksum());
        let update = self.connection.prepare_cached("update state set last = ?1, digest = ?2, checksum = ?3");
        let updated = update.and_then(|mut statement| statement.execute(row));
        updated.map_err(|error| KeyValueError::from(&self.failed(&error)))?;
        #[cfg(test)]
        if std::mem::take(&mut self.fails_next_commit) {
            return Err(KeyValueError::InDoubt { reason: "a planted failure".to_owned() });
        }
        match self.connection.execute_batch("commit") {
            Ok(()) => {
                self.committed = self.next;
                Ok(())
            }
            Err(error) => Err(self.commit_failed(&error)),
        }
    }

    /// Gives up the transaction under way, if there is one. Returns true if the connection can be used further.
    pub(crate) fn roll_back(&mut self) -> bool {
        self.next = self.committed;
        self.connection.is_autocommit() || self.connection.execute_batch("rollback").is_ok()
    }

    /// Writes a copy of the file, without its write-ahead log. The copy is not synced.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), StateError> {
        let copied = self.connection.execute("vacuum into ?1", [to.to_string_lossy()]);
        copied.map(|_| ()).map_err(|error| StateError::of_sqlite("copy the key-value store to", to, &error))
    }

    /// Reads every value and verifies it. Returns the number of values.
    pub(crate) fn verify(&self) -> Result<u64, StateError> {
        let (mut count, mut newest, mut digest) = (0, 0, 0);
        let mut after = None;
        loop {
            let page = self.list(&KeyPrefix::all(), after.as_ref(), NonZeroU32::MAX)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, Entry { value, revision }) in page {
                count += 1;
                newest = newest.max(revision.get());
                digest ^= checksum_of(key.as_str(), revision.get(), &value);
            }
        }
        if digest != self.committed.digest {
            return Err(self.damaged("a value is missing, or was put back"));
        }
        if newest > self.committed.last {
            return Err(self.damaged("a value is newer than the last write"));
        }
        Ok(count)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn damaged(&self, what: &str) -> StateError {
        StateError::Damaged { path: self.path.clone(), what: what.to_owned() }
    }

    fn explain(&self, fault: Fault) -> StateError {
        match fault {
            Fault::Sqlite(error) => self.failed(&error),
            Fault::Damage(what) => self.damaged(&what),
        }
    }

    /// What an error of a statement means. Nothing was written.
    fn failed(&self, error: &Error) -> StateError {
        match error.sqlite_error_code() {
            // The file does not have the tables or the types that this store wrote.
            None | Some(ErrorCode::Unknown) => self.damaged(&message(error)),
            Some(_) => StateError::of_sqlite("use", &self.path, error),
        }
    }

    /// What an error of a commit means. A failed sync leaves it open whether the transaction is on the disk.
    fn commit_failed(&self, error: &Error) -> KeyValueError {
        match self.failed(error) {
            failed @ StateError::Io { .. } => KeyValueError::InDoubt { reason: failed.to_string() },
            failed => KeyValueError::from(&failed),
        }
    }

    #[cfg(test)]
    pub(crate) fn limit_pages(&self, more: u32) {
        let pages = self.connection.query_row("pragma page_count", [], |row| row.get::<_, u32>(0)).unwrap();
        self.connection
            .query_row(&format!("pragma max_page_count = {}", pages + more), [], |_| Ok(()))
            .unwrap();
    }
}

/// Switches off what a prepared file could use against its reader.
pub(crate) fn harden(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // One database besides the main one: the target of `vacuum into`.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
    Ok(())
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    harden(connection)?;
    // Before the journal mode: the write-ahead log then needs no shared memory, and the lock is kept.
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    bound(connection, CACHE_KIB)
}

/// Bounds the memory of a connection, and the write-ahead log.
pub(crate) fn bound(connection: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)
}

/// The first bytes of every SQLite file.
pub(crate) const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// What tells a file of this crate from any other: `application_id` and `user_version`.
pub(crate) struct FileFormat {
    pub(crate) application_id: i64,
    pub(crate) format: i64,
    /// The kind of store that writes it, for messages.
    pub(crate) of: &'static str,
}

impl FileFormat {
    /// Writes it into a new file.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.pragma_update(None, "application_id", self.application_id)?;
        connection.pragma_update(None, "user_version", self.format)
    }

    /// Whether a file that begins with these bytes has the name.
    pub(crate) fn is_at_head_of(&self, head: &[u8]) -> bool {
        let name = head.get(68..72).and_then(|name| <[u8; 4]>::try_from(name).ok());
        head.starts_with(SQLITE_MAGIC)
            && name.is_some_and(|name| i64::from(i32::from_be_bytes(name)) == self.application_id)
    }

    /// Checks that a file has it.
    pub(crate) fn check(&self, connection: &Connection, path: &Path) -> Result<(), StateError> {
        let failed = |error: Error| StateError::of_sqlite("open", path, &error);
        if number(connection, "application_id").map_err(failed)? != self.application_id {
            return Err(StateError::NotAStore { path: path.to_owned(), of: self.of });
        }
        let format = number(connection, "user_version").map_err(failed)?;
        if format != self.format {
            return Err(StateError::Newer { path: path.to_owned(), format, known: self.format });
        }
        Ok(())
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("pragma {pragma}"), [], |row| row.get(0))
}

/// True if nothing was written to the file yet, or a crash came before its tables were.
pub(crate) fn is_new(connection: &Connection) -> rusqlite::Result<bool> {
    let tables =
        connection.query_row("select count(*) from sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    Ok(tables == 0 && number(connection, "application_id")? == 0)
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let state = State { last: 0, digest: 0 };
    transaction.execute("insert into state values (0, 0, ?1)", [state.checksum()])?;
    FILE.write(&transaction)?;
    transaction.commit()
}

fn check_structure(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let what = connection.query_row("pragma integrity_check(1)", [], |row| row.get::<_, String>(0));
    match what {
        Ok(what) if what == "ok" => Ok(()),
        Ok(what) => Err(StateError::Damaged { path: path.to_owned(), what }),
        Err(error) => Err(StateError::of_sqlite("check", path, &error)),
    }
}

fn read_state(connection: &Connection, path: &Path) -> Result<State, StateError> {
    let damaged = |what: String| StateError::Damaged { path: path.to_owned(), what };
    let row = connection.query_row("select last, digest, checksum from state", [], |row| {
        Ok((
            State { last: row.get::<_, i64>(0)?.cast_unsigned(), digest: row.get(1)? },
            row.get::<_, i64>(2)?,
        ))
    });
    let (state, checksum) =
        row.map_err(|error| damaged(format!("the last revision cannot be read: {}", message(&error))))?;
    if state.checksum() != checksum {
        return Err(damaged("the last revision has a wrong checksum".to_owned()));
    }
    Ok(state)
}

/// The entry of a row whose first columns are revision, checksum and value.
fn entry(key: &KeyName, row: &Row<'_>) -> Result<Entry, Fault> {
    let (revision, checksum) = (row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?);
    let value = row.get_ref(2)?.as_blob().map_err(Error::from)?;
    if checksum_of(key.as_str(), revision, value) != checksum {
        return Err(Fault::Damage(format!("the value of key `{key}` has a wrong checksum")));
    }
    Ok(Entry { value: Bytes::copy_from_slice(value), revision: Revision::new(revision) })
}

/// The checksum of a row: XXH3-64 of key, a zero byte, revision in little-endian, value.
fn checksum_of(key: &str, revision: u64, value: &[u8]) -> i64 {
    let mut hash = Xxh3Default::new();
    hash.update(key.as_bytes());
    hash.update(&[0]);
    hash.update(&revision.to_le_bytes());
    hash.update(value);
    hash.digest().cast_signed()
}

/// Makes the name of a new file durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), StateError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StateError::io("sync the folder", folder, &error))
}
