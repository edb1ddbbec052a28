//! A page of events and the rows it needs: what is read, what is written, and what an event that waits leaves behind.

use gesta_consumer::Stop;
use gesta_core::{EventId, NewEvent, Position, RecordedEvent, Timestamp, Version};
use gesta_views::{RowApplier, RowChange, RowFailure, RowHandler as _, Step, TableChanges};

use super::rows::{KEPT_BYTES_MAX, KEPT_ROWS_MAX};
use super::*;
use crate::Event;
use crate::Key;
use crate::Row;

#[derive(Clone, Row)]
#[row("balances")]
struct Balance {
    #[row(key)]
    account: String,
    amount: u64,
}

#[derive(Debug, Event)]
#[event(prefix = "bank")]
enum Moves {
    Moved { from: String, to: String, amount: u64 },
    Paid { to: String, amount: u64 },
    Closed { account: String },
}

struct Balances;

impl Balances {
    fn add(rows: &mut Rows<Balance>, account: &str, amount: u64) -> Result<(), ViewError> {
        let new = || Balance { account: account.to_owned(), amount: 0 };
        rows.get_or_put(account, new)?.amount += amount;
        Ok(())
    }
}

impl RowView for Balances {
    const NAME: &'static str = "balances";
    type Event = Moves;
    type Rows = Balance;

    fn apply(&self, rows: &mut Rows<Balance>, event: &Recorded<Moves>) -> Result<(), ViewError> {
        match &event.event {
            Moves::Moved { from, to, amount } => {
                // An account that is not in memory, or has too little because an earlier event waits, would panic here.
                let row = rows.get_mut(from)?.expect("the account has money");
                row.amount = row.amount.checked_sub(*amount).expect("the account has enough money");
                Self::add(rows, to, *amount)
            }
            Moves::Paid { to, amount } => Self::add(rows, to, *amount),
            Moves::Closed { account } => {
                rows.delete(account);
                Ok(())
            }
        }
    }
}

/// A page of events, each as its type and data.
fn page(events: &[(&str, String)]) -> Vec<RecordedEvent> {
    let recorded = |(number, (kind, data)): (u64, &(&str, String))| {
        let (stream, event_type) = ("bank-1".parse().unwrap(), format!("bank.{kind}").parse().unwrap());
        let time = Timestamp::from_nanos(0);
        let new = NewEvent::json(EventId::from_u128(number.into()), stream, event_type, time, data.clone());
        let position = Position { partition: 0, sequence: number + 1 };
        RecordedEvent::new(position, Version::new(number), time, new.to_bytes())
    };
    (0..).zip(events).map(recorded).collect()
}

fn paid(to: &str, amount: u64) -> (&'static str, String) {
    ("paid", format!(r#"{{"to":"{to}","amount":{amount}}}"#))
}

fn moved(from: &str, to: &str, amount: u64) -> (&'static str, String) {
    ("moved", format!(r#"{{"from":"{from}","to":"{to}","amount":{amount}}}"#))
}

fn row(account: &str, amount: i64) -> Vec<SqlValue> {
    vec![SqlValue::from(account), SqlValue::from(amount)]
}

/// Applies a page on stored rows, and gives the keys of each read, and the changes.
fn apply(
    applier: &mut dyn RowApplier,
    events: &[(&str, String)],
    stored: &[Vec<SqlValue>],
) -> (Vec<Vec<String>>, TableChanges) {
    let (events, mut reads) = (page(events), Vec::new());
    loop {
        match applier.apply(&events, &Stop::new()).unwrap() {
            Step::Done => break,
            Step::Interrupted => panic!("nobody interrupts"),
            Step::Load(keys) => {
                let [keys] = &keys[..] else { panic!("one table") };
                let found = stored.iter().filter(|row| keys.contains(&vec![row[0].clone()]));
                applier.load(vec![found.cloned().collect()]).unwrap();
                let mut names = keys.iter().map(|key| match &key[0] {
                    SqlValue::Text(name) => name.clone(),
                    other => panic!("no key: {other:?}"),
                });
                let mut names = names.by_ref().collect::<Vec<_>>();
                names.sort();
                reads.push(names);
            }
        }
    }
    let changes = applier.changes().unwrap();
    let [changes] = &changes[..] else { panic!("one table") };
    (reads, changes.clone())
}

fn put(values: Vec<SqlValue>, event: usize) -> RowChange {
    RowChange { values, event }
}

#[test]
fn a_key_that_repeats_in_a_page_costs_one_read_and_one_write() {
    let mut applier = Handler::new(Balances).begin();
    let events = [paid("a", 1), paid("b", 2), paid("a", 3), paid("a", 4), paid("b", 5)];
    let (reads, changes) = apply(&mut *applier, &events, &[row("b", 10)]);
    assert_eq!(reads, [["a", "b"]], "one read for the page");
    assert_eq!(
        changes,
        TableChanges { put: vec![put(row("a", 8), 3), put(row("b", 17), 4)], delete: vec![] }
    );
    // The next page finds the rows in memory.
    let (reads, changes) = apply(&mut *applier, &[paid("b", 1)], &[]);
    assert_eq!((reads.len(), changes.put), (0, vec![put(row("b", 18), 0)]));
}

#[test]
fn an_event_whose_second_row_is_not_in_memory_counts_once() {
    let mut applier = Handler::new(Balances).begin();
    let events = [paid("a", 5), moved("a", "b", 5), paid("a", 1), moved("a", "c", 1), moved("b", "c", 5)];
    let (reads, changes) = apply(&mut *applier, &events, &[row("c", 100)]);
    assert_eq!(reads, [vec!["a", "b"], vec!["c"]], "the first key of each event, then what is left");
    let expected = [put(row("a", 0), 3), put(row("b", 0), 4), put(row("c", 106), 4)];
    assert_eq!(changes.put, expected);
}

#[test]
fn a_row_that_comes_and_goes_in_a_page_is_deleted_and_known_to_be_gone() {
    let mut applier = Handler::new(Balances).begin();
    let closed = |account: &str| ("closed", format!(r#"{{"account":"{account}"}}"#));
    let (reads, changes) = apply(&mut *applier, &[paid("a", 1), closed("a"), closed("b")], &[row("a", 1)]);
    assert_eq!(reads, [["a"]], "a row that is deleted is not read");
    let gone = |name: &str, event| RowChange { values: vec![SqlValue::from(name)], event };
    assert_eq!(changes, TableChanges { put: vec![], delete: vec![gone("a", 1), gone("b", 2)] });
    let (reads, changes) = apply(&mut *applier, &[paid("b", 7)], &[row("b", 1)]);
    assert_eq!((reads.len(), changes.put), (0, vec![put(row("b", 7), 0)]));
}

#[test]
fn a_signal_ends_a_page() {
    let stop = Stop::new();
    stop.reopen();
    let ended = Handler::new(Balances).begin().apply(&page(&[paid("a", 1)]), &stop);
    assert_eq!(ended, Ok(Step::Interrupted));
}

/// The names of the rows that a page of payments to these accounts reads.
fn reads_of(applier: &mut dyn RowApplier, accounts: &[String], stored: &[Vec<SqlValue>]) -> Vec<String> {
    let payments = accounts.iter().map(|account| paid(account, 1)).collect::<Vec<_>>();
    apply(applier, &payments, stored).0.concat()
}

#[test]
fn rows_beyond_the_limits_are_read_again() {
    let many = (0..=KEPT_ROWS_MAX).map(|number| format!("{number:03}")).collect::<Vec<_>>();
    let large = ["a".repeat(KEPT_BYTES_MAX / 2), "b".repeat(KEPT_BYTES_MAX / 2)];
    for (names, kept) in [(&many[1..], true), (&many[..], false), (&large[..1], true), (&large[..], false)] {
        let mut applier = Handler::new(Balances).begin();
        assert_eq!(reads_of(&mut *applier, names, &[]), names);
        let stored = names.iter().map(|name| row(name, 1)).collect::<Vec<_>>();
        // Rows that were read count as those that were written.
        for _ in 0..2 {
            let again = reads_of(&mut *applier, names, &stored);
            assert_eq!(again, if kept { &names[..0] } else { names });
        }
    }
}

#[test]
fn bytes_of_a_row_that_is_written_again_count_once() {
    let mut applier = Handler::new(Balances).begin();
    let name = ["a".repeat(KEPT_BYTES_MAX / 4)];
    let reads = (0..8).map(|_| reads_of(&mut *applier, &name, &[]).len());
    assert_eq!(reads.sum::<usize>(), 1);
}

/// The event that a page of payments fails at, and why.
fn failure<V: RowView<Event = Moves>>(view: V, accounts: &[&str]) -> (usize, String) {
    let mut applier = Handler::new(view).begin();
    let payments = accounts.iter().map(|account| paid(account, 1)).collect::<Vec<_>>();
    let events = page(&payments);
    let failed = loop {
        match applier.apply(&events, &Stop::new()) {
            Ok(Step::Load(keys)) => applier.load(vec![Vec::new(); keys.len()]).unwrap(),
            Ok(_) => break applier.changes().expect_err("the page cannot be stored"),
            Err(failed) => break failed,
        }
    };
    match failed {
        RowFailure::Event { event, message } => (event, message),
        RowFailure::Row { message } => panic!("no event: {message}"),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Key)]
#[key("account")]
struct AccountId(String);

/// A name whose column is in lower case, which breaks the law of columns.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Lowered(String);

impl Column for Lowered {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Result<SqlValue, ViewError> {
        Ok(SqlValue::Text(self.0.to_lowercase()))
    }

    fn from_value(value: SqlValue) -> Result<Self, ViewError> {
        String::from_value(value).map(Self)
    }
}

macro_rules! last_payments {
    ($view:ident, $row:ident, $key:ty, $make:expr) => {
        #[derive(Clone, Row)]
        #[row("payments")]
        struct $row {
            #[row(key)]
            account: $key,
            amount: u64,
        }

        struct $view;

        impl RowView for $view {
            const NAME: &'static str = "payments";
            type Event = Moves;
            type Rows = $row;

            fn apply(&self, rows: &mut Rows<$row>, event: &Recorded<Moves>) -> Result<(), ViewError> {
                let Moves::Paid { to, amount } = &event.event else { return Ok(()) };
                let make: fn(&str) -> Result<$key, ViewError> = $make;
                let key = make(to)?;
                rows.get_or_put(&key, || $row { account: key.clone(), amount: 0 })?.amount += amount;
                Ok(())
            }
        }
    };
}
last_payments!(ById, IdRow, AccountId, |name| Ok(AccountId(name.to_owned())));
last_payments!(ByLowered, LoweredRow, Lowered, |name| Ok(Lowered(name.to_owned())));
last_payments!(ByNumber, NumberRow, u32, |name| Ok(name.parse()?));

#[test]
fn a_key_that_no_program_reads_back_is_named_with_its_event() {
    let (event, message) = failure(ById, &["a", "", "b"]);
    assert_eq!(event, 1);
    assert!(
        message.contains("the column `account`: `` is not a valid id for `account`: it is empty"),
        "{message}"
    );
    let (event, message) = failure(ByLowered, &["a", "A"]);
    assert_eq!(event, 1);
    assert!(message.contains("its key comes back from the database as another one"), "{message}");
}

#[test]
fn a_row_that_was_not_asked_for_is_no_row_of_the_view() {
    let mut applier = Handler::new(Balances).begin();
    let events = page(&[paid("a", 1)]);
    assert!(matches!(applier.apply(&events, &Stop::new()), Ok(Step::Load(_))));
    let failed = applier.load(vec![vec![row("b", 1)]]).unwrap_err();
    assert!(matches!(failed, RowFailure::Row { .. }), "{failed}");
}

#[test]
fn any_error_becomes_that_of_a_view() {
    assert_eq!(failure(ByNumber, &["1", "two"]), (1, "invalid digit found in string".to_owned()));
}

#[derive(Debug, Event)]
#[event(prefix = "bank")]
enum NewMoves {
    #[event(version = 2, upcast(1 = OldPaid))]
    Paid { to: String },
}

#[derive(serde::Deserialize)]
struct OldPaid {
    to: String,
}

impl From<OldPaid> for NewMoves {
    fn from(old: OldPaid) -> Self {
        assert!(old.to != "b", "nobody pays b");
        Self::Paid { to: old.to }
    }
}

struct NewBalances;

impl RowView for NewBalances {
    const NAME: &'static str = "balances";
    type Event = NewMoves;
    type Rows = Balance;

    fn apply(&self, rows: &mut Rows<Balance>, event: &Recorded<NewMoves>) -> Result<(), ViewError> {
        let NewMoves::Paid { to } = &event.event;
        rows.put(Balance { account: to.clone(), amount: 0 });
        Ok(())
    }
}

#[test]
fn an_upcaster_that_panics_is_named_with_its_event() {
    let mut applier = Handler::new(NewBalances).begin();
    let failed = applier.apply(&page(&[paid("a", 1), paid("b", 1)]), &Stop::new()).unwrap_err();
    assert_eq!(failed, RowFailure::Event { event: 1, message: "it panicked: nobody pays b".to_owned() });
}
