//! The disk of the database is full: the view says so and what helps, keeps its rows, and goes on by itself once there is space.

use std::path::Path;
use std::sync::Arc;

use gesta::row_view;
use gesta_core::*;
use gesta_views::*;
use test_servers::{Postgres, SmallDisk};

use crate::bank;
use crate::support::*;

/// A view that the disk does not concern.
const IN_SQLITE: &str = "-- dialect: sqlite
create table counts (n integer not null);
insert into counts values (0);
-- on deposited
update counts set n = n + 1;";

/// The same deposits by a view in Rust and one in SQL.
const DEPOSITS_IN_RUST: (&str, &str) = ("balances", "select count(*), sum(amount) from balances");
const DEPOSITS_IN_SQL: (&str, &str) = ("in_sql", DEPOSITS_IN_RUST.1);

const NO_ROOM: &str = "make room on the disk of the database";

/// Accounts whose rows take new pages of every table.
const ACCOUNTS: u64 = 2_000;

fn open_all(site: &Site, store: &Arc<MemoryStore>, folder: &Path) -> Views {
    let definitions = vec![
        row_view(bank::Balances, Dialect::Postgres),
        bank::in_sql(Dialect::Postgres),
        Definition::parse("counts", IN_SQLITE).unwrap(),
    ];
    Views::open_with(store.clone(), folder.to_owned(), definitions, &site.options(500)).unwrap()
}

/// Appends a deposit of 1 to each of the accounts.
fn append(store: &MemoryStore, accounts: std::ops::Range<u64>) -> Checkpoint {
    let deposit =
        |account: u64| event(account + 1, &format!("account-{account}"), "deposited", r#"{"amount": 1}"#);
    store.append_now(Batch::new(accounts.map(deposit).collect::<Vec<_>>())).unwrap().checkpoint
}

fn ask(views: &Views, (view, sql): (&str, &str)) -> Vec<Vec<SqlValue>> {
    views.query(view, sql, &[], &QueryLimits::default()).unwrap().rows
}

fn counted(views: &Views, head: &Checkpoint, events: u64) {
    pollster::block_on(views.wait_for("counts", head)).unwrap();
    assert_eq!(ask(views, ("counts", "select n from counts")), integers(&[events.cast_signed()]));
}

/// Waits for both views in PostgreSQL, which have a row for each event.
fn deposited(views: &Views, head: &Checkpoint, events: u64) {
    for view in [DEPOSITS_IN_RUST, DEPOSITS_IN_SQL] {
        pollster::block_on(views.wait_for(view.0, head)).unwrap();
        assert_eq!(ask(views, view), integers(&[events.cast_signed(); 2]), "{}", view.0);
    }
}

/// Whether both views in PostgreSQL are tried again for this reason.
fn are_retrying(views: &Views, reason: &str) -> bool {
    [DEPOSITS_IN_RUST, DEPOSITS_IN_SQL].iter().all(|(view, _)| {
        let state = views.state(view).unwrap();
        state.name() == "retrying" && state.error().is_some_and(|error| error.to_string().contains(reason))
    })
}

#[test]
fn views_on_a_full_disk_say_what_helps_and_go_on_once_there_is_space() {
    let Some(disk) = SmallDisk::mount(8 << 20) else { return };
    let Some(site) = Site::own() else { return };
    let space = Postgres::folder_on(&disk, "space");
    site.sql(&format!("create tablespace small location '{}'", space.display()));
    site.sql(
        "grant create on tablespace small to public; alter database postgres set default_tablespace = small",
    );
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let views = open_all(&site, &store, folder.path());
    let head = append(&store, 0..10);
    deposited(&views, &head, 10);

    disk.fill();
    let head = append(&store, 10..ACCOUNTS);
    wait_until(NO_ROOM, || are_retrying(&views, NO_ROOM));
    counted(&views, &head, ACCOUNTS);
    for view in [DEPOSITS_IN_RUST, DEPOSITS_IN_SQL] {
        assert_eq!(ask(&views, view), integers(&[10, 10]), "the rows are those of before");
    }

    // A server that is started again changes nothing.
    drop(views);
    let views = open_all(&site, &store, folder.path());
    wait_until(NO_ROOM, || are_retrying(&views, NO_ROOM));
    let head = append(&store, ACCOUNTS..ACCOUNTS + 10);
    counted(&views, &head, ACCOUNTS + 10);

    disk.make_room();
    deposited(&views, &head, ACCOUNTS + 10);
}

#[test]
fn a_server_that_ends_because_its_disk_is_full_loses_no_event_of_a_view() {
    let Some(disk) = SmallDisk::mount(128 << 20) else { return };
    // It keeps little of its own log, so that the next segment soon needs space.
    let Some(server) = Postgres::start_on(&disk, &["max_wal_size=32MB", "min_wal_size=32MB"]) else { return };
    let mut site = Site::on(server);
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let views = open_all(&site, &store, folder.path());
    let head = append(&store, 0..10);
    deposited(&views, &head, 10);

    disk.fill();
    let head = append(&store, 10..ACCOUNTS);
    // The server ends when a segment has no space. It may find some when it starts again by itself, and ends again.
    let write = "select pg_logical_emit_message(false, 'test', repeat('x', 1000000))";
    wait_until("the end of the server", || {
        site.sql_as("postgres", write).is_err() && are_retrying(&views, "cannot connect")
    });
    counted(&views, &head, ACCOUNTS);

    disk.make_room();
    site.server.start_again();
    deposited(&views, &head, ACCOUNTS);
}
