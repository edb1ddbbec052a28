//! A view as of earlier moments, and at many.

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::time::Duration;

use gesta_core::*;
use gesta_views::*;

use crate::support::*;

const SECOND: i64 = 1_000_000_000;

fn view(store: &dyn EventStore, moment: impl Into<Moment>) -> Result<ViewAsOf, EvaluateError> {
    Evaluation::new(store, &definition(BALANCES)).at(&moment.into())
}

fn totals(view: &ViewAsOf) -> Vec<Vec<SqlValue>> {
    view.query(TOTALS, &[], &QueryLimits::default()).unwrap().rows
}

/// A deposit that happened at a second.
fn deposited_at(second: i64) -> NewEvent {
    NewEvent { time: Timestamp::from_nanos(second * SECOND), ..deposited(1, 1) }
}

#[test]
fn a_view_is_folded_up_to_any_place() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    let mut seen = Vec::new();
    for number in 0..12 {
        let at = append(&store, [deposited(number % 3, 10), event("x-1", "other", "{}")]);
        wait(&views, &at);
        seen.push((at.clone(), rows(&views, TOTALS)));
    }
    for (at, expected) in seen {
        let then = view(&*store, at.clone()).unwrap();
        let answer = then.query(TOTALS, &[], &QueryLimits::default()).unwrap();
        assert_eq!((answer.rows, answer.checkpoint), (expected, at));
        let error = then.query("delete from balances", &[], &QueryLimits::default()).unwrap_err();
        assert!(matches!(error, QueryError::NotAllowed { .. }), "{error}");
        then.query("select date('now')", &[], &QueryLimits::default()).unwrap();
    }
}

#[test]
fn a_view_shows_what_happened_by_a_time() {
    let store = store();
    for second in [1, 3, 2, 5, 4] {
        append(&store, [deposited_at(second)]);
    }
    let until = pollster::block_on(store.locate(When::Head)).unwrap();
    for (second, events) in [(0, 0), (1, 1), (3, 3), (9, 5)] {
        let happened_by = Some(Timestamp::from_nanos(second * SECOND));
        let view = view(&*store, Moment { until: until.clone(), happened_by }).unwrap();
        let answer = view.query("select sum(deposits) from balances", &[], &QueryLimits::default()).unwrap();
        let sum = if events == 0 { SqlValue::Null } else { SqlValue::Integer(events) };
        assert_eq!((answer.rows, answer.checkpoint), (vec![vec![sum]], until.clone()));
    }
}

#[test]
fn a_place_that_is_not_in_the_log_is_refused() {
    let store = store();
    let head = append(&store, [deposited(1, 1)]);
    let at = |checkpoint: &Checkpoint| view(&*store, checkpoint.clone()).err().unwrap();
    let ahead = at(&head.clone().with(0, 9));
    assert!(matches!(ahead, EvaluateError::Run(RunError::Read(ReadError::CheckpointAhead { .. }))));
    let foreign = at(&Checkpoint::start(StoreId::from_bytes([1; 16]), 1));
    assert!(matches!(foreign, EvaluateError::Run(RunError::Read(ReadError::ForeignCheckpoint { .. }))));
}

#[test]
fn an_event_that_cannot_be_applied_is_named() {
    let store = store();
    let head = append(&store, [deposited(1, 1), NewEvent { schema_version: 9, ..deposited(1, 1) }]);
    let EvaluateError::Run(error) = view(&*store, head).err().unwrap() else { panic!("another error") };
    assert_eq!(error.event().unwrap().position.sequence, 2);
}

#[test]
fn an_evaluation_ends_at_its_limits_or_from_outside() {
    let store = store();
    let head = append(&store, [deposited(1, 1), deposited(1, 1)]);
    let within = |limits: EvaluationLimits| {
        let definition = definition(BALANCES);
        let evaluation = Evaluation::new(&*store, &definition).within(&limits);
        evaluation.at(&head.clone().into()).map(|view| totals(&view))
    };
    let cancelled = EvaluationLimits::default();
    cancelled.cancel.cancel();
    let error = within(cancelled).unwrap_err();
    assert!(matches!(error, EvaluateError::Run(RunError::Cancelled)), "{error}");
    assert!(within(EvaluationLimits { events: 2, ..EvaluationLimits::default() }).is_ok());
    let error = within(EvaluationLimits { events: 1, ..EvaluationLimits::default() }).unwrap_err();
    assert_eq!(error.to_string(), "the view has more than 1 events up to then");
    let error = within(EvaluationLimits { time: Duration::ZERO, ..EvaluationLimits::default() }).unwrap_err();
    assert!(matches!(error, EvaluateError::TooLong { .. }), "{error}");
}

type Tens = std::iter::Map<std::ops::RangeFrom<i64>, fn(i64) -> Timestamp>;

/// Cuts at the ends of tens of seconds.
fn tens(moment: Timestamp) -> Tens {
    let first = moment.as_nanos() / (10 * SECOND);
    (first..).map(|ten| Timestamp::from_nanos((ten + 1) * 10 * SECOND - 1))
}

const ALL: Bounds = (None, None);

fn query(sql: &str) -> SeriesQuery<'_> {
    SeriesQuery { sql, parameters: &[], limits: QueryLimits::default() }
}

type Bounds = (Option<Timestamp>, Option<Timestamp>);

/// The cuts at the ends of tens of seconds of that time of events, within bounds.
fn times(
    time_of: fn(&RecordedEvent) -> Timestamp,
    (from, to): Bounds,
) -> SeriesTimes<impl Fn(Timestamp) -> Tens> {
    SeriesTimes { cuts: tens, time_of, from, to }
}

type Shown = Vec<(i64, Rows)>;

/// The cuts, in seconds of their ends, with the answers there.
fn series(
    store: &MemoryStore,
    sql: &str,
    time_of: fn(&RecordedEvent) -> Timestamp,
    bounds: Bounds,
) -> Result<Shown, EvaluateError> {
    let mut shown = Vec::new();
    let head = pollster::block_on(store.locate(When::Head)).unwrap();
    let visit = |cut: Timestamp, rows: Rows| {
        shown.push(((cut.as_nanos() + 1) / SECOND, rows));
        ControlFlow::Continue(())
    };
    let times = times(time_of, bounds);
    Evaluation::new(store, &definition(BALANCES)).series(&head, &times, &query(sql), visit)?;
    Ok(shown)
}

#[test]
fn each_cut_of_a_series_shows_what_an_evaluation_there_does() {
    let store = store();
    for number in 0..25 {
        append(&store, [deposited(number % 3, 10), event("x-1", "other", "{}")]);
    }
    let shown = series(&store, TOTALS, RecordedEvent::recorded_at, ALL).unwrap();
    let seconds = shown.iter().map(|(second, _)| *second).collect::<Vec<_>>();
    assert_eq!(seconds, [10, 20, 30]);
    for (second, answer) in shown {
        let at = When::RecordedUpTo(Timestamp::from_nanos(second * SECOND - 1));
        let at = pollster::block_on(store.locate(at)).unwrap();
        // The last event of each batch is none of the view's.
        assert_eq!(answer.checkpoint, at.clone().with(0, at.sequence(0) - 1), "{second}");
        assert_eq!(totals(&view(&*store, at).unwrap()), answer.rows, "{second}");
    }
}

#[test]
fn a_series_by_time_has_cuts_where_nothing_changed_and_within_its_bounds() {
    let store = store();
    append(&store, [deposited_at(5), deposited_at(3), deposited_at(41)]);
    append(&store, [deposited_at(55)]);
    let counts = |from: Option<i64>, to: Option<i64>| {
        let count = |rows: Vec<Vec<SqlValue>>| match rows[0][0] {
            SqlValue::Integer(count) => count,
            _ => 0,
        };
        let at = |second: i64| Timestamp::from_nanos(second * SECOND);
        let bounds = (from.map(at), to.map(at));
        let shown = series(&store, "select sum(deposits) from balances", |event| event.time(), bounds);
        let shown = shown.unwrap().into_iter();
        shown.map(|(second, answer)| (second, count(answer.rows))).collect::<Vec<_>>()
    };
    assert_eq!(counts(None, None), [(10, 2), (20, 2), (30, 2), (40, 2), (50, 3), (60, 4)]);
    assert_eq!(counts(Some(35), Some(70)), [(40, 2), (50, 3), (60, 4), (70, 4)]);
    assert_eq!(counts(None, Some(15)), [(10, 2)]);
    assert_eq!(counts(Some(90), None), []);
}

#[test]
fn an_event_that_comes_after_its_cut_ends_a_series() {
    let store = store();
    append(&store, [deposited_at(5), deposited_at(15), deposited_at(9)]);
    let error = series(&store, TOTALS, |event| event.time(), ALL).unwrap_err();
    let EvaluateError::LateEvent { position, cut } = error else { panic!("{error}") };
    assert_eq!((position.sequence, cut.as_nanos()), (3, 10 * SECOND - 1));
    let bounds = (None, Some(Timestamp::from_nanos(10 * SECOND)));
    let error = series(&store, TOTALS, |event| event.time(), bounds).unwrap_err();
    assert!(matches!(error, EvaluateError::LateEvent { .. }), "also after the last cut: {error}");
}

#[test]
fn an_early_event_on_a_later_page_ends_no_series_before_its_last_cut() {
    let store = store();
    // One page.
    (0..5_000).map(|_| deposited_at(115)).collect::<Vec<_>>().chunks(1_000).for_each(|events| {
        append(&store, events.to_vec());
    });
    append(&store, [deposited_at(90)]);
    let from = Some(Timestamp::from_nanos(100 * SECOND));
    let sql = "select sum(deposits) from balances";
    let shown = series(&store, sql, |event| event.time(), (from, None)).unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].0, &shown[0].1.rows[0][0]), (120, &SqlValue::Integer(5_001)));
}

#[test]
fn a_series_ends_when_its_reader_does_and_reads_only() {
    let store = store();
    append(&store, [deposited_at(5), deposited_at(15), deposited_at(25)]);
    let head = pollster::block_on(store.locate(When::Head)).unwrap();
    let mut seen = 0;
    let by_time = times(|event| event.time(), ALL);
    let visit = |_, _| {
        seen += 1;
        ControlFlow::Break(())
    };
    Evaluation::new(&*store, &definition(BALANCES)).series(&head, &by_time, &query(TOTALS), visit).unwrap();
    assert_eq!(seen, 1);
    let error = series(&store, "delete from balances", |event| event.time(), ALL).unwrap_err();
    assert!(matches!(error, EvaluateError::Query(QueryError::NotAllowed { .. })), "{error}");
}

/// The positions and the rows of a series after each run of events.
fn runs(
    store: &MemoryStore,
    definition: &Definition,
    run: u64,
    sql: &str,
) -> Result<Vec<(u64, Rows)>, EvaluateError> {
    let mut shown = Vec::new();
    let head = pollster::block_on(store.locate(When::Head)).unwrap();
    let visit = |cut: Position, rows: Rows| {
        shown.push((cut.sequence, rows));
        ControlFlow::Continue(())
    };
    let run = NonZeroU64::new(run).unwrap();
    Evaluation::new(store, definition).runs(&head, run, &query(sql), visit)?;
    Ok(shown)
}

/// What [`runs`] is to show of [`TOTALS`], summed up from the events alone: position and number, sum and deposits of accounts.
fn summed(store: &MemoryStore, run: usize) -> Vec<(u64, Vec<i64>)> {
    let read = Read { limit: Limit::events(std::num::NonZeroU32::MAX), ..Read::log(Query::All) };
    let events = pollster::block_on(store.read(read)).unwrap().events;
    let deposits = events.iter().filter(|event| event.event_type() == "deposited").collect::<Vec<_>>();
    let amount = |event: &RecordedEvent| {
        let data = serde_json::from_slice::<serde_json::Value>(event.data_slice()).unwrap();
        data["amount"].as_i64().unwrap()
    };
    let ends = (1..=deposits.len()).filter(|end| end % run == 0 || *end == deposits.len());
    let cut = |end: usize| {
        let (until, last) = (&deposits[..end], deposits[end - 1]);
        let accounts = until.iter().map(|event| event.stream()).collect::<std::collections::BTreeSet<_>>();
        let sum = until.iter().map(|event| amount(event)).sum::<i64>();
        let [accounts, end] = [accounts.len(), end].map(|count| i64::try_from(count).unwrap());
        (last.position().sequence, vec![accounts, sum, end])
    };
    ends.map(cut).collect()
}

#[test]
fn a_series_by_events_shows_the_view_after_each_run_of_them_and_at_the_end() {
    let store = store();
    assert_eq!(runs(&store, &definition(BALANCES), 3, TOTALS).unwrap(), []);
    for number in 0..25 {
        let amount = i64::try_from(number * number % 7).unwrap();
        append(&store, [event("x-1", "other", "{}"), deposited(number % 4, amount), deposited(9, 1)]);
    }
    for run in [1, 3, 7, 25, 50, 51] {
        let shown = runs(&store, &definition(BALANCES), run, TOTALS).unwrap();
        for (cut, answer) in &shown {
            assert_eq!(answer.checkpoint.sequence(0), *cut, "{run}");
        }
        let cuts = shown.into_iter().map(|(cut, answer)| (cut, answer.rows)).collect::<Vec<_>>();
        let expected = summed(&store, usize::try_from(run).unwrap()).into_iter();
        let values = |values: Vec<i64>| vec![values.into_iter().map(SqlValue::Integer).collect::<Vec<_>>()];
        assert_eq!(cuts, expected.map(|(cut, row)| (cut, values(row))).collect::<Vec<_>>(), "{run}");
    }
}

#[test]
fn a_run_of_events_goes_on_over_pages() {
    let store = store();
    let deposits = (0..12_000).map(|_| deposited(1, 1)).collect::<Vec<_>>();
    deposits.chunks(1_000).for_each(|events| {
        append(&store, events.to_vec());
    });
    let shown = runs(&store, &definition(BALANCES), 7_000, "select amount from balances").unwrap();
    let shown = shown.into_iter().map(|(cut, answer)| (cut, answer.rows)).collect::<Vec<_>>();
    assert_eq!(shown, [(7_000, integers(&[7_000])), (12_000, integers(&[12_000]))]);
}

#[test]
fn a_series_by_events_ends_when_its_reader_does_and_at_its_limits() {
    let store = store();
    let head = append(&store, [deposited(1, 1), deposited(1, 1), deposited(1, 1)]);
    let (mut seen, query) = (0, query(TOTALS));
    let mut run = |limits: &EvaluationLimits| {
        let visit = |_, _| {
            seen += 1;
            ControlFlow::Break(())
        };
        let run = NonZeroU64::MIN;
        Evaluation::new(&*store, &definition(BALANCES)).within(limits).runs(&head, run, &query, visit)
    };
    run(&EvaluationLimits::default()).unwrap();
    let error = run(&EvaluationLimits { events: 2, ..EvaluationLimits::default() }).unwrap_err();
    assert!(matches!(error, EvaluateError::TooManyEvents { events_max: 2 }), "{error}");
    assert_eq!(seen, 1);
    let error = runs(&store, &definition(BALANCES), 1, "delete from balances").unwrap_err();
    assert!(matches!(error, EvaluateError::Query(QueryError::NotAllowed { .. })), "{error}");
}

#[test]
fn a_series_ends_at_the_cut_under_way() {
    let store = store();
    let head = append(&store, [deposited(1, 1), deposited(1, 1), deposited(1, 1)]);
    let definition = definition(BALANCES);
    let run = |limits: &EvaluationLimits, query: &SeriesQuery<'_>, visit: &mut dyn FnMut()| {
        let visit = |_, _| {
            visit();
            ControlFlow::Continue(())
        };
        Evaluation::new(&*store, &definition).within(limits).runs(&head, NonZeroU64::MIN, query, visit)
    };
    let (mut seen, limits) = (0, EvaluationLimits::default());
    let error = run(&limits, &query(TOTALS), &mut || {
        seen += 1;
        limits.cancel.cancel();
    });
    assert!(matches!(error, Err(EvaluateError::Run(RunError::Cancelled))), "{error:?}");
    assert_eq!(seen, 1, "the other cuts of the page are not given");
    let endless = "with recursive n (x) as (select 1 union all select x + 1 from n) select count(*) from n";
    let endless = SeriesQuery {
        limits: QueryLimits { time: Duration::MAX, ..QueryLimits::default() },
        ..query(endless)
    };
    let limits = EvaluationLimits { time: Duration::from_secs(1), ..EvaluationLimits::default() };
    let error = run(&limits, &endless, &mut || ());
    assert!(matches!(error, Err(EvaluateError::TooLong { .. })), "{error:?}");
}
