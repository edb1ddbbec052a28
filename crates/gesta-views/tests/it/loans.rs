//! Real events: the same views in Rust and in SQL give equal tables in SQLite, and those of a computation over the file.

use gesta_views::*;

use crate::support::*;

#[path = "../common/loans.rs"]
mod common;

#[test]
fn loans_in_rust_and_in_sql_are_those_of_the_file() {
    let Some(path) = common::file() else { return };
    common::check(&store(), &path, Dialect::Sqlite, &Options::default());
}
