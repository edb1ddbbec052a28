//! A view in PostgreSQL as of earlier moments, and at many: folded in schemas of its own, which leave nothing behind.

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::Arc;

use gesta_core::*;
use gesta_views::*;

use crate::bank;
use crate::parking::{OPENED, append};
use crate::support::*;

/// The schemas of views in the past that belong to the runner of this test.
fn schemas(site: &Site) -> String {
    site.one(&format!("select count(*) {}", own(site)))
}

fn own(site: &Site) -> String {
    format!(
        "from pg_namespace where nspname like 'gesta~%' and pg_get_userbyid(nspowner) = '{}'",
        site.runner()
    )
}

fn at(site: &Site, store: &dyn EventStore, view: &Definition, moment: impl Into<Moment>) -> ViewAsOf {
    Evaluation::new(store, view).in_postgres(Some(&site.url())).at(&moment.into()).unwrap()
}

fn ask(view: &ViewAsOf, sql: &str) -> Rows {
    view.query(sql, &[], &QueryLimits::default()).unwrap()
}

/// The rows of a view that runs.
fn live(site: &Site, store: &Arc<MemoryStore>, head: &Checkpoint, text: &str, sql: &str) -> Rows {
    let folder = tempfile::tempdir().unwrap();
    let views = open(site, store, folder.path(), text);
    wait(&views, head);
    views.query("balances", sql, &[], &QueryLimits::default()).unwrap()
}

/// Positions and rows after each run of two events.
fn runs(site: Option<&Site>, store: &MemoryStore, view: &Definition, sql: &str) -> Vec<(u64, Rows)> {
    let mut shown = Vec::new();
    let visit = |cut: Position, rows: Rows| {
        shown.push((cut.sequence, rows));
        ControlFlow::Continue(())
    };
    let head = pollster::block_on(store.locate(When::Head)).unwrap();
    let query = SeriesQuery { sql, parameters: &[], limits: QueryLimits::default() };
    let url = site.map(Site::url);
    let evaluation = Evaluation::new(store, view).in_postgres(url.as_ref());
    evaluation.runs(&head, NonZeroU64::new(2).unwrap(), &query, visit).unwrap();
    shown
}

#[test]
fn a_view_is_folded_up_to_any_place_and_leaves_nothing_behind() {
    let Some(site) = Site::shared() else { return };
    let store = store_of(1);
    for deposits in 1..4 {
        let head = append_deposits(&store, 10 * (deposits - 1)..10 * deposits);
        let folded = at(&site, &*store, &definition(BALANCES), head.clone());
        assert_eq!(ask(&folded, TOTALS), live(&site, &store, &head, BALANCES, TOTALS));
    }
    assert_eq!(schemas(&site), "0");
    // A name of the greatest length has a past too.
    let view = Definition::parse(&"b".repeat(VIEW_NAME_BYTES_MAX), BALANCES).unwrap();
    let head = pollster::block_on(store.locate(When::Head)).unwrap();
    assert_eq!(ask(&at(&site, &*store, &view, head), TOTALS).rows, integers(&[10, 30, 30]));
}

#[test]
fn a_view_counts_the_events_that_happened_by_a_time() {
    let Some(site) = Site::shared() else { return };
    let store = store_of(1);
    let happened = |number, second: i64| {
        let time = Timestamp::from_nanos(second * 1_000_000_000);
        NewEvent { time, ..event(number, "account-1", "deposited", r#"{"amount": 1}"#) }
    };
    let head = store.append_now(Batch::new([happened(1, 10), happened(2, 30), happened(3, 20)])).unwrap();
    let until = head.checkpoint;
    let by = |second: i64| {
        let happened_by = Some(Timestamp::from_nanos(second * 1_000_000_000));
        let moment = Moment { until: until.clone(), happened_by };
        ask(
            &at(&site, &*store, &definition(BALANCES), moment),
            "select coalesce(sum(amount), 0)::bigint from balances",
        )
        .rows
    };
    assert_eq!([5, 10, 20, 30].map(by), [0, 1, 2, 3].map(|sum| integers(&[sum])));
}

#[test]
fn a_series_by_events_is_that_of_sqlite_in_sql_and_in_rust() {
    let Some(site) = Site::shared() else { return };
    let (store, sql) = (store_of(1), "select account, amount from balances order by account");
    for (number, amount) in (1..).zip([5, 7, 2, 1, 4]) {
        let (event_type, data) = bank::event_of(0, 0, amount);
        let stream = format!("account-{}", number % 2);
        store.append_now(Batch::new([event(number, &stream, event_type, &data)])).unwrap();
    }
    let expected = runs(None, &store, &bank::in_sql(Dialect::Sqlite), sql);
    assert_eq!(expected.iter().map(|(cut, _)| *cut).collect::<Vec<_>>(), [2, 4, 5]);
    for view in [bank::in_sql(Dialect::Postgres), row_view_in_postgres()] {
        assert_eq!(runs(Some(&site), &store, &view, sql), expected);
    }
    assert_eq!(schemas(&site), "0");
}

fn row_view_in_postgres() -> Definition {
    gesta::row_view(bank::Balances, Dialect::Postgres)
}

#[test]
fn a_view_of_the_past_parks_what_a_running_one_does() {
    let Some(site) = Site::shared() else { return };
    let (store, sql) = (store_of(1), "select account, amount from balances order by account");
    let deposit = |stream| (stream, "deposited", r#"{"amount": 1}"#.to_owned());
    let opened = |account: &str| ("opening-1", "opened", format!(r#"{{"account": "{account}"}}"#));
    let head =
        append(&store, 1, &[opened("1"), deposit("account-1"), deposit("account-2"), deposit("account-1")]);
    let folded = ask(&at(&site, &*store, &definition(OPENED), head.clone()), sql);
    assert_eq!(folded, live(&site, &store, &head, OPENED, sql));
    assert_eq!(folded.parked, ["account-2"]);
    let head = append(&store, 5, &[opened("2"), deposit("account-2")]);
    assert_eq!(ask(&at(&site, &*store, &definition(OPENED), head.clone()), sql).parked, ["account-2"]);
}

#[test]
fn a_query_at_a_moment_only_reads_and_reads_its_own_view_only() {
    let Some(site) = Site::shared() else { return };
    let store = store_of(1);
    let head = append_deposits(&store, 0..3);
    let folded = at(&site, &*store, &definition(BALANCES), head);
    let refused = |sql: &str| folded.query(sql, &[], &QueryLimits::default()).unwrap_err();
    for sql in ["delete from balances", "with d as (delete from balances returning 1) select * from d"] {
        let error = refused(sql);
        assert!(matches!(error, QueryError::NotAllowed { .. }), "{sql}: {error}");
    }
    let schema = site.one(&format!("select min(nspname) {}", own(&site)));
    let error = refused(&format!("select definition from \"{schema}\".view"));
    assert!(matches!(error, QueryError::NotAllowed { .. }), "{error}");
    assert_eq!(ask(&folded, TOTALS).rows, integers(&[3, 3, 3]));
}

#[test]
fn what_a_crash_leaves_behind_goes_with_the_next_evaluation() {
    let Some(site) = Site::shared() else { return };
    let store = store_of(1);
    let head = append_deposits(&store, 0..3);
    let kept = at(&site, &*store, &definition(BALANCES), head.clone());
    // As of a process that was killed: its schemas are there, and nobody holds their lock.
    let left = format!("create schema \"gesta~{0}\"; create schema \"gesta~{0}_view_1\"", "0123abcd");
    site.sql_as(&site.runner(), &left).unwrap();
    assert_eq!(schemas(&site), "5");
    drop(at(&site, &*store, &definition(BALANCES), head));
    assert_eq!(schemas(&site), "3", "those that are in use stay");
    assert_eq!(ask(&kept, TOTALS).rows, integers(&[3, 3, 3]));
    drop(kept);
    assert_eq!(schemas(&site), "0");
}

#[test]
fn a_leftover_that_cannot_be_dropped_costs_no_evaluation() {
    let Some(site) = Site::shared() else { return };
    let store = store_of(1);
    let head = append_deposits(&store, 0..3);
    let left = "create schema \"gesta~0123abce\"; create table \"gesta~0123abce\".t (n int)";
    site.sql_as(&site.runner(), left).unwrap();
    let (locked, ended) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            site.sql_while("begin; lock table \"gesta~0123abce\".t in access share mode", || {
                locked.wait();
                ended.wait();
            });
        });
        locked.wait();
        let folded = at(&site, &*store, &definition(BALANCES), head.clone());
        assert_eq!(ask(&folded, TOTALS).rows, integers(&[3, 3, 3]));
        assert!(!folded.is_lost());
        drop(folded);
        assert_eq!(schemas(&site), "1");
        ended.wait();
    });
    drop(at(&site, &*store, &definition(BALANCES), head));
    assert_eq!(schemas(&site), "0");
}

#[test]
fn an_evaluation_in_the_database_ends_at_its_time_and_from_outside() {
    let Some(site) = Site::shared() else { return };
    let store = store_of(1);
    let head = append_deposits(&store, 0..3);
    // One statement that goes on for hours.
    let slow = "-- dialect: postgres
        create table sums (n bigint not null);
        -- on deposited
        insert into sums select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b;";
    let view = definition(slow);
    let url = site.url();
    let end = |limits: &EvaluationLimits| {
        let evaluation = Evaluation::new(&*store, &view).in_postgres(Some(&url)).within(limits);
        evaluation.at(&head.clone().into()).err().unwrap()
    };
    let time = std::time::Duration::from_secs(1);
    let error = end(&EvaluationLimits { time, ..EvaluationLimits::default() });
    assert!(matches!(error, EvaluateError::TooLong { .. }), "{error}");
    let limits = EvaluationLimits::default();
    let at_work = format!(
        "select count(*) from pg_stat_activity where usename = '{}' and query like 'insert into sums%' and state = 'active'",
        site.runner()
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            site.until(&at_work, |count| count == "1");
            limits.cancel.cancel();
        });
        let error = end(&limits);
        assert!(matches!(error, EvaluateError::Run(RunError::Cancelled)), "{error}");
    });
    assert_eq!(schemas(&site), "0");
}

#[test]
fn a_view_whose_lock_was_lost_says_so() {
    let Some(site) = Site::shared() else { return };
    let store = store_of(1);
    let head = append_deposits(&store, 0..3);
    let folded = at(&site, &*store, &definition(BALANCES), head.clone());
    assert!(!folded.is_lost());
    let end = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{}'",
        site.runner()
    );
    site.sql(&end);
    wait_until("the connection is seen to be closed", || folded.is_lost());
    drop(folded);
    // The next one cleans up after it.
    drop(at(&site, &*store, &definition(BALANCES), head));
    assert_eq!(schemas(&site), "0");
}

#[test]
fn an_earlier_moment_without_a_database_is_refused_with_the_way_out() {
    let store = store_of(1);
    let head = append_deposits(&store, 0..3);
    for view in [definition(BALANCES), row_view_in_postgres()] {
        let error = Evaluation::new(&*store, &view).at(&head.clone().into()).err().unwrap();
        assert!(error.to_string().contains("`--views-db postgres://…`"), "{error}");
    }
}
