//! Shared by the tests: a store with a counting clock, a store that fails on demand, the view of balances.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::*;
use gesta_views::*;

pub(crate) const BALANCES: &str = "-- dialect: sqlite
create table balances (account text primary key, amount integer not null, deposits integer not null);
-- on deposited
-- require: amount
insert into balances values ($entity, :amount, 1)
on conflict do update set amount = amount + excluded.amount, deposits = deposits + 1;
-- on withdrawn
-- require: amount
update balances set amount = amount - :amount where account = $entity;
";

pub(crate) const TOTALS: &str = "select count(*), sum(amount), sum(deposits) from balances";

/// A store whose clock counts up by a second.
pub(crate) fn store_of(id: u8, partitions: u16) -> Arc<MemoryStore> {
    let seconds = AtomicI64::new(0);
    let clock = move || Timestamp::from_nanos(1_000_000_000 * seconds.fetch_add(1, Ordering::SeqCst));
    Arc::new(MemoryStore::new(StoreId::from_bytes([id; 16]), partitions, clock))
}

pub(crate) fn store() -> Arc<MemoryStore> {
    store_of(7, 1)
}

pub(crate) fn event(stream: &str, event_type: &str, data: &str) -> NewEvent {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let event = sample::event(stream, NEXT.fetch_add(1, Ordering::SeqCst));
    let time = Timestamp::from_nanos(86_400_000_000_000);
    NewEvent { time, ..event.of_type(event_type).with_data(data.to_owned()) }
}

pub(crate) fn deposited(account: u64, amount: i64) -> NewEvent {
    event(&format!("account-{account}"), "deposited", &format!(r#"{{"amount": {amount}}}"#))
}

pub(crate) fn append(store: &MemoryStore, events: impl IntoIterator<Item = NewEvent>) -> Checkpoint {
    store.append_now(Batch::new(events)).unwrap().checkpoint
}

/// Appends `count` deposits of 1, spread over ten accounts, in batches of three.
pub(crate) fn append_deposits(store: &MemoryStore, count: u64) -> Checkpoint {
    let numbers = (0..count).collect::<Vec<_>>();
    let batches = numbers.chunks(3).map(|chunk| chunk.iter().map(|number| deposited(number % 10, 1)));
    batches.map(|batch| append(store, batch)).last().unwrap()
}

pub(crate) fn definition(text: &str) -> Definition {
    Definition::parse("balances", text).unwrap()
}

pub(crate) fn open(store: &Arc<MemoryStore>, folder: &Path) -> Views {
    open_as(store.clone(), folder, BALANCES)
}

pub(crate) fn open_as(store: Arc<dyn EventStore>, folder: &Path, text: &str) -> Views {
    Views::open(store, folder.to_owned(), vec![definition(text)]).unwrap()
}

pub(crate) fn page_of(events: u32) -> Options {
    let page = Limit::events(events.try_into().unwrap());
    Options { page, row_page: page, ..Options::default() }
}

pub(crate) fn wait(views: &Views, checkpoint: &Checkpoint) {
    let reached = pollster::block_on(views.wait_for("balances", checkpoint)).unwrap();
    assert!(reached.at_least(checkpoint));
}

/// Waits until the view stops before a checkpoint, and gives the reason.
pub(crate) fn stopped(views: &Views, checkpoint: &Checkpoint) -> Arc<RunError> {
    match pollster::block_on(views.wait_for("balances", checkpoint)) {
        Err(WaitError::Stopped { error, .. }) => error,
        other => panic!("the view should have stopped: {other:?}"),
    }
}

/// Waits until the view has stopped, while its older version may go on.
pub(crate) fn until_stopped(views: &Views) -> Arc<RunError> {
    loop {
        if let State::Stopped { error } = status(views).state {
            return error;
        }
        std::thread::yield_now();
    }
}

pub(crate) fn status(views: &Views) -> Status {
    pollster::block_on(views.status("balances")).unwrap()
}

pub(crate) fn query(views: &Views, sql: &str) -> Result<Rows, QueryError> {
    let limits = QueryLimits { time: Duration::from_secs(30), ..QueryLimits::default() };
    views.query("balances", sql, &[], &limits)
}

pub(crate) fn rows(views: &Views, sql: &str) -> Vec<Vec<SqlValue>> {
    query(views, sql).unwrap().rows
}

pub(crate) fn integers(numbers: &[i64]) -> Vec<Vec<SqlValue>> {
    vec![numbers.iter().copied().map(SqlValue::Integer).collect()]
}

/// The fault of a failing store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Closed,
    Overloaded,
    Panic,
    /// Its read waits for the test at the barrier twice: when it has begun, and before it goes on.
    Held,
}

/// A store that gives some pages and then fails a number of times.
pub(crate) struct Failing {
    pub(crate) inner: Arc<MemoryStore>,
    pub(crate) fault: Fault,
    pub(crate) pages_before: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) barrier: Barrier,
    counted: Counted,
}

/// The reads that a failing store counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// All.
    All,
    /// Those of views that name the type `cents`, or those of views that do not.
    OfViews { of_cents: bool },
    /// Those of one stream.
    OfStreams,
}

impl Failing {
    pub(crate) fn after(inner: &Arc<MemoryStore>, pages: u64, failures: u64, fault: Fault) -> Arc<Self> {
        let inner = inner.clone();
        let (pages_before, failures) = (pages.into(), failures.into());
        let (barrier, counted) = (Barrier::new(2), Counted::All);
        Arc::new(Self { inner, fault, pages_before, failures, barrier, counted })
    }

    /// As [`Self::after`], for the reads of views that name the type `cents`, or for those that do not.
    pub(crate) fn in_reads(
        of_cents: bool,
        inner: &Arc<MemoryStore>,
        pages: u64,
        failures: u64,
        fault: Fault,
    ) -> Arc<Self> {
        let failing = Arc::into_inner(Self::after(inner, pages, failures, fault)).unwrap();
        Arc::new(Self { counted: Counted::OfViews { of_cents }, ..failing })
    }

    /// As [`Self::after`], for the reads of one stream.
    pub(crate) fn in_streams(inner: &Arc<MemoryStore>, failures: u64, fault: Fault) -> Arc<Self> {
        let failing = Arc::into_inner(Self::after(inner, 0, failures, fault)).unwrap();
        Arc::new(Self { counted: Counted::OfStreams, ..failing })
    }

    fn counts(&self, read: &Read) -> bool {
        let names_cents =
            |items: &[Item]| items.iter().any(|item| item.types.iter().any(|name| name.as_str() == "cents"));
        match (self.counted, &read.select) {
            (Counted::All, _) | (Counted::OfStreams, Select::Stream { .. }) => true,
            (Counted::OfViews { of_cents }, Select::Log { query: Query::Any(items), .. }) => {
                names_cents(items) == of_cents
            }
            _ => false,
        }
    }

    fn fails(&self) -> bool {
        let take = |counter: &AtomicU64| {
            counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        };
        !take(&self.pages_before) && take(&self.failures)
    }
}

impl StoreLayer for Failing {
    fn inner(&self) -> &dyn EventStore {
        &*self.inner
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        if !self.counts(&read) || !self.fails() {
            return self.inner.read(read);
        }
        match self.fault {
            Fault::Closed => Box::pin(async { Err(ReadError::Closed) }),
            Fault::Overloaded => Box::pin(async { Err(ReadError::Overloaded) }),
            Fault::Panic => panic!("the store fell over"),
            Fault::Held => {
                self.barrier.wait();
                self.barrier.wait();
                self.inner.read(read)
            }
        }
    }
}
