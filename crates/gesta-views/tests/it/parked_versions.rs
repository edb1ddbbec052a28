//! Parked streams of several versions of a view: the one that answers, one that is built beside it, and one of an older release.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gesta::{Event, OnError, Recorded, Row, RowView, ViewError, row_view};
use gesta_core::*;
use gesta_views::*;

use crate::parking::*;
use crate::support::*;

/// Another version of [`LIMITED`], whose reads a failing store can tell.
fn other() -> String {
    LIMITED.to_owned() + "-- on cents\n-- ignore\n"
}

/// A store that gives nothing to the version above.
fn without_cents(store: &Arc<MemoryStore>) -> Arc<Failing> {
    Failing::in_reads(true, store, 0, u64::MAX, Fault::Overloaded)
}

#[test]
fn the_version_that_answers_names_its_parked_streams_while_another_one_is_built() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append(&store, [deposited(1, 1), deposited(2, 500), deposited(2, 1)]);
    wait(&open_as(store.clone(), folder.path(), LIMITED), &head);
    let failing = without_cents(&store);
    let views = open_as(failing.clone(), folder.path(), &other());
    assert_eq!(query(&views, ALL).unwrap().parked, ["account-2"]);
    assert!(status(&views).serves_predecessor);
    assert_eq!(parked(&views), [("account-2".to_owned(), 0)]);
    assert_eq!(status(&views).parked.len(), 1);
    assert_eq!(views.held("balances", &stream("account-2")).unwrap().unwrap().events.len(), 2);
    // It is the version of the future that operators change.
    let error = views.replay("balances", vec![stream("account-2")]).unwrap_err();
    assert!(matches!(error, ParkedError::InOlderVersion { .. }), "{error}");
    // The older version parks on.
    wait(&views, &append(&store, [deposited(3, 500)]));
    assert_eq!(query(&views, ALL).unwrap().parked, ["account-2", "account-3"]);
    failing.failures.store(0, Ordering::SeqCst);
    pollster::block_on(views.wait_until_built("balances")).unwrap();
    assert_eq!(query(&views, ALL).unwrap().parked, ["account-2", "account-3"]);
    assert!(views.replay("balances", vec![stream("account-2")]).is_ok());
}

#[derive(Debug, Event)]
#[event(prefix = "bank")]
enum Deposits {
    #[event(name = "deposited")]
    Deposited { amount: i64 },
}

#[derive(Clone, Row)]
#[row("sums")]
struct Sum {
    #[row(key)]
    stream: String,
    amount: i64,
}

/// Refuses amounts above 100, and says so to whom it may concern.
struct Sums<const VERSION: u32> {
    refused: Arc<AtomicU64>,
    cancel: Cancel,
}

impl<const V: u32> Sums<V> {
    fn new() -> Self {
        Self { refused: Arc::default(), cancel: Cancel::default() }
    }
}

impl<const V: u32> RowView for Sums<V> {
    const NAME: &'static str = "balances";
    const VERSION: u32 = V;
    const ON_ERROR: OnError = OnError::Park;
    type Event = Deposits;
    type Rows = Sum;

    fn apply(&self, rows: &mut gesta::Rows<Sum>, event: &Recorded<Deposits>) -> Result<(), ViewError> {
        let Deposits::Deposited { amount } = event.event;
        if amount > 100 {
            self.refused.fetch_add(1, Ordering::SeqCst);
            self.cancel.cancel();
            return Err("it is above the limit".into());
        }
        let stream = event.stream().to_owned();
        rows.get_or_put(&stream.clone(), || Sum { stream, amount: 0 })?.amount += amount;
        Ok(())
    }
}

#[test]
fn an_older_version_without_its_code_names_its_parked_streams() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append(&store, [deposited(1, 1), deposited(2, 500)]);
    let open = |store: Arc<dyn EventStore>, definition| {
        Views::open_with(store, folder.path().to_owned(), vec![definition], &page_of(50)).unwrap()
    };
    wait(&open(store.clone(), row_view(Sums::<1>::new(), Dialect::Sqlite)), &head);
    let failing = Failing::after(&store, 0, u64::MAX, Fault::Overloaded);
    let views = open(failing, row_view(Sums::<2>::new(), Dialect::Sqlite));
    let answer = query(&views, "select stream from sums").unwrap();
    assert_eq!((answer.rows.len(), answer.parked), (1, vec!["account-2".to_owned()]));
    assert_eq!(status(&views).parked.len(), 1);
}

#[test]
fn an_older_version_keeps_to_the_policy_that_was_given_last() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append(&store, [deposited(1, 1)]);
    let stopping = LIMITED.replace("-- on-error: park\n", "");
    for text in [&stopping, LIMITED] {
        wait(&open_as(store.clone(), folder.path(), text), &head);
    }
    let views = open_as(without_cents(&store), folder.path(), &other());
    wait(&views, &append(&store, [deposited(2, 500), deposited(1, 1)]));
    assert!(status(&views).serves_predecessor);
    let answer = query(&views, "select amount from balances").unwrap();
    assert_eq!((answer.rows, answer.parked), (integers(&[2]), vec!["account-2".to_owned()]));
}

#[test]
fn a_file_of_a_release_that_parks_nothing_is_brought_to_a_form_that_such_a_release_does_not_read() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 30);
    wait(&open(&store, folder.path()), &head);
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|extension| extension == "db")).unwrap();
    let on_file = |sql: &str| rusqlite::Connection::open(&file).unwrap().execute_batch(sql);
    on_file("alter table gesta_version rename to gesta_view; drop table gesta_parked").unwrap();
    // As an older version that only answers, it is read as it is.
    let cents = BALANCES.to_owned() + "-- on cents\n-- ignore\n";
    let views = open_as(without_cents(&store), folder.path(), &cents);
    let answer = query(&views, TOTALS).unwrap();
    assert_eq!((answer.rows, answer.checkpoint), (integers(&[10, 30, 30]), head.clone()));
    drop(views);
    let views = open(&store, folder.path());
    wait(&views, &append(&store, [deposited(1, 1)]));
    assert_eq!(rows(&views, TOTALS), integers(&[10, 31, 31]));
    assert_eq!(status(&views).rebuilt, None);
    let first = "select hash, served, instead_of, since, file, definition from gesta_view";
    assert!(on_file(first).unwrap_err().to_string().contains("no such table"));
}

/// The statement of the second kind of deposit ends the transaction itself.
const ROLLS_BACK: &str = "-- dialect: sqlite
-- on-error: park
create table amounts (account text not null, amount integer not null check (amount < 100));
-- on deposited
insert or rollback into amounts values ($entity, :amount);
";

#[test]
fn a_view_of_the_past_parks_what_a_statement_rolls_back() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append(&store, [deposited(1, 1), deposited(2, 500)]);
    let head = append(&store, [deposited(3, 1), deposited(2, 1), deposited(1, 1)]);
    let views = open_as(store.clone(), folder.path(), ROLLS_BACK);
    wait(&views, &head);
    let (sql, limits) = ("select count(*), sum(amount) from amounts", QueryLimits::default());
    let live = query(&views, sql).unwrap();
    let past = Evaluation::new(&*store, &definition(ROLLS_BACK)).at(&head.into());
    let past = past.unwrap().query(sql, &[], &limits).unwrap();
    assert_eq!(past, live);
    assert_eq!((past.rows, past.parked), (integers(&[3, 3]), vec!["account-2".to_owned()]));
}

#[test]
fn a_limit_ends_the_tries_of_a_page_of_the_past() {
    let store = store();
    let head = append(&store, (0..10).map(|account| deposited(account, 500)));
    let view = Sums::<1>::new();
    let limits = EvaluationLimits { cancel: view.cancel.clone(), ..EvaluationLimits::default() };
    let refused = Arc::clone(&view.refused);
    let view = row_view(view, Dialect::Sqlite);
    let error = Evaluation::new(&*store, &view).within(&limits).at(&head.into()).err().unwrap();
    assert!(matches!(error, EvaluateError::Run(RunError::Cancelled)), "{error}");
    assert_eq!(refused.load(Ordering::SeqCst), 1);
}
