//! Builds a view in SQLite from a million events of the log.

use std::sync::Arc;

use bench_core::{Meter, Process, ROUNDS, median_by};
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
        let ours = || {
            Round::time(|| {
                build(&log, &["balances"]);
                EVENTS
            })
        };
        compare(&name, "events/s", ours, || bare::read_segments(folder.path(), EVENTS));
        side_by_side(&name, &log);
    }
}

/// Prints the processor time to build four views side by side, over that to build them one after the other.
fn side_by_side(name: &str, log: &Arc<LogStore>) {
    const NAMES: [&str; 4] = ["one", "two", "three", "four"];
    let round = |_| {
        let alone = NAMES.map(|name| build(log, &[name])).iter().sum::<f64>();
        (alone, build(log, &NAMES))
    };
    let rounds = (0..ROUNDS).map(round).collect::<Vec<_>>();
    let (alone, together) = *median_by(&rounds, |(alone, together)| together / alone);
    println!(
        "{name}, four views: {together:.2} s of the processor together, {alone:.2} s alone, {:.2} of it",
        together / alone
    );
}

/// Builds views of these names, and returns the processor time of this process in seconds.
fn build(log: &Arc<LogStore>, names: &[&str]) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let definitions = names.iter().map(|name| Definition::parse(name, BALANCES).expect("a definition"));
    let meter = Meter::start(Process::Own, folder.path());
    let store = Arc::clone(log) as Arc<dyn EventStore>;
    let views = Views::open(store, folder.path().to_owned(), definitions.collect()).expect("views");
    let head = pollster::block_on(log.locate(gesta_core::When::Head)).expect("the head");
    for name in names {
        pollster::block_on(views.wait_for(name, &head)).expect("the view catches up");
    }
    drop(views);
    meter.stop().processor.as_secs_f64()
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
