//! An account in Gesta, and the load on it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gesta::{Cache, Command, Decider, Event, Gesta, Key, State, snapshot};
use gesta_core::EventStore;

/// Loads of one account. Their median counts.
const LOADS: usize = 15;
/// Events of one command while a history is made.
const BATCH: u64 = 1_000;

/// The measurements of some workers.
pub struct Sent {
    /// Commands a second.
    pub rate: f64,
    /// Median time of a command in µs, conflicts included.
    pub p50: u64,
    /// The 99th percentile in µs.
    pub p99: u64,
    /// Commands that were decided again, since another worker was first.
    pub conflicts: u64,
}

#[derive(Debug, Clone, Key)]
#[key("account")]
struct AccountId(u64);

#[derive(Debug, PartialEq, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    Deposited { amount: u64, note: String },
}

/// Deposits this number of times.
#[derive(Debug, Clone, Command)]
enum AccountCommand {
    Deposit { events: u64 },
}

#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Account {
    balance: u64,
    deposits: u64,
    note: String,
}

#[snapshot(every = 500)]
impl State for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, AccountEvent::Deposited { amount, note }: AccountEvent) {
        self.balance += amount;
        self.deposits += 1;
        self.note = note;
    }
}

impl Decider for Account {
    type Id = AccountId;
    type Command = AccountCommand;
    type Error = std::convert::Infallible;

    fn decide(
        &self,
        AccountCommand::Deposit { events }: AccountCommand,
    ) -> Result<Vec<AccountEvent>, Self::Error> {
        let event = || AccountEvent::Deposited { amount: 1, note: note() };
        Ok((0..events).map(|_| event()).collect())
    }
}

/// The text of each event, as the frameworks have it.
fn note() -> String {
    "a deposit at the counter of the branch in the main street, checked by two people, receipt handed out"
        .to_owned()
}

/// Workers that each send a command when they have the answer to the one before.
pub fn send(store: &Arc<dyn EventStore>, workers: u64, accounts: u64, lasts: Duration) -> Sent {
    let gesta = Gesta::new(Arc::clone(store));
    let begun = Instant::now();
    let mut took = std::thread::scope(|scope| {
        let workers = (0..workers).map(|worker| {
            let gesta = gesta.clone();
            scope.spawn(move || {
                let mut took = Vec::new();
                while begun.elapsed() < lasts {
                    let sent = Instant::now();
                    deposit(&gesta, &AccountId(worker % accounts), 1);
                    took.push(sent.elapsed());
                }
                took
            })
        });
        let workers = workers.collect::<Vec<_>>();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect::<Vec<_>>()
    });
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let part = |of: f64| took[((took.len() - 1) as f64 * of) as usize].as_micros() as u64;
    Sent { rate, p50: part(0.5), p99: part(0.99), conflicts: gesta.cache_metrics().conflicts }
}

/// The times to load one account with a history in µs: from all its events, from a snapshot, and kept.
pub fn load(store: &Arc<dyn EventStore>, folder: &Path, events: u64) -> [f64; 3] {
    let account = AccountId(events);
    let kept = Gesta::new(Arc::clone(store));
    let without = kept.cache(Cache::none());
    let snapshots = gesta_state::open_snapshots(&folder.join(gesta_state::SNAPSHOTS_FILE_NAME));
    let with = without.snapshots(Arc::new(snapshots.expect("a snapshot store")));
    let mut left = events;
    while left > 0 {
        let some = left.min(BATCH);
        deposit(&with, &account, some);
        pollster::block_on(with.load::<Account>(&account)).expect("a load");
        pollster::block_on(with.snapshots_settled());
        left -= some;
    }
    let load =
        |gesta: &Gesta| pollster::block_on(gesta.load::<Account>(&account)).expect("a load").state.deposits;
    let look = |gesta: &Gesta| {
        let looked = pollster::block_on(gesta.inspect(&account, |account: &Account, _| account.deposits));
        looked.expect("a look").state
    };
    [time(events, || load(&without)), time(events, || load(&with)), time(events, || look(&kept))]
}

/// The median time of loads in µs.
fn time(events: u64, mut load: impl FnMut() -> u64) -> f64 {
    let mut took = Vec::new();
    for _ in 0..LOADS {
        let begun = Instant::now();
        assert_eq!(load(), events);
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took[LOADS / 2].as_nanos() as f64 / 1e3
}

fn deposit(gesta: &Gesta, account: &AccountId, events: u64) {
    pollster::block_on(gesta.send::<Account>(account, AccountCommand::Deposit { events }))
        .expect("a command");
}
