//! The snapshot store: laws, also with every call on a newly opened store; damage, kills, and files of others.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use gesta_conformance::SnapshotHarness;
use gesta_core::{
    BoxFuture, EventId, Fingerprint, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotPage,
    SnapshotStore, SnapshotThreads, StoreId, Timestamp, Version,
};
use gesta_state::{SNAPSHOTS_FILE_NAME, StateError, open_snapshots, open_snapshots_to_read};
use pollster::block_on;
use tempfile::TempDir;

/// Kills of one run; `GESTA_KILLS` gives another number.
const KILLS: usize = 50;

fn open(file: &Path) -> SnapshotThreads {
    open_snapshots(file).unwrap_or_else(|error| panic!("{error}"))
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join(SNAPSHOTS_FILE_NAME)
}

fn remove(folder: &TempDir) {
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

struct OneStore(TempDir);

impl SnapshotHarness for OneStore {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(open(&file_in(&self.0)))
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        drop(store);
        remove(&self.0);
        self.store()
    }
}

mod one_store {
    use super::OneStore;

    gesta_conformance::snapshot_laws!(OneStore(tempfile::tempdir().unwrap()));
}

/// A store that opens the file for each call, as several processes and restarts do.
struct Reopening(PathBuf);

impl SnapshotStore for Reopening {
    fn newest(
        &self,
        of: SnapshotKey,
        at_most: Option<Version>,
    ) -> BoxFuture<'_, Result<Option<Snapshot>, SnapshotError>> {
        Box::pin(async move { open(&self.0).newest(of, at_most).await })
    }

    fn put(&self, of: SnapshotKey, snapshot: Snapshot) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move { open(&self.0).put(of, snapshot).await })
    }

    fn list(&self, of: SnapshotKey) -> BoxFuture<'_, Result<Vec<SnapshotInfo>, SnapshotError>> {
        Box::pin(async move { open(&self.0).list(of).await })
    }

    fn remove(&self, of: SnapshotKey, versions: Vec<Version>) -> BoxFuture<'_, Result<(), SnapshotError>> {
        Box::pin(async move { open(&self.0).remove(of, versions).await })
    }

    fn streams(
        &self,
        within: Option<StoreId>,
        after: Option<SnapshotKey>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<SnapshotPage, SnapshotError>> {
        Box::pin(async move { open(&self.0).streams(within, after, limit).await })
    }
}

struct OpenedForEachCall(TempDir);

impl SnapshotHarness for OpenedForEachCall {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(Reopening(file_in(&self.0)))
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        remove(&self.0);
        store
    }
}

mod opened_for_each_call {
    use super::OpenedForEachCall;

    gesta_conformance::snapshot_laws!(OpenedForEachCall(tempfile::tempdir().unwrap()));
}

fn key(stream: &str) -> SnapshotKey {
    let (store, kind) = (StoreId::from_bytes([1; 16]), Fingerprint::from_bytes([1; 32]));
    SnapshotKey { store, kind, stream: stream.parse().unwrap() }
}

/// A snapshot whose fields and bytes all follow from its version.
fn snapshot(version: u64) -> Snapshot {
    let bytes = usize::try_from(version * 997 % 20_000).unwrap();
    let state = version.to_string().bytes().cycle().take(bytes).collect::<Bytes>();
    let (anchor, taken_at) = (EventId::from_u128(u128::from(version)), Timestamp::from_nanos(7));
    Snapshot { version: Version::new(version), anchor, taken_at, state }
}

fn put(store: &SnapshotThreads, stream: &str, version: u64) {
    block_on(store.put(key(stream), snapshot(version))).unwrap();
}

fn newest(store: &SnapshotThreads, stream: &str) -> Option<Snapshot> {
    block_on(store.newest(key(stream), None)).unwrap()
}

#[test]
fn a_changed_byte_of_the_file_hides_snapshots_at_worst_and_puts_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(&folder);
    let store = open(&file);
    for version in 1..40 {
        put(&store, &format!("a-{}", version % 5), version);
    }
    store.close();
    let bytes = std::fs::read(&file).unwrap();
    let (mut hidden, mut moved) = (0, 0);
    let harmed = tempfile::tempdir().unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 397) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x14;
        std::fs::write(file_in(&harmed), bytes).unwrap();
        match open_snapshots(&file_in(&harmed)) {
            Ok(store) => {
                for stream in (0..5).map(|stream| format!("a-{stream}")) {
                    let found = newest(&store, &stream);
                    hidden += u32::from(found.as_ref().is_none_or(|found| found.version.get() < 35));
                    let is_whole = |found: &Snapshot| *found == snapshot(found.version.get());
                    assert!(found.as_ref().is_none_or(is_whole), "byte {at}: {stream}");
                }
                block_on(store.list(key("a-1"))).unwrap();
                block_on(store.streams(None, None, NonZeroU32::MAX)).unwrap();
                put(&store, "b-1", 7);
                assert_eq!(newest(&store, "b-1"), Some(snapshot(7)), "byte {at}");
            }
            // A changed name or number of the format may be right: the file is left alone.
            Err(StateError::NotAStore { .. } | StateError::Newer { .. }) => {}
            Err(error) => panic!("byte {at}: {error}"),
        }
        moved += u32::from(harmed.path().join("snapshots.db.damaged").exists());
        remove(&harmed);
    }
    assert!(hidden > 50 && moved > 0, "{hidden} hidden, moved aside {moved} times");
}

#[test]
fn a_file_that_this_store_has_not_made_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(&folder);
    rusqlite::Connection::open(&file).unwrap().execute_batch("create table t (a)").unwrap();
    let mut harmed = std::fs::read(&file).unwrap();
    // A page of another program's database.
    harmed[100] = 0xff;
    for content in ["no database ".repeat(100).into_bytes(), harmed] {
        std::fs::write(&file, &content).unwrap();
        for refused in [open_snapshots(&file).err(), open_snapshots_to_read(&file).err()] {
            assert!(refused.is_some(), "{refused:?}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), content);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is moved or made");
    }
}

#[test]
fn a_damaged_file_takes_no_place_of_an_earlier_one_and_stays_if_it_is_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(&folder);
    for number in 1..4_u64 {
        let store = open(&file);
        put(&store, "a-1", number);
        store.close();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[100] = 0xff;
        std::fs::write(&file, &bytes).unwrap();
        let refused = open_snapshots_to_read(&file).err().unwrap().to_string();
        assert!(refused.contains("damaged"), "{refused}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
    open(&file).close();
    let names = ["snapshots.db.damaged", "snapshots.db.damaged-2", "snapshots.db.damaged-3"];
    assert!(names.iter().all(|name| folder.path().join(name).exists()));
}

#[test]
fn a_file_that_is_damaged_while_it_is_open_is_moved_aside_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder));
    put(&store, "a-1", 3);
    let other = rusqlite::Connection::open(file_in(&folder)).unwrap();
    other.execute_batch("drop table snapshot").unwrap();
    drop(other);
    assert_eq!(newest(&store, "a-1"), None);
    for version in 4..20 {
        put(&store, "a-1", version);
        assert_eq!(newest(&store, "a-1"), Some(snapshot(version)));
    }
    assert!(folder.path().join("snapshots.db.damaged").exists());
}

#[test]
fn a_database_of_something_else_or_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(&folder);
    rusqlite::Connection::open(&file).unwrap().execute_batch("create table t (a)").unwrap();
    let refused = open_snapshots(&file).err().unwrap();
    assert!(matches!(refused, StateError::NotAStore { .. }), "{refused}");
    remove(&folder);
    put(&open(&file), "a-1", 1);
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let refused = open_snapshots(&file).err().unwrap();
    assert!(matches!(refused, StateError::Newer { format: 2, known: 1, .. }), "{refused}");
}

#[test]
fn what_was_put_is_there_after_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&file_in(&folder));
    (1..9).for_each(|version| put(&store, "a-1", version));
    store.close();
    assert_eq!(block_on(store.newest(key("a-1"), None)), Err(SnapshotError::Closed));
    assert_eq!(newest(&open(&file_in(&folder)), "a-1"), Some(snapshot(8)));
}

#[test]
fn after_a_kill_in_the_middle_of_puts_every_snapshot_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let kills = std::env::var("GESTA_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut last = 0;
    for kill in 0..kills {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "snapshots::put_without_end", "--ignored", "--nocapture"])
            .env("GESTA_SNAPSHOTS_FILE", file_in(&folder))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(writer.stdout.take().unwrap()).lines();
        let puts = output.by_ref().map_while(Result::ok).filter(|line| line == "put");
        assert_eq!(puts.take(3 + kill * 7 % 23).count(), 3 + kill * 7 % 23);
        writer.kill().unwrap();
        writer.wait().unwrap();
        let store = open(&file_in(&folder));
        let infos = block_on(store.list(key("a-1"))).unwrap();
        assert!(!infos.is_empty(), "kill {kill}");
        for info in &infos {
            let found = block_on(store.newest(key("a-1"), Some(info.version))).unwrap();
            assert_eq!(found, Some(snapshot(info.version.get())), "kill {kill}");
        }
        let newest = infos.last().unwrap().version.get();
        assert!(newest > last, "kill {kill}: a killed process loses nothing that it had put");
        last = newest;
        assert!(!folder.path().join("snapshots.db.damaged").exists(), "kill {kill}");
    }
}

#[test]
#[ignore = "the process that a test kills"]
fn put_without_end() {
    use std::io::Write;
    let Some(file) = std::env::var_os("GESTA_SNAPSHOTS_FILE") else { return };
    let store = open(file.as_ref());
    let mut version = newest(&store, "a-1").map_or(0, |snapshot| snapshot.version.get());
    loop {
        version += 1;
        put(&store, "a-1", version);
        let old = Version::new(version.saturating_sub(8));
        block_on(store.remove(key("a-1"), vec![old])).unwrap();
        let mut output = std::io::stdout().lock();
        writeln!(output, "put").and_then(|()| output.flush()).unwrap();
    }
}
