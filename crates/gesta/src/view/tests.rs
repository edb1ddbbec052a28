//! A page of events and the rows it needs: what is read, what is written, and what an event that waits leaves behind.

use gesta_consumer::Stop;
use gesta_core::{EventId, NewEvent, Position, RecordedEvent, Timestamp, Version};
use gesta_views::{RowApplier, RowChange, RowHandler as _, Step, TableChanges};

use super::*;
use crate::Event;
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
