//! Real events: the same views in Rust and in SQL give equal tables in SQLite.

use gesta_views::*;

use crate::support::*;

#[path = "../common/loans.rs"]
mod common;

/// Events that the test reads: enough for all types, and quick.
const EVENTS: usize = 20_000;

fn check(events: usize) {
    let Some(path) = common::file() else { return };
    let store = store();
    let head = common::append(&store, &path, events, |_| {});
    common::check(&store, &head, Dialect::Sqlite, &Options::default());
}

#[test]
fn loans_in_rust_and_in_sql_are_equal() {
    check(EVENTS);
}

#[test]
#[ignore = "all events of the file: half a minute"]
fn all_loans_in_rust_and_in_sql_are_equal() {
    check(usize::MAX);
}
