//! Rebuilds: a changed definition, another store, a log that went back, a damaged file.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Wake, Waker};

use gesta_core::*;
use gesta_views::*;

use crate::support::*;

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "db")).collect()
}

/// Another version. It also names the type `cents`, so that a test can tell its reads.
fn cents() -> String {
    BALANCES.replace("values ($entity, :amount, 1)", "values ($entity, :amount * 100, 1)")
        + "-- on cents\n-- ignore\n"
}

#[test]
fn a_changed_definition_is_built_from_the_log_and_the_old_one_is_kept() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let last = append_deposits(&store, 60);
    let views = open(&store, folder.path());
    wait(&views, &last);
    let old = files(folder.path());
    drop(views);
    let views = open_as(store.clone(), folder.path(), &cents());
    wait(&views, &append(&store, [deposited(1, 1), deposited(1, 1)]));
    // The old version may have answered this wait.
    until_new(&views);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 6_200, 62]));
    assert!(!status(&views).serves_predecessor);
    drop(views);
    let new = files(folder.path());
    assert_eq!((old.len(), new.len()), (1, 2));
    assert!(new.contains(&old[0]));
}

#[test]
fn the_old_version_serves_until_the_new_one_has_caught_up() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let before = append_deposits(&store, 60);
    let views = open(&store, folder.path());
    wait(&views, &before);
    drop(views);
    // The new version stops after one page, so it does not catch up.
    let failing = Failing::in_reads(true, &store, 1, 1, Fault::Closed);
    let views =
        Views::open_with(failing, folder.path().into(), vec![definition(&cents())], &page_of(10)).unwrap();
    until_stopped(&views);
    // The old version goes on.
    let after = append(&store, [deposited(1, 1)]);
    wait(&views, &after);
    let answer = query(&views, TOTALS).unwrap();
    assert_eq!((answer.rows, answer.checkpoint), (integers(&[10, 61, 61]), after.clone()));
    let now = status(&views);
    assert!(now.serves_predecessor);
    assert_eq!(now.serving, Some(after));
    assert_eq!(now.checkpoint.unwrap().sequence(0), 12);
    assert_eq!(files(folder.path()).len(), 2);
    views.restart("balances").unwrap();
    until_new(&views);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 6_100, 61]));
}

/// Waits until the version of the definition serves.
fn until_new(views: &Views) {
    pollster::block_on(views.wait_until_built("balances")).unwrap();
}

/// Copies the files of views when it is woken. The view's thread wakes it and goes on after the copy, so the copy is the
/// state after a crash at that moment.
struct CopyWhenWoken {
    from: PathBuf,
    to: PathBuf,
    copied: Sender<()>,
}

impl Wake for CopyWhenWoken {
    fn wake(self: Arc<Self>) {
        for file in files(&self.from) {
            for path in [file.with_extension("db-wal"), file] {
                std::fs::copy(&path, self.to.join(path.file_name().unwrap())).unwrap();
            }
        }
        self.copied.send(()).unwrap();
    }
}

#[test]
fn a_version_that_has_shown_everything_serves_after_a_crash_at_that_moment() {
    let (store, folder, crashed) = (store(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = append_deposits(&store, 60);
    let held = Failing::after(&store, 0, 1, Fault::Held);
    let views = open_as(held.clone(), folder.path(), BALANCES);
    held.barrier.wait();
    // The view is before its first page now, so its next notification says that it shows all events.
    let (copied, is_copied) = channel();
    let copy = CopyWhenWoken { from: folder.path().into(), to: crashed.path().into(), copied };
    let mut waiting = Box::pin(views.wait_for("balances", &before));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::new(copy)))).is_pending());
    held.barrier.wait();
    is_copied.recv().unwrap();
    assert_eq!(pollster::block_on(waiting).unwrap(), before);
    drop(views);
    let failing = Failing::in_reads(true, &store, 0, 1, Fault::Closed);
    let views = open_as(failing, crashed.path(), &cents());
    until_stopped(&views);
    wait(&views, &before);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 60, 60]));
    assert!(status(&views).serves_predecessor);
}

#[test]
fn a_view_of_another_store_is_rebuilt() {
    let (first, second, folder) = (store_of(1, 1), store_of(2, 1), tempfile::tempdir().unwrap());
    let last = append_deposits(&first, 30);
    let views = open(&first, folder.path());
    wait(&views, &last);
    drop(views);
    let last = append_deposits(&second, 60);
    let views = open(&second, folder.path());
    wait(&views, &last);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 60, 60]));
}

#[test]
fn a_view_that_is_ahead_of_a_restored_log_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let full = store();
    let last = append_deposits(&full, 30);
    let views = open(&full, folder.path());
    wait(&views, &last);
    drop(views);
    // The same store, as it was in an older copy.
    let restored = store();
    let last = append_deposits(&restored, 12);
    let views = open(&restored, folder.path());
    wait(&views, &last);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 12, 12]));
    let rebuilt = status(&views).rebuilt.unwrap();
    assert!(rebuilt.contains("lies beyond the head of the log"), "{rebuilt}");
}

#[test]
fn a_damaged_file_is_rebuilt() {
    for damage in [
        &b""[..],
        b"no database at all, but long enough to look like one; no database at all, really",
        b"SQLite format 3\0",
    ] {
        let (store, folder) = (store(), tempfile::tempdir().unwrap());
        let last = append_deposits(&store, 30);
        let views = open(&store, folder.path());
        wait(&views, &last);
        drop(views);
        std::fs::write(&files(folder.path())[0], damage).unwrap();
        let views = open(&store, folder.path());
        wait(&views, &last);
        assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
    }
}

const PAGE_BYTES: usize = 4_096;

fn pages_of(file: &Path) -> usize {
    std::fs::read(file).unwrap().len() / PAGE_BYTES
}

/// Overwrites a page of a database, counted from 0, with invalid bytes.
fn overwrite_page(file: &Path, page: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].fill(0xFF);
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_page_is_found_after_the_open_and_the_view_is_rebuilt() {
    let pages = {
        let (store, folder) = (store(), tempfile::tempdir().unwrap());
        wait(&open(&store, folder.path()), &append(&store, (0..600).map(|number| deposited(number, 1))));
        pages_of(&files(folder.path())[0])
    };
    assert!(pages > 8);
    // The open itself reads the first page.
    for page in [1, 2, 3, pages / 2, pages - 1] {
        let (store, folder) = (store(), tempfile::tempdir().unwrap());
        let last = append(&store, (0..600).map(|number| deposited(number, 1)));
        wait(&open(&store, folder.path()), &last);
        overwrite_page(&files(folder.path())[0], page);
        let views = open(&store, folder.path());
        let rebuilt = loop {
            if let Some(reason) = status(&views).rebuilt {
                break reason;
            }
            std::thread::yield_now();
        };
        assert!(rebuilt.contains("damaged"), "page {page}: {rebuilt}");
        wait(&views, &last);
        assert_eq!(rows(&views, TOTALS), integers(&[600, 600, 600]), "page {page}");
    }
}

#[test]
fn a_query_that_meets_damage_has_the_view_rebuilt_and_damage_that_returns_stops_it() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    let damage_what_a_query_reads = || {
        let last = append(&store, (0..600).map(|number| deposited(number, 1)));
        wait(&views, &last);
        let file = files(folder.path()).remove(0);
        let other = rusqlite::Connection::open(&file).unwrap();
        other.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
        drop(other);
        (3..pages_of(&file)).for_each(|page| overwrite_page(&file, page));
        let error = query(&views, TOTALS).unwrap_err();
        assert!(matches!(error, QueryError::Damaged { .. }), "{error}");
        assert_eq!(error.retry(), Retry::AfterPause);
        last
    };
    for round in 1..=3 {
        let damaged = damage_what_a_query_reads();
        wait(&views, &append(&store, [deposited(1, 1)]));
        assert!(damaged.sequence(0) < status(&views).checkpoint.unwrap().sequence(0), "round {round}");
        assert!(status(&views).rebuilt.unwrap().contains("malformed"));
    }
    damage_what_a_query_reads();
    let error = stopped(&views, &append(&store, [deposited(1, 1)]));
    assert!(matches!(&*error, RunError::RebuiltInVain { rebuilds: 3, .. }), "{error}");
    let end = append(&store, [deposited(1, 1)]);
    views.restart("balances").unwrap();
    wait(&views, &end);
    assert_eq!(rows(&views, "select count(*) from balances"), integers(&[600]));
}

#[test]
fn a_write_ahead_log_without_its_file_is_not_used_for_a_new_file() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let last = append_deposits(&store, 30);
    let views = open(&store, folder.path());
    wait(&views, &last);
    let file = files(folder.path()).remove(0);
    let log = file.with_extension("db-wal");
    let bytes = std::fs::read(&log).unwrap();
    assert!(!bytes.is_empty());
    drop(views);
    std::fs::remove_file(file).unwrap();
    std::fs::write(log, bytes).unwrap();
    let views = open(&store, folder.path());
    wait(&views, &last);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
}

#[test]
fn files_of_other_views_are_left_alone() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let last = append_deposits(&store, 3);
    let both =
        |text: &str| ["balances", "balances_old"].map(|name| Definition::parse(name, text).unwrap()).to_vec();
    let store: Arc<MemoryStore> = store;
    for text in [BALANCES, &cents()] {
        let views = Views::open(store.clone(), folder.path().into(), both(text)).unwrap();
        for name in ["balances", "balances_old"] {
            pollster::block_on(views.wait_for(name, &last)).unwrap();
        }
        assert_eq!(views.names().len(), 2);
    }
    let only = Views::open(store, folder.path().into(), vec![definition(BALANCES)]).unwrap();
    pollster::block_on(only.wait_for("balances", &last)).unwrap();
    drop(only);
    let names =
        files(folder.path()).iter().filter(|path| path.to_string_lossy().contains("balances_old")).count();
    assert!(names >= 1);
    let twice = vec![definition(BALANCES), definition(BALANCES)];
    let folder = tempfile::tempdir().unwrap();
    let twice = Views::open(crate::support::store(), folder.path().into(), twice);
    assert!(matches!(twice.err(), Some(OpenError::Duplicate { name }) if name == "balances"));
}

/// A folder where the version in cents has taken over, the version before stands where it was then, and the log has gone on.
fn taken_over(store: &Arc<MemoryStore>) -> (tempfile::TempDir, Checkpoint, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let before = append_deposits(store, 60);
    let views = open(store, folder.path());
    wait(&views, &before);
    drop(views);
    let old = files(folder.path()).remove(0);
    let bytes = std::fs::read(&old).unwrap();
    let last = append(store, [deposited(1, 1)]);
    let views = open_as(store.clone(), folder.path(), &cents());
    until_new(&views);
    drop(views);
    std::fs::write(old, bytes).unwrap();
    let head = append(store, [deposited(1, 1)]);
    (folder, last, head)
}

#[test]
fn a_version_that_has_taken_over_is_not_replaced_by_the_one_before() {
    let store = store();
    let (folder, last, head) = taken_over(&store);
    let failing = Failing::in_reads(true, &store, 0, 1, Fault::Closed);
    let views = open_as(failing, folder.path(), &cents());
    stopped(&views, &head);
    let answer = query(&views, TOTALS).unwrap();
    assert_eq!((answer.rows, answer.checkpoint), (integers(&[10, 6_100, 61]), last));
    assert!(!status(&views).serves_predecessor);
    views.restart("balances").unwrap();
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 6_200, 62]));
}

#[test]
fn a_definition_that_is_put_back_does_not_bring_its_old_rows_back() {
    let store = store();
    let (folder, last, head) = taken_over(&store);
    let failing = Failing::in_reads(false, &store, 0, 1, Fault::Closed);
    let views = open_as(failing, folder.path(), BALANCES);
    until_stopped(&views);
    wait(&views, &head);
    assert!(!last.at_least(&head));
    assert_eq!(rows(&views, TOTALS), integers(&[10, 6_200, 62]));
    assert!(status(&views).serves_predecessor);
    views.restart("balances").unwrap();
    until_new(&views);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 62, 62]));
}

/// A store and the views on it, and a copy of the store from before the last deposits.
fn lost_deposits(folder: &Path) -> (Arc<MemoryStore>, Checkpoint) {
    let store = store();
    wait(&open(&store, folder), &append_deposits(&store, 6));
    let copy = Arc::new(store.copy());
    let lost = append_deposits(&store, 6);
    wait(&open(&store, folder), &lost);
    (copy, lost)
}

#[test]
fn a_view_of_a_lost_history_is_rebuilt_however_far_the_log_has_grown_again() {
    for grown in [6, 7, 30] {
        let folder = tempfile::tempdir().unwrap();
        let (store, lost) = lost_deposits(folder.path());
        // One account of its own gets everything that comes instead.
        let last = append(&store, (0..grown).map(|_| deposited(77, 100)));
        let views = open(&store, folder.path());
        wait(&views, &last);
        let expected = [(77, 100 * grown)].into_iter().chain((0..6).map(|account| (account, 1)));
        let mut expected = expected
            .map(|(account, amount)| vec![SqlValue::Integer(account), SqlValue::Integer(amount)])
            .collect::<Vec<_>>();
        expected.sort_by_key(|row| format!("{row:?}"));
        let mut shown = rows(&views, "select cast(account as integer), amount from balances");
        shown.sort_by_key(|row| format!("{row:?}"));
        assert_eq!(shown, expected, "after {grown} other events");
        let rebuilt = status(&views).rebuilt.expect("it was rebuilt, visibly");
        assert!(rebuilt.contains("another history"), "{rebuilt}");
        let refused = pollster::block_on(views.wait_for("balances", &lost)).unwrap_err();
        assert!(matches!(refused, WaitError::Read(ReadError::Diverged { .. })), "{refused}");
    }
}

#[test]
fn a_view_of_a_history_that_was_kept_goes_on() {
    let (folder, before) = (tempfile::tempdir().unwrap(), store());
    let kept = append_deposits(&before, 6);
    let copy = Arc::new(before.copy());
    wait(&open(&before, folder.path()), &kept);
    append_deposits(&before, 6);
    let last = append_deposits(&copy, 12);
    let views = open(&copy, folder.path());
    wait(&views, &last);
    assert_eq!(status(&views).rebuilt, None);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 18, 18]));
}

fn is_kept(views: &Views, state: &str) -> bool {
    let old = status(views).old.and_then(|old| old.state);
    old.is_some_and(|old| old.name() == state)
}

#[test]
fn a_version_that_cannot_be_read_for_a_moment_is_kept() {
    let store = store();
    let (folder, _, head) = taken_over(&store);
    let old = files(folder.path()).into_iter().find(|file| version_of(file) == short_hash(BALANCES)).unwrap();
    let aside = folder.path().join("aside");
    std::fs::rename(&old, &aside).unwrap();
    // Reading it fails, as it does when the process has too many open files.
    std::fs::create_dir(&old).unwrap();
    let views = open_as(store.clone(), folder.path(), &cents());
    let error = loop {
        match views.state("balances").unwrap() {
            State::CatchingUp => std::thread::yield_now(),
            state => break state,
        }
    };
    assert!(matches!(error, State::Retrying { .. }), "{error:?}");
    std::fs::remove_dir(&old).unwrap();
    std::fs::rename(&aside, &old).unwrap();
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 6_200, 62]));
    while !is_kept(&views, "live") {
        std::thread::yield_now();
    }
}

fn short_hash(text: &str) -> String {
    definition(text).hash()[..8].to_owned()
}

/// The version in the name of a file.
fn version_of(file: &Path) -> String {
    file.file_name().unwrap().to_str().unwrap().split('.').nth(1).unwrap().to_owned()
}

#[test]
fn all_versions_before_are_dropped_on_request() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    wait(&open(&store, folder.path()), &append_deposits(&store, 6));
    let first = files(folder.path()).remove(0);
    let bytes = std::fs::read(&first).unwrap();
    let second = BALANCES.replace("values ($entity, :amount, 1)", "values ($entity, :amount * 10, 1)");
    for text in [&second, &cents()] {
        until_new(&open_as(store.clone(), folder.path(), text));
    }
    // As after a stop between the switch and the removal. The next run stops before it removes anything.
    std::fs::write(&first, bytes).unwrap();
    append_deposits(&store, 6);
    let failing = Failing::in_reads(true, &store, 0, 1, Fault::Closed);
    let views = open_as(failing, folder.path(), &cents());
    until_stopped(&views);
    assert_eq!(files(folder.path()).len(), 3);
    assert_eq!(views.drop_old("balances").unwrap(), short_hash(&second));
    let left = files(folder.path()).iter().map(|file| version_of(file)).collect::<Vec<_>>();
    assert_eq!(left, [short_hash(&cents())]);
}

#[test]
fn the_version_before_answers_while_the_wanted_one_is_built_anew() {
    let store = store();
    let (folder, _, head) = taken_over(&store);
    let wanted =
        files(folder.path()).into_iter().find(|file| version_of(file) == short_hash(&cents())).unwrap();
    let beyond = append(&store.copy(), [deposited(1, 1)]).to_string();
    let connection = rusqlite::Connection::open(wanted).unwrap();
    connection.execute("update gesta_checkpoint set at = ?1", [beyond]).unwrap();
    drop(connection);
    let failing = Failing::in_reads(true, &store, 0, 1, Fault::Closed);
    let views = open_as(failing, folder.path(), &cents());
    until_stopped(&views);
    assert!(status(&views).rebuilt.unwrap().contains("lies beyond the head of the log"));
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 62, 62]));
    assert!(status(&views).serves_predecessor);
    views.restart("balances").unwrap();
    until_new(&views);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 6_200, 62]));
}
