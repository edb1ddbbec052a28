//! The write-ahead log of a view's database: bounded while queries overlap, empty after a clean stop.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use gesta_views::*;

use crate::support::*;

const MIB: u64 = 1 << 20;

fn wal_bytes(folder: &Path) -> u64 {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_wal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "db-wal");
    paths.filter(is_wal).map(|path| std::fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn the_write_ahead_log_stays_bounded_while_queries_overlap() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let options = Options { wal_bytes_max: MIB, ..page_of(1) };
    let views =
        Views::open_with(store.clone(), folder.path().into(), vec![definition(BALANCES)], &options).unwrap();
    let is_over = AtomicBool::new(false);
    let overlapping = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000)
        select count(*), (select sum(amount) from balances) from c";
    std::thread::scope(|scope| {
        let readers = (0..3).map(|_| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    query(&views, overlapping).unwrap();
                }
            })
        });
        let readers = readers.collect::<Vec<_>>();
        wait(&views, &append_deposits(&store, 6_000));
        is_over.store(true, Ordering::SeqCst);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    let bytes = wal_bytes(folder.path());
    assert!(bytes < 3 * MIB, "the write-ahead log has {bytes} bytes");
    assert_eq!(rows(&views, TOTALS), integers(&[10, 6_000, 6_000]));
}

#[test]
fn a_clean_stop_leaves_no_write_ahead_log() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    wait(&views, &append_deposits(&store, 300));
    // The connection of this query stays open for the next one.
    assert_eq!(rows(&views, TOTALS), integers(&[10, 300, 300]));
    assert!(wal_bytes(folder.path()) > 0);
    views.shut_down();
    assert_eq!(wal_bytes(folder.path()), 0);
}
