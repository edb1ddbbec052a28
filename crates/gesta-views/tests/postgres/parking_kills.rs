//! Kills of the runner's process and of the server while a transaction changes the parked streams, and orders that come while a view is
//! being opened. Each kill lands there, because the table of the parked streams is locked.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gesta_core::*;
use gesta_views::*;

use crate::kills::Gate;
use crate::parking::*;
use crate::support::*;

/// Eight accounts are opened first, and two last, so that 12 of 60 deposits wait. Only the first `batches` are there.
fn late_accounts(batches: usize) -> (Arc<MemoryStore>, Checkpoint) {
    let store = store_of(1);
    let opened = |account: u64| ("bank-1".to_owned(), "opened", format!(r#"{{"account": "{account}"}}"#));
    let deposit =
        |number: u64| (format!("account-{}", number % 10), "deposited", r#"{"amount": 1}"#.to_owned());
    let is_late = |account: &u64| matches!(account, 3 | 6);
    let early = (0..10).filter(|account| !is_late(account)).map(opened);
    let events = early.chain((0..60).map(deposit)).chain((0..10).filter(is_late).map(opened));
    let events = (1..).zip(events).map(|(number, (stream, kind, data))| event(number, &stream, kind, &data));
    let events = events.collect::<Vec<_>>();
    let heads =
        events.chunks(4).take(batches).map(|batch| store.append_now(Batch::new(batch.to_vec())).unwrap());
    let head = heads.last().unwrap().checkpoint;
    (store, head)
}

fn open_late(site: &Site, store: &Arc<MemoryStore>, folder: &Path) -> Views {
    let definitions = vec![definition(OPENED)];
    Views::open_with(store.clone(), folder.to_owned(), definitions, &site.options(10)).unwrap()
}

fn held_accounts() -> Vec<(String, u64)> {
    ["account-3", "account-6"].map(|stream| (stream.to_owned(), 0)).to_vec()
}

/// What holds a transaction that changes the parked streams.
fn hold_parked(site: &Site) -> Gate {
    Gate::hold(site, &format!("lock table \"{}\".parked in share row exclusive mode", site.prefix)).unwrap()
}

/// The process that is killed: while it parks, or while it replays.
#[test]
#[ignore = "only the test below runs it"]
fn the_process_that_is_killed() {
    let variable = |name| std::env::var(name).unwrap();
    let (store, head) = late_accounts(usize::MAX);
    let url = variable("GESTA_TEST_URL").parse::<PostgresUrl>().unwrap();
    let page = Limit::events(10.try_into().unwrap());
    let options = Options { page, postgres: Some(url), ..Options::default() };
    let folder = variable("GESTA_TEST_FOLDER").into();
    let views = Views::open_with(store, folder, vec![definition(OPENED)], &options).unwrap();
    wait(&views, &head);
    views.replay("balances", vec!["account-3".parse().unwrap()]).unwrap();
    panic!("it was killed before");
}

fn kill_while_it_changes_parked_streams(site: &Site, folder: &Path) {
    let gate = hold_parked(site);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "parking_kills::the_process_that_is_killed", "--ignored", "--nocapture"]);
    command.env("GESTA_TEST_URL", site.url().to_string()).env("GESTA_TEST_FOLDER", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    Gate::wait_for_page(site);
    process.kill().unwrap();
    process.wait().unwrap();
    gate.open();
}

#[test]
fn nothing_is_lost_and_nothing_counts_twice_over_kills_of_the_process() {
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (store, head) = late_accounts(1);
    wait(&open_late(&site, &store, folder.path()), &head);
    let (store, head) = late_accounts(usize::MAX);
    // While it parks, then while it replays.
    for _ in 0..2 {
        kill_while_it_changes_parked_streams(&site, folder.path());
        let views = open_late(&site, &store, folder.path());
        wait(&views, &head);
        assert_eq!(parked(&views), held_accounts());
        assert_eq!(rows(&views, SUMS), integers(&[8, 48]));
    }
    let views = open_late(&site, &store, folder.path());
    wait(&views, &head);
    let done = views.replay("balances", Vec::new()).unwrap();
    assert_eq!((done.streams, done.events), (2, 12));
    assert_eq!(rows(&views, SUMS), integers(&[10, 60]));
}

#[test]
fn nothing_is_lost_and_nothing_counts_twice_over_kills_of_the_server() {
    let Some(mut site) = Site::own() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (store, head) = late_accounts(1);
    wait(&open_late(&site, &store, folder.path()), &head);
    let gate = hold_parked(&site);
    let (store, head) = late_accounts(usize::MAX);
    let views = Arc::new(open_late(&site, &store, folder.path()));
    kill_at(&mut site, gate);
    wait(&views, &head);
    assert_eq!(parked(&views), held_accounts());
    let gate = hold_parked(&site);
    let replaying = Arc::clone(&views);
    let replayed = std::thread::spawn(move || replaying.replay("balances", Vec::new()));
    kill_at(&mut site, gate);
    replayed.join().unwrap().expect_err("its transaction was lost");
    wait(&views, &append(&store, 100, &[deposit("account-1", 1)]));
    assert_eq!((parked(&views), rows(&views, SUMS)), (held_accounts(), integers(&[8, 49])));
    // A skip that was answered is kept: nothing but the database knows of it.
    let skipped = views.skip("balances", "account-3".parse().unwrap(), Version::new(1), "ann", "a test");
    site.server.kill();
    site.server.start_again();
    assert_eq!(skipped.unwrap().events, 4);
    wait(&views, &append(&store, 101, &[deposit("account-1", 1)]));
    views.replay("balances", Vec::new()).unwrap();
    assert_eq!(rows(&views, SUMS), integers(&[10, 60]));
}

/// Kills the server while a transaction stands at a gate.
fn kill_at(site: &mut Site, gate: Gate) {
    Gate::wait_for_page(site);
    site.server.kill();
    site.server.start_again();
    drop(gate);
}

#[test]
fn an_order_that_comes_while_the_view_is_opened_waits_for_it() {
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (store, head) = late_accounts(usize::MAX);
    wait(&open_late(&site, &store, folder.path()), &head);
    // The view shows its rows, and then waits for the table of its handlers.
    let table = format!("\"{}_balances_{}\".balances", site.prefix, &definition(OPENED).hash()[..8]);
    let gate = Gate::hold(&site, &format!("lock table {table} in access exclusive mode")).unwrap();
    let views = Arc::new(open_late(&site, &store, folder.path()));
    Gate::wait_for_page(&site);
    wait(&views, &head);
    let waiting = |column: &str| {
        let runner = site.runner();
        format!(
            "select {column} from pg_stat_activity where usename = '{runner}' and wait_event_type = 'Lock'"
        )
    };
    let first = site.one(&waiting("pid"));
    let replaying = Arc::clone(&views);
    let replayed = std::thread::spawn(move || replaying.replay("balances", Vec::new()));
    site.until(&waiting("max(pid)"), |pid| pid != first && pid != "null");
    gate.open();
    assert_eq!(replayed.join().unwrap().unwrap().events, 12);
    assert_eq!(rows(&views, SUMS), integers(&[10, 60]));
}
