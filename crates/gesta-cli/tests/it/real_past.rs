//! The past of real data: balances of a bank by day, and loans as of random moments against a fold in SQL.
//!
//! By default a part of the loans is taken; `GESTA_ALL_DATA=1` takes all of them.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use flate2::read::GzDecoder;
use gesta::past::{By, Cuts, Step};
use gesta::{AsOf, Command, Decider, Event, Gesta, Key, Meta, State};
use gesta_core::{
    Batch, Checkpoint, EventId, EventStore, MemoryStore, NewEvent, StoreId, StreamName, Timestamp, When,
};
use gesta_views::{Definition, Evaluation, Moment, QueryLimits, SqlValue};
use gesta_wire::{format_time, parse_time};
use serde_json::Value;

use crate::data::real;

const BANK: &str = "bank-transactions.csv.gz";
const LOANS: &str = "loan-applications.jsonl.gz";
/// The events of loans that are taken by default.
const EVENTS: usize = 20_000;
/// The random moments.
const MOMENTS: usize = 200;

/// The lines of a file of real data, if it is there.
fn lines_of(name: &str) -> Option<Vec<String>> {
    let path = real(name)?;
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

#[derive(Debug, Clone, Key)]
#[key("current")]
struct CurrentId(u64);

#[derive(Debug, Event)]
#[event(prefix = "current")]
enum CurrentEvent {
    Moved { cents: i64 },
}

#[derive(Debug, Clone, Command)]
enum CurrentCommand {
    Move { cents: i64 },
}

/// An account that allows an overdraft.
#[derive(Debug, Default)]
struct Current {
    cents: i64,
}

impl State for Current {
    type Event = CurrentEvent;

    fn evolve(&mut self, CurrentEvent::Moved { cents }: CurrentEvent) {
        self.cents += cents;
    }
}

impl Decider for Current {
    type Id = CurrentId;
    type Command = CurrentCommand;
    type Error = std::convert::Infallible;

    fn decide(
        &self,
        CurrentCommand::Move { cents }: CurrentCommand,
    ) -> Result<Vec<CurrentEvent>, Self::Error> {
        Ok(vec![CurrentEvent::Moved { cents }])
    }
}

/// A line of the bank.
struct Transaction {
    account: u64,
    date: String,
    cents: i64,
    /// The balance that the bank gives, rounded to ten cents.
    balance: i64,
}

impl Transaction {
    fn of(line: &str) -> Self {
        let fields = line.split(';').map(|field| field.trim_matches('"')).collect::<Vec<_>>();
        let cents = |text: &str| {
            let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
            let sign = if whole.starts_with('-') { -1 } else { 1 };
            whole.parse::<i64>().unwrap() * 100 + sign * format!("{part:0<2}")[..2].parse::<i64>().unwrap()
        };
        let (year, rest) = fields[2].split_at(2);
        let (month, day) = rest.split_at(2);
        let sign = if fields[3] == "PRIJEM" { 1 } else { -1 };
        Self {
            account: fields[1].parse().unwrap(),
            date: format!("19{year}-{month}-{day}"),
            cents: sign * cents(fields[5]),
            balance: cents(fields[6]),
        }
    }
}

#[test]
fn balances_at_the_end_of_each_day_are_those_of_the_bank() {
    let Some(lines) = lines_of(BANK) else {
        println!("not run: no `{BANK}` in `shared/data` beside the checkout");
        return;
    };
    let transactions = lines.iter().skip(1).map(|line| Transaction::of(line)).collect::<Vec<_>>();
    let gesta = Gesta::new(Arc::new(gesta::testing::memory()));
    // By account and date: the balances of the bank on that day, and the transactions so far.
    let mut expected = BTreeMap::<u64, BTreeMap<&str, (Vec<i64>, i64)>>::new();
    let mut counts = BTreeMap::<u64, i64>::new();
    for Transaction { account, date, cents, balance } in &transactions {
        let time = parse_time(&format!("{date}T00:00:00Z")).unwrap();
        let sender = gesta.with(Meta::new().time(time));
        let command = CurrentCommand::Move { cents: *cents };
        pollster::block_on(sender.send::<Current>(&CurrentId(*account), command)).unwrap();
        let count = counts.entry(*account).or_default();
        *count += 1;
        let day = expected.entry(*account).or_default().entry(date).or_default();
        day.0.push(*balance);
        day.1 = *count;
    }
    let days = Cuts::every(Step::Day, "UTC").unwrap().by(By::Time);
    let mut checked = 0;
    for (account, by_date) in &expected {
        let mut before = 0;
        let visit = |cut: gesta::past::Cut, state: &Current| {
            let date = format_time(cut.at.unwrap());
            match by_date.get(&date[..10]) {
                Some((balances, count)) => {
                    let is_near = |balance: &i64| (state.cents - balance).abs() <= 10 * count;
                    assert!(
                        balances.iter().any(is_near),
                        "account {account} on {date}: {} is none of {balances:?}",
                        state.cents
                    );
                    checked += 1;
                }
                None => assert_eq!(state.cents, before, "account {account} on {date}: nothing happened"),
            }
            before = state.cents;
        };
        pollster::block_on(gesta.series::<Current>(&CurrentId(*account), &days, visit)).unwrap();
    }
    let days_with_events = expected.values().map(BTreeMap::len).sum::<usize>();
    assert_eq!(checked, days_with_events, "every day with a transaction is a cut");
    println!("{} transactions, {checked} days of {} accounts", transactions.len(), expected.len());
}

#[derive(Debug, Clone, Key)]
#[key("loan")]
struct LoanId(String);

#[derive(Debug, Event)]
#[event(prefix = "loan", ignore)]
enum LoanEvent {
    #[event(name = "loan.a_submitted")]
    Submitted { amount_req: String },
    #[event(name = "loan.a_declined")]
    Declined,
    #[event(name = "loan.a_approved")]
    Approved,
    #[event(name = "loan.o_cancelled")]
    Cancelled,
}

#[derive(Debug, Clone, Command)]
enum LoanCommand {
    Nothing,
}

#[derive(Debug, Default, PartialEq)]
struct Loan {
    events: i64,
    amount: i64,
    last: String,
}

impl State for Loan {
    type Event = LoanEvent;

    fn evolve(&mut self, event: LoanEvent) {
        self.events += 1;
        event.info().name.clone_into(&mut self.last);
        if let LoanEvent::Submitted { amount_req } = event {
            self.amount += amount_req.parse::<i64>().unwrap();
        }
    }
}

impl Decider for Loan {
    type Id = LoanId;
    type Command = LoanCommand;
    type Error = std::convert::Infallible;

    fn decide(&self, LoanCommand::Nothing: LoanCommand) -> Result<Vec<LoanEvent>, Self::Error> {
        Ok(Vec::new())
    }
}

const LOAN_VIEW: &str = "-- dialect: sqlite
create table loans (loan text primary key, events integer, amount integer, last text);
-- on loan.a_submitted
-- require: amount_req
insert into loans values ($entity, 1, cast(:amount_req as integer), $type)
on conflict do update set events = events + 1, amount = amount + excluded.amount, last = excluded.last;
-- on loan.a_declined, loan.a_approved, loan.o_cancelled
insert into loans values ($entity, 1, 0, $type)
on conflict do update set events = events + 1, last = excluded.last;";

const OF_VIEW: &str = "select count(*), coalesce(sum(events), 0), coalesce(sum(amount), 0),
    coalesce(sum(last = 'loan.a_declined'), 0) from loans";

/// The same from a table of the events, `{0}` is the condition on them.
const OF_EVENTS: &str = "with seen as (select * from events where {0}),
    newest as (select type, row_number() over (partition by stream order by position desc) as place from seen)
    select (select count(distinct stream) from seen), (select count(*) from seen),
        (select coalesce(sum(amount), 0) from seen),
        (select count(*) from newest where place = 1 and type = 'loan.a_declined')";

const OF_LOAN: &str = "select count(*), coalesce(sum(amount), 0), coalesce((select type from events
    where {0} and stream = ?1 order by position desc limit 1), '') from events where {0} and stream = ?1";

/// A generator of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// The loans in a store, recorded out of order, and as a table in SQL.
struct Loans {
    store: Arc<MemoryStore>,
    table: rusqlite::Connection,
    streams: Vec<String>,
    times: Vec<Timestamp>,
    recorded: Vec<Timestamp>,
}

impl Loans {
    fn of(lines: &[String], random: &mut Random) -> Self {
        let clock = Arc::new(AtomicI64::new(0));
        let now = Arc::clone(&clock);
        let read = move || Timestamp::from_nanos(now.load(Ordering::SeqCst));
        let store = Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, read));
        let table = rusqlite::Connection::open_in_memory().unwrap();
        let schema =
            "create table events (position integer primary key, stream text, type text, time integer,
            recorded integer, amount integer); begin";
        table.execute_batch(schema).unwrap();
        let mut order = (0..lines.len()).collect::<Vec<_>>();
        for at in 0..order.len() {
            let other = (at + random.below(60)).min(order.len() - 1);
            order.swap(at, other);
        }
        let (streams, times, recorded) = (Vec::new(), Vec::new(), Vec::new());
        let mut loans = Self { store, table, streams, times, recorded };
        for (at, line) in order.into_iter().enumerate() {
            let second = i64::try_from(at / 3).unwrap() * 1_000_000_000;
            clock.store(second, Ordering::SeqCst);
            loans.append(&serde_json::from_str(&lines[line]).unwrap(), Timestamp::from_nanos(second));
        }
        loans.table.execute_batch("commit; create index by_stream on events (stream)").unwrap();
        loans.streams.sort();
        loans.streams.dedup();
        loans
    }

    fn append(&mut self, event: &Value, recorded: Timestamp) {
        let text = |name: &str| event[name].as_str().unwrap();
        let time = parse_time(text("time")).unwrap();
        let (stream, event_type) = (text("subject"), text("type"));
        let id = text("id").parse::<EventId>().unwrap();
        let name = stream.parse::<StreamName>().unwrap();
        let event_type = event_type.parse().unwrap();
        let new = NewEvent::json(id, name, event_type, time, event["data"].to_string());
        let position = self.store.append_now(Batch::new([new])).unwrap().places[0].position.sequence;
        let types = ["loan.a_submitted", "loan.a_declined", "loan.a_approved", "loan.o_cancelled"];
        if types.contains(&text("type")) {
            let amount = event["data"]["amount_req"].as_str().filter(|_| text("type") == types[0]);
            let amount = amount.map_or(0, |amount| amount.parse::<i64>().unwrap());
            let row = (
                i64::try_from(position).unwrap(),
                stream,
                text("type"),
                time.as_nanos(),
                recorded.as_nanos(),
                amount,
            );
            self.table.execute("insert into events values (?1, ?2, ?3, ?4, ?5, ?6)", row).unwrap();
        }
        self.streams.push(stream.to_owned());
        self.times.push(time);
        self.recorded.push(recorded);
    }

    /// A random moment: for an entity, for a view, and as a condition in SQL.
    fn moment(&self, random: &mut Random) -> (AsOf, Moment, String) {
        let event = random.below(self.times.len());
        let head = pollster::block_on(self.store.locate(When::Head)).unwrap();
        match random.below(3) {
            0 => {
                let at = Checkpoint::start(head.store(), 1).with(0, event as u64);
                (AsOf::Checkpoint(at.clone()), at.into(), format!("position <= {event}"))
            }
            1 => {
                let time = self.recorded[event];
                let at = pollster::block_on(self.store.locate(When::RecordedUpTo(time))).unwrap();
                (AsOf::RecordedAt(time), at.into(), format!("recorded <= {}", time.as_nanos()))
            }
            _ => {
                let time = self.times[event];
                let moment = Moment { until: head, happened_by: Some(time) };
                (AsOf::Time(time), moment, format!("time <= {}", time.as_nanos()))
            }
        }
    }
}

#[test]
fn loans_as_of_random_moments_are_those_of_a_fold_in_sql() {
    let Some(mut lines) = lines_of(LOANS) else {
        println!("not run: no `{LOANS}` in `shared/data` beside the checkout");
        return;
    };
    if !std::env::var("GESTA_ALL_DATA").is_ok_and(|value| value == "1") {
        lines.truncate(EVENTS);
    }
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let loans = Loans::of(&lines, &mut random);
    let gesta = Gesta::new(Arc::clone(&loans.store) as Arc<dyn EventStore>);
    let definition = Definition::parse("loans", LOAN_VIEW).unwrap();
    for _ in 0..MOMENTS {
        let (as_of, moment, condition) = loans.moment(&mut random);
        let stream = &loans.streams[random.below(loans.streams.len())];
        let id = LoanId(stream.strip_prefix("loan-").unwrap().to_owned());
        let loan = pollster::block_on(gesta.load_at::<Loan>(&id, as_of)).unwrap();
        let row = loans.table.query_row(&OF_LOAN.replace("{0}", &condition), [stream], |row| {
            Ok(Loan { events: row.get(0)?, amount: row.get(1)?, last: row.get(2)? })
        });
        assert_eq!(loan.state, row.unwrap(), "{stream} where {condition}");

        let view = Evaluation::new(&*loans.store, &definition).at(&moment).unwrap();
        let shown = view.query(OF_VIEW, &[], &QueryLimits::default()).unwrap().rows.remove(0);
        let expected = loans.table.query_row(&OF_EVENTS.replace("{0}", &condition), [], |row| {
            (0..4).map(|column| row.get(column).map(SqlValue::Integer)).collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(shown, expected.unwrap(), "where {condition}");
    }
    println!("{} events, {MOMENTS} moments", lines.len());
}
