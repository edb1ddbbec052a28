//! Views in Rust in SQLite: they agree with SQL, stop visibly, and are rebuilt, switched and evaluated as others.

use std::sync::Arc;

use gesta::{Event, Recorded, Row, RowView, Rows, ViewError, row_view};
use gesta_core::*;
use gesta_views::*;
use proptest::prelude::*;

use crate::bank;
use crate::support::*;

fn run(store: &Arc<MemoryStore>, folder: &std::path::Path, definition: Definition, page: u32) -> Views {
    Views::open_with(store.clone(), folder.to_owned(), vec![definition], &page_of(page)).unwrap()
}

fn wait_for(views: &Views, name: &str, head: &Checkpoint) {
    pollster::block_on(views.wait_for(name, head)).unwrap();
}

fn ask(views: &Views, name: &str, sql: &str) -> gesta_views::Rows {
    views.query(name, sql, &[], &QueryLimits::default()).unwrap()
}

/// All rows of the view of the bank, built in pages of a size.
fn outcome(
    store: &Arc<MemoryStore>,
    head: &Checkpoint,
    definition: Definition,
    page: u32,
) -> Vec<gesta_views::Rows> {
    let folder = tempfile::tempdir().unwrap();
    let name = definition.name().to_owned();
    let views = run(store, folder.path(), definition, page);
    wait_for(&views, &name, head);
    bank::tables(Dialect::Sqlite).map(|sql| ask(&views, &name, &sql)).to_vec()
}

fn append_some(store: &MemoryStore, entries: &[(u64, u8, i64, u8)]) -> Checkpoint {
    let events = entries.iter().map(|(account, kind, amount, note)| {
        let (event_type, data) = bank::event_of(*kind, *note, *amount);
        event(&format!("account-{account}"), event_type, &data)
    });
    append(store, events.collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rust_and_sql_give_the_same_rows_with_pages_of_every_size(
        batches in prop::collection::vec(prop::collection::vec((0..5_u64, 0..20_u8, 1..100_i64, 0..4_u8), 1..5), 1..30)
    ) {
        let store = store();
        let heads = batches.iter().map(|batch| append_some(&store, batch)).collect::<Vec<_>>();
        let head = heads.last().unwrap();
        let expected = outcome(&store, head, bank::in_sql(Dialect::Sqlite), 1_000);
        for page in [1, 7, 1_000] {
            let found = outcome(&store, head, row_view(bank::Balances, Dialect::Sqlite), page);
            prop_assert_eq!(&found, &expected, "pages of {}", page);
        }
    }
}

#[test]
fn a_view_goes_on_from_its_rows_after_a_restart() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let some = [(1, 0, 5, 2), (2, 0, 7, 0), (1, 15, 2, 0), (3, 0, 1, 3), (3, 19, 0, 0)];
    let mut answers = Vec::new();
    for _ in 0..3 {
        // Each run begins without rows in memory.
        let head = append_some(&store, &some);
        let views = run(&store, folder.path(), row_view(bank::Balances, Dialect::Sqlite), 2);
        wait_for(&views, "balances", &head);
        answers = bank::tables(Dialect::Sqlite).map(|sql| ask(&views, "balances", &sql)).to_vec();
    }
    let head = pollster::block_on(store.locate(When::Head)).unwrap();
    assert_eq!(answers, outcome(&store, &head, bank::in_sql(Dialect::Sqlite), 1_000));
}

#[test]
fn a_view_in_rust_is_evaluated_as_of_an_earlier_moment() {
    let store = store();
    let early = append_some(&store, &[(1, 0, 5, 0)]);
    append_some(&store, &[(1, 0, 7, 0)]);
    let view = row_view(bank::Balances, Dialect::Sqlite);
    let past = Evaluation::new(&*store, &view).at(&early.into()).unwrap();
    let rows = past.query("select amount from balances", &[], &QueryLimits::default()).unwrap().rows;
    assert_eq!(rows, integers(&[5]));
}

#[test]
fn a_series_by_events_is_the_same_in_sql_and_in_rust() {
    let store = store();
    let amounts = [(1, 0, 5, 0), (2, 0, 7, 2), (1, 15, 2, 0), (3, 0, 1, 3), (2, 0, 4, 0)];
    // A withdrawal is a negative amount.
    let sums = [5, 12, 10, 11, 15];
    for entry in amounts {
        append_some(&store, &[entry]);
    }
    let head = pollster::block_on(store.locate(When::Head)).unwrap();
    let query = SeriesQuery {
        sql: "select sum(amount) from balances",
        parameters: &[],
        limits: QueryLimits::default(),
    };
    let series = |view: &Definition| {
        let mut shown = Vec::new();
        let visit = |cut: Position, rows: gesta_views::Rows| {
            shown.push((cut.sequence, rows.rows));
            std::ops::ControlFlow::Continue(())
        };
        let run = std::num::NonZeroU64::new(2).unwrap();
        Evaluation::new(&*store, view).runs(&head, run, &query, visit).unwrap();
        shown
    };
    let expected = [2, 4, 5].map(|cut| (cut as u64, integers(&[sums[cut - 1]])));
    assert_eq!(series(&row_view(bank::Balances, Dialect::Sqlite)), expected);
    assert_eq!(series(&bank::in_sql(Dialect::Sqlite)), expected);
}

/// A view that counts, in two versions of its code and of its columns.
struct Counts<const VERSION: u32>;

#[derive(Clone, Row)]
#[row("counts")]
struct Count {
    #[row(key)]
    name: String,
    n: i64,
}

#[derive(Clone, Row)]
#[row("counts")]
struct WideCount {
    #[row(key)]
    name: String,
    n: i64,
    note: Option<String>,
}

#[derive(Debug, Event)]
#[event(prefix = "bank")]
enum Deposits {
    #[event(name = "deposited")]
    Deposited { amount: i64 },
}

impl<const V: u32> RowView for Counts<V> {
    const NAME: &'static str = "balances";
    const VERSION: u32 = V;
    type Event = Deposits;
    type Rows = Count;

    fn apply(&self, rows: &mut Rows<Count>, event: &Recorded<Deposits>) -> Result<(), ViewError> {
        let Deposits::Deposited { amount } = event.event;
        if amount == 13 {
            return Err("thirteen is refused".into());
        }
        assert!(amount != 14, "fourteen panics");
        let row = rows.get_or_put("all", || Count { name: "all".to_owned(), n: 0 })?;
        row.n += i64::from(V);
        if amount == 15 {
            row.name = "another".to_owned();
        }
        Ok(())
    }
}

struct WideCounts;

impl RowView for WideCounts {
    const NAME: &'static str = "balances";
    type Event = Deposits;
    type Rows = WideCount;

    fn apply(&self, rows: &mut Rows<WideCount>, event: &Recorded<Deposits>) -> Result<(), ViewError> {
        let name = event.stream().to_owned();
        rows.get_or_put(&name.clone(), || WideCount { name, n: 0, note: None })?.n += 1;
        Ok(())
    }
}

#[test]
fn a_changed_version_or_column_is_built_beside_the_old_one_and_takes_over() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let sum = "select count(*), sum(n) from counts";
    let versions = [
        (row_view(Counts::<1>, Dialect::Sqlite), [1, 20]),
        (row_view(Counts::<2>, Dialect::Sqlite), [1, 80]),
        (row_view(WideCounts, Dialect::Sqlite), [10, 60]),
    ];
    let mut hashes = Vec::new();
    for (definition, expected) in versions {
        hashes.push(definition.hash());
        // Beyond the place of the old version, which serves until then.
        let head = append_deposits(&store, 20);
        let views = run(&store, folder.path(), definition, 7);
        wait(&views, &head);
        assert_eq!(rows(&views, sum), integers(&expected));
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 3);
    assert_eq!(row_view(Counts::<1>, Dialect::Sqlite).hash(), hashes[0], "a hash depends on the view alone");
}

#[test]
fn a_view_in_rust_is_rolled_back_to_sql_and_not_to_code_that_the_program_does_not_have() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let open = |definition| run(&store, folder.path(), definition, 7);
    let (first, second) =
        (|| row_view(Counts::<1>, Dialect::Sqlite), || row_view(Counts::<2>, Dialect::Sqlite));
    append_deposits(&store, 20);
    for definition in [first(), second()] {
        pollster::block_on(open(definition).wait_until_built("balances")).unwrap();
    }
    let views = open(second());
    let refused = views.roll_back("balances").unwrap_err();
    assert!(matches!(refused, RollBackError::NoDefinition { .. }), "{refused}");
    wait(&views, &append_deposits(&store, 10));
    assert_eq!(rows(&views, "select n from counts"), integers(&[60]));
    drop(views);
    // The program of before is the way back, also from a definition in SQL.
    for definition in [first(), definition(BALANCES), second()] {
        pollster::block_on(open(definition).wait_until_built("balances")).unwrap();
    }
    let views = open(second());
    let done = views.roll_back("balances").unwrap();
    assert_eq!((done.is_given, done.is_serving), (false, true));
    wait(&views, &append_deposits(&store, 10));
    assert_eq!(rows(&views, TOTALS), integers(&[10, 40, 40]));
    assert_eq!(status(&views).rolled_back, Some(second().hash()));
    // It holds over a restart, though the version in Rust stands still meanwhile.
    drop(views);
    let views = open(second());
    wait(&views, &append_deposits(&store, 10));
    assert_eq!(rows(&views, TOTALS), integers(&[10, 50, 50]));
    assert!(views.roll_back("balances").unwrap().is_given);
    pollster::block_on(views.wait_until_built("balances")).unwrap();
    assert_eq!(rows(&views, "select n from counts"), integers(&[100]));
}

#[test]
fn the_old_version_serves_until_the_new_one_has_caught_up() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 20);
    wait(&run(&store, folder.path(), row_view(Counts::<1>, Dialect::Sqlite), 7), &head);
    let failing = Failing::after(&store, 1, 1, Fault::Held);
    let views = Views::open_with(
        failing.clone(),
        folder.path().to_owned(),
        vec![row_view(Counts::<2>, Dialect::Sqlite)],
        &page_of(7),
    );
    let views = views.unwrap();
    // The second page of the new version is held: the old one answers.
    failing.barrier.wait();
    assert_eq!(rows(&views, "select n from counts"), integers(&[20]));
    assert!(status(&views).serves_predecessor);
    failing.barrier.wait();
    wait(&views, &head);
    let answer = pollster::block_on(async {
        // A wait may be answered by the old version, whose place is the head as well.
        loop {
            if !views.status("balances").await.unwrap().serves_predecessor {
                break rows(&views, "select n from counts");
            }
            std::thread::yield_now();
        }
    });
    assert_eq!(answer, integers(&[40]));
}

/// Runs a view over three good events and a bad one, and gives the reason why it stops; its rows show the good ones.
fn reason(definition: Definition, bad: NewEvent) -> String {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append_deposits(&store, 3);
    let head = append(&store, [bad]);
    let views = run(&store, folder.path(), definition, 1_000);
    let error = stopped(&views, &head);
    assert_eq!(error.event().map(|event| event.position.sequence), Some(4));
    assert_eq!(rows(&views, "select sum(n) from counts"), integers(&[3]));
    error.to_string()
}

#[test]
fn an_event_that_cannot_be_applied_stops_the_view_and_is_named() {
    let counts = || row_view(Counts::<1>, Dialect::Sqlite);
    let check = |bad: NewEvent, expected: &str| {
        let place = format!(
            "@{} at position 4 in stream `account-1`: the view `balances` cannot apply it: ",
            bad.schema_version
        );
        let reason = reason(counts(), bad);
        let end = "; correct the program, and start it again";
        assert_eq!(reason, format!("event `deposited`{place}{expected}{end}"));
    };
    check(
        event("account-1", "deposited", r#"{"amount":"much"}"#),
        "the data of `deposited` at version 1 of stream `account-1` does not decode: invalid type: string \"much\", expected i64 at line 1 column 16",
    );
    check(
        NewEvent { schema_version: 2, ..deposited(1, 1) },
        "`deposited` at version 1 of stream `account-1` has schema version 2, but this program knows versions 1 to 1: upgrade the program",
    );
    check(deposited(1, 13), "thirteen is refused");
    check(deposited(1, 14), "it panicked: fourteen panics");
    check(
        deposited(1, 15),
        "a row of the table `counts`: its key was changed: delete it and put another one",
    );
}

/// The same types in a newer release: the first version of a deposit is read with its fee, the others as they are.
#[derive(Debug, Event)]
#[event(prefix = "bank")]
enum NewDeposits {
    #[event(name = "deposited", version = 2, upcast(1 = many DepositedV1))]
    Deposited { cents: i64 },
}

#[derive(serde::Deserialize)]
struct DepositedV1 {
    amount: i64,
}

impl From<DepositedV1> for Vec<NewDeposits> {
    fn from(old: DepositedV1) -> Self {
        vec![NewDeposits::Deposited { cents: old.amount * 100 }, NewDeposits::Deposited { cents: -5 }]
    }
}

struct Cents;

impl RowView for Cents {
    const NAME: &'static str = "balances";
    type Event = NewDeposits;
    type Rows = Count;

    fn apply(&self, rows: &mut Rows<Count>, event: &Recorded<NewDeposits>) -> Result<(), ViewError> {
        let NewDeposits::Deposited { cents } = event.event;
        rows.get_or_put("cents", || Count { name: "cents".to_owned(), n: 0 })?.n += cents;
        // A piece that needs a row which is not in memory must not undo the one before it, nor count twice.
        let piece = format!("piece-{}", event.piece.index);
        rows.get_or_put(&piece, || Count { name: piece.clone(), n: 0 })?.n += 1;
        Ok(())
    }
}

#[test]
fn an_event_of_an_older_version_reaches_the_view_upcasted() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append(&store, [deposited(1, 3)]);
    let new = event("account-1", "deposited", r#"{"cents":7}"#);
    let head = append(&store, [NewEvent { schema_version: 2, ..new }, deposited(1, 1)]);
    for page in [1, 1_000] {
        let views =
            run(&store, &folder.path().join(page.to_string()), row_view(Cents, Dialect::Sqlite), page);
        wait(&views, &head);
        assert_eq!(
            rows(&views, "select n from counts order by name"),
            [[SqlValue::Integer(300 - 5 + 7 + 100 - 5)], [SqlValue::Integer(3)], [SqlValue::Integer(2)]]
        );
    }
}

#[test]
fn a_row_that_does_not_fit_the_program_stops_the_view() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 3);
    let definition = row_view(Small, Dialect::Sqlite);
    let file = folder.path().join(format!("balances.{}.db", &definition.hash()[..8]));
    wait(&run(&store, folder.path(), definition.clone(), 7), &head);
    let database = rusqlite::Connection::open(file).unwrap();
    database.execute("update counts set n = 256", []).unwrap();
    let head = append_deposits(&store, 3);
    let error = stopped(&run(&store, folder.path(), definition, 7), &head).to_string();
    assert_eq!(
        error,
        "the program does not fit the rows of the view `balances`: a row of the table `counts`: the column `n`: 256: out of range \
         integral type conversion attempted; raise the version of the view, which builds it anew"
    );
}

#[derive(Clone, Row)]
#[row("counts")]
struct SmallCount {
    #[row(key)]
    name: String,
    n: u8,
}

struct Small;

impl RowView for Small {
    const NAME: &'static str = "balances";
    type Event = Deposits;
    type Rows = SmallCount;

    fn apply(&self, rows: &mut Rows<SmallCount>, _: &Recorded<Deposits>) -> Result<(), ViewError> {
        rows.get_or_put("all", || SmallCount { name: "all".to_owned(), n: 0 })?.n += 1;
        Ok(())
    }
}

#[test]
#[should_panic(expected = "two tables, or two columns of a table, are named `counts`")]
fn two_tables_of_one_name_are_a_mistake_of_the_program() {
    struct Twice;
    impl RowView for Twice {
        const NAME: &'static str = "twice";
        type Event = Deposits;
        type Rows = (Count, WideCount);
        fn apply(
            &self,
            _: (&mut Rows<Count>, &mut Rows<WideCount>),
            _: &Recorded<Deposits>,
        ) -> Result<(), ViewError> {
            Ok(())
        }
    }
    drop(row_view(Twice, Dialect::Sqlite));
}
