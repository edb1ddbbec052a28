//! Builds a view in SQLite from a million events of the log.

use std::sync::Arc;

use gesta_core::{Batch, EventId, EventStore, NewEvent, Timestamp};
use gesta_log::{LogStore, Options};
use gesta_views::{Definition, Views};

use crate::bare;
use crate::figure::{Round, compare};

pub const EVENTS: u64 = 1_000_000;

const BALANCES: &str = "-- dialect: sqlite
create table balances (account text primary key, amount integer not null) strict, without rowid;
-- on deposited
-- require: amount
insert into balances values ($entity, :amount)
on conflict do update set amount = amount + excluded.amount;
";

pub fn run() {
    for accounts in [1_000, 100_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Arc::new(LogStore::open(folder.path(), &Options::default()).expect("a log"));
        fill(&log, accounts);
        let name = format!("view: 1,000,000 events into {accounts} rows");
        compare(&name, "events/s", || build(&log), || bare::read_segments(folder.path(), EVENTS));
    }
}

fn build(log: &Arc<LogStore>) -> Round {
    let folder = tempfile::tempdir().expect("a folder");
    let definition = Definition::parse("balances", BALANCES).expect("a definition");
    Round::time(|| {
        let store = Arc::clone(log) as Arc<dyn EventStore>;
        let views = Views::open(store, folder.path().to_owned(), vec![definition]).expect("views");
        let head = pollster::block_on(log.locate(gesta_core::When::Head)).expect("the head");
        pollster::block_on(views.wait_for("balances", &head)).expect("the view catches up");
        EVENTS
    })
}

pub fn fill(log: &LogStore, accounts: u64) {
    for batch in 0..EVENTS / 1_000 {
        let event = |number: u64| {
            // The step has no factor in common with the number of accounts, so it visits all of them in a mixed
            // order.
            let account = number.wrapping_mul(7_919) % accounts;
            let (id, stream) = (EventId::from_u128(u128::from(number)), format!("account-{account}"));
            let data = format!(r#"{{"amount":{},"text":"rent of the flat in the back yard"}}"#, number % 100);
            let (stream, kind) = (stream.parse().expect("a name"), "deposited".parse().expect("a type"));
            NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), data)
        };
        let events = (batch * 1_000..(batch + 1) * 1_000).map(event);
        log.append_blocking(Batch::new(events)).expect("an append");
    }
}
