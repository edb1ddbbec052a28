//! Views that park, in PostgreSQL: the same as in SQLite, beside a table of parked streams that all views share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gesta::{OnError, Recorded, Row, RowView, Rows, ViewError, row_view};
use gesta_core::*;
use gesta_views::*;

use crate::bank::{AccountId, BankEvent};
use crate::support::*;

/// A deposit needs an account, which another stream opens.
pub(crate) const OPENED: &str = "-- dialect: postgres
-- on-error: park
create table accounts (account text primary key);
create table balances (account text primary key references accounts, amount bigint not null);
-- on opened
insert into accounts values (:account);
-- on deposited
-- require: amount
insert into balances values ($entity, :amount)
on conflict (account) do update set amount = balances.amount + excluded.amount;
";

#[derive(Clone, Row)]
#[row("balances")]
struct Balance {
    #[row(key)]
    account: AccountId,
    amount: i64,
    times: i64,
}

/// Refuses amounts above a limit.
struct Limited(Arc<AtomicU64>);

impl RowView for Limited {
    const NAME: &'static str = "balances";
    const ON_ERROR: OnError = OnError::Park;
    type Event = BankEvent;
    type Rows = Balance;

    fn apply(&self, rows: &mut Rows<Balance>, event: &Recorded<BankEvent>) -> Result<(), ViewError> {
        let BankEvent::Deposited { amount, .. } = &event.event else { return Ok(()) };
        if amount.unsigned_abs() > self.0.load(Ordering::SeqCst) {
            return Err("it is above the limit".into());
        }
        let account = event.key::<AccountId>().ok_or("not an account")?;
        let row = rows.get_or_put(&account, || Balance { account: account.clone(), amount: 0, times: 0 })?;
        (row.amount, row.times) = (row.amount + amount, row.times + 1);
        Ok(())
    }
}

pub(crate) fn append(store: &MemoryStore, first: u64, events: &[(&str, &str, String)]) -> Checkpoint {
    let numbered = (first..).zip(events);
    let events = numbered.map(|(number, (stream, kind, data))| event(number, stream, kind, data));
    store.append_now(Batch::new(events.collect::<Vec<_>>())).unwrap().checkpoint
}

pub(crate) fn deposit(account: &'static str, amount: u64) -> (&'static str, &'static str, String) {
    (account, "deposited", format!(r#"{{"amount": {amount}}}"#))
}

pub(crate) fn parked(views: &Views) -> Vec<(String, u64)> {
    let parked = views.parked("balances").unwrap();
    parked.iter().map(|one| (one.stream.clone(), one.version.get())).collect()
}

pub(crate) const SUMS: &str = "select count(*), sum(amount)::bigint from balances";

#[test]
fn a_view_in_sql_holds_a_stream_over_a_restart_and_replays_it() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let opened = |account| ("bank-1", "opened", format!(r#"{{"account": "{account}"}}"#));
    let early = [opened(2), deposit("account-1", 5), deposit("account-2", 1), deposit("account-1", 6)];
    let head = append(&store, 1, &early);
    let views = open(&site, &store, folder.path(), OPENED);
    wait(&views, &head);
    assert_eq!(parked(&views), [("account-1".to_owned(), 0)]);
    assert_eq!(query(&views, SUMS).unwrap().parked, ["account-1"]);
    let error = views.parked("balances").unwrap()[0].error.clone();
    assert!(error.contains("violates foreign key constraint"), "{error}");
    drop(views);
    let views = open(&site, &store, folder.path(), OPENED);
    wait(&views, &append(&store, 10, &[deposit("account-1", 7), deposit("account-2", 1), opened(1)]));
    assert_eq!(rows(&views, SUMS), integers(&[1, 2]));
    let done = views.replay("balances", Vec::new()).unwrap();
    assert_eq!((done.streams, done.events, done.parked_again.len()), (1, 3, 0));
    assert_eq!(rows(&views, SUMS), integers(&[2, 20]));
    assert_eq!(site.one(&format!("select count(*) from \"{}\".parked", site.prefix)), "0");
}

#[test]
fn a_view_in_rust_parks_what_it_cannot_apply_and_skips_on_demand() {
    let Some(site) = Site::shared() else { return };
    let (store, folder, limit) = (store_of(1), tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(100)));
    let early = [
        deposit("account-1", 5),
        deposit("account-2", 500),
        deposit("account-1", 6),
        deposit("account-2", 1),
    ];
    let head = append(&store, 1, &early);
    let definitions = vec![row_view(Limited(Arc::clone(&limit)), Dialect::Postgres)];
    let views =
        Views::open_with(store.clone(), folder.path().to_owned(), definitions, &site.options(100)).unwrap();
    wait(&views, &head);
    assert_eq!(parked(&views), [("account-2".to_owned(), 0)]);
    assert_eq!(rows(&views, SUMS), integers(&[1, 11]));
    let done =
        views.skip("balances", "account-2".parse().unwrap(), Version::new(0), "ann", "a test").unwrap();
    assert_eq!((done.streams, done.events, done.parked_again.len()), (1, 1, 0));
    wait(&views, &append(&store, 10, &[deposit("account-2", 900), deposit("account-1", 1)]));
    assert_eq!(rows(&views, SUMS), integers(&[2, 13]));
    limit.store(1_000, Ordering::SeqCst);
    assert_eq!(views.replay("balances", vec!["account-2".parse().unwrap()]).unwrap().events, 1);
    assert_eq!(
        rows(&views, "select sum(amount)::bigint, sum(times)::bigint from balances"),
        integers(&[913, 5])
    );
}

#[test]
fn a_row_that_is_refused_parks_the_stream_of_its_event_alone() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let definition = row_view(Limited(Arc::new(u64::MAX.into())), Dialect::Postgres);
    let open = || {
        let (folder, definitions) = (folder.path().to_owned(), vec![definition.clone()]);
        Views::open_with(store.clone(), folder, definitions, &site.options(100)).unwrap()
    };
    let views = open();
    wait(&views, &append(&store, 1, &[deposit("account-1", 1)]));
    drop(views);
    let schema = format!("\"{}_balances_{}\"", site.prefix, &definition.hash()[..8]);
    site.sql(&format!("alter table {schema}.balances add check (times < 3)"));
    let deposits =
        (0..6).map(|at| deposit(if at % 2 == 0 { "account-1" } else { "account-2" }, 1)).collect::<Vec<_>>();
    let head = append(&store, 10, &deposits);
    let views = open();
    wait(&views, &head);
    // Each account may have two. The third of `account-1` is its version 2, that of `account-2` too.
    assert_eq!(parked(&views), [("account-1".to_owned(), 2), ("account-2".to_owned(), 2)]);
    assert_eq!(rows(&views, SUMS), integers(&[2, 4]));
}

#[test]
fn tables_of_an_older_release_get_the_one_for_parked_streams() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    wait(&open(&site, &store, folder.path(), BALANCES), &head);
    site.sql(&format!("drop table \"{0}\".parked; update \"{0}\".store set format = 2", site.prefix));
    let views = open(&site, &store, folder.path(), BALANCES);
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
    assert_eq!(pollster::block_on(views.status("balances")).unwrap().rebuilt, None);
    assert_eq!(site.one(&format!("select format from \"{}\".store", site.prefix)), "3");
    assert_eq!(site.one(&format!("select count(*) from \"{}\".parked", site.prefix)), "0");
}

#[test]
fn a_version_keeps_the_text_that_was_given_last() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..3);
    let parking = BALANCES.replace("postgres\n", "postgres\n-- on-error: park\n");
    let kept = format!("select definition from \"{}\".view", site.prefix);
    for text in [BALANCES, &parking, BALANCES] {
        wait(&open(&site, &store, folder.path(), text), &head);
        assert_eq!(site.one(&kept), text);
    }
}
