//! The time of a load of entities with 100, 10,000 and 1,000,000 events, with and without snapshots. Run it with a folder
//! that does not exist yet: `cargo run --release -p gesta --example loads -- FOLDER`

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gesta::testing::block_on;
use gesta::*;
use gesta_log::{LogStore, Options};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const SIZES: [u64; 3] = [100, 10_000, 1_000_000];
/// Events of one batch of the preparation. A snapshot is taken after each.
const BATCH: u64 = 10_000;
/// The figures are medians of this number of loads, after as many that are not counted.
const LOADS: usize = 25;
/// Events after the newest snapshot: half of `every`, which is the mean.
const TAIL: u64 = 250;

#[derive(Debug, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    Deposited { amount: u64, note: String },
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

#[derive(Debug, Clone, Key)]
#[key("account")]
struct AccountId(u64);

#[derive(Debug, Clone, Command)]
enum AccountCommand {
    Deposit { amount: u64, note: String },
}

impl Decider for Account {
    type Id = AccountId;
    type Command = AccountCommand;
    type Error = std::convert::Infallible;

    fn decide(
        &self,
        AccountCommand::Deposit { amount, note }: AccountCommand,
    ) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![AccountEvent::Deposited { amount, note }])
    }
}

fn main() -> Outcome {
    let folder = std::env::args().nth(1).ok_or("give a folder that does not exist yet")?;
    let folder = Path::new(&folder);
    let log: Arc<dyn EventStore> = Arc::new(LogStore::open(folder, &Options::default())?);
    let without = Gesta::new(Arc::clone(&log));
    let snapshots = gesta_state::open_snapshots(&folder.join(gesta_state::SNAPSHOTS_FILE_NAME))?;
    let with = without.snapshots(Arc::new(snapshots));
    println!("{:>9}  {:>12}  {:>12}  {:>16}", "events", "without", "with", "with, at 1/2");
    for events in SIZES {
        let account = AccountId(events);
        let mut left = events;
        while left > 0 {
            let batch = left.min(BATCH);
            deposit(&without, &account, batch)?;
            block_on(with.load::<Account>(&account))?;
            block_on(with.snapshots_settled());
            left -= batch;
        }
        deposit(&without, &account, TAIL)?;
        let half = AsOf::Version(Version::new(events / 2));
        println!(
            "{events:>9}  {:>12?}  {:>12?}  {:>16?}",
            load(&without, &account, None)?,
            load(&with, &account, None)?,
            load(&with, &account, Some(half))?,
        );
    }
    Ok(())
}

/// The median time of some loads.
fn load(gesta: &Gesta, account: &AccountId, at: Option<AsOf>) -> Outcome<Duration> {
    let mut times = Vec::new();
    for _ in 0..2 * LOADS {
        let begun = Instant::now();
        match &at {
            None => drop(block_on(gesta.load::<Account>(account))?),
            Some(at) => drop(block_on(gesta.load_at::<Account>(account, at.clone()))?),
        }
        times.push(begun.elapsed());
    }
    times.drain(..LOADS);
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn deposit(gesta: &Gesta, account: &AccountId, events: u64) -> Outcome {
    let events = (0..events).map(|amount| event(account, amount)).collect::<Outcome<Vec<_>>>()?;
    block_on(gesta.event_store().append(Batch::new(events)))?;
    Ok(())
}

fn event(account: &AccountId, amount: u64) -> Outcome<NewEvent> {
    let event = AccountEvent::Deposited { amount, note: "a deposit at the counter".to_owned() };
    let (id, time) = (SystemEnvironment.event_id(), SystemEnvironment.now());
    Ok(NewEvent::json(id, account.stream()?, event.info().name.parse()?, time, event.encode()?))
}
