//! A store over `MemoryStore` that behaves like one behind a network: sendings are reordered, lost and late, several batches
//! share a sync, a crash loses what was not synced, and now and then it is overloaded or down.
//!
//! Two stores in memory make it up. `ahead` has everything that arrived, `durable` what was synced. An answer is given when
//! all that it speaks of is synced; reads see what is durable.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventId, EventStore,
    Listing, MemoryStore, Page, Read, ReadError, StoreId, StreamInfo, StreamName, StreamPage, Timestamp,
    When,
};

use crate::entity::lock;
use crate::testing::luck::Luck;

/// How often things happen, in thousandths of the steps or cases.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) reorder: usize,
    pub(super) crash: usize,
    pub(super) time_out: usize,
    pub(super) overload: usize,
    pub(super) read_fails: usize,
    pub(super) goes_down: usize,
}

/// What a caller waits for.
struct Slot<T> {
    answer: Mutex<(Option<T>, Option<Waker>)>,
}

impl<T> Slot<T> {
    fn new() -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new((None, None)) })
    }

    fn tell(&self, answer: T) {
        let mut slot = lock(&self.answer);
        if slot.0.is_none() {
            slot.0 = Some(answer);
        }
        let waker = slot.1.take();
        drop(slot);
        waker.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, context: &Context<'_>) -> Poll<T> {
        let mut slot = lock(&self.answer);
        match slot.0.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

type AppendAnswer = Result<Appended, AppendError>;

/// One sending of a batch, until the store has answered it.
#[derive(Clone)]
struct Sending {
    batch: Batch,
    slot: Arc<Slot<AppendAnswer>>,
    number: usize,
}

/// What the sendings of one batch were told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) sendings: usize,
    pub(super) definite: usize,
}

/// A request that reads.
type Ask = Box<dyn FnOnce(&MemoryStore, Option<ReadError>) + Send>;

pub(super) struct Flaky {
    capabilities: Capabilities,
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    luck: Luck,
    pub(super) faults: Faults,
    ahead: MemoryStore,
    durable: Arc<MemoryStore>,
    /// The accepted batches that are not durable, oldest first.
    undurable: Vec<Batch>,
    /// Sendings that have not arrived.
    net: Vec<Sending>,
    /// Answers that wait for a sync.
    waiting: Vec<(Sending, AppendAnswer)>,
    asks: Vec<Ask>,
    is_down: bool,
    /// Sendings do not arrive.
    pub(super) holds_appends: bool,
    /// The number of a sending that is late, and by how many arrivals.
    pub(super) late: Option<(usize, usize)>,
    /// By the id of the first event.
    told: HashMap<EventId, Told>,
    /// True for each sending whose caller has an answer.
    is_answered: Vec<bool>,
    /// The ids of the batches of each call, by the number in their metadata.
    pub(super) sent: HashMap<u64, Vec<Vec<EventId>>>,
    pub(super) counts: HashMap<&'static str, u64>,
}

impl Flaky {
    pub(super) fn new(seed: u64, faults: Faults) -> Arc<Self> {
        let empty = || MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1));
        let inner = Inner {
            luck: Luck::new(seed),
            faults,
            ahead: empty(),
            durable: Arc::new(empty()),
            undurable: Vec::new(),
            net: Vec::new(),
            waiting: Vec::new(),
            asks: Vec::new(),
            is_down: false,
            holds_appends: false,
            late: None,
            told: HashMap::new(),
            is_answered: Vec::new(),
            sent: HashMap::new(),
            counts: HashMap::new(),
        };
        let capabilities = inner.durable.capabilities().clone();
        Arc::new(Self { capabilities, inner: Mutex::new(inner) })
    }

    pub(super) fn with<T>(&self, use_it: impl FnOnce(&mut Inner) -> T) -> T {
        use_it(&mut lock(&self.inner))
    }

    /// Lets one thing happen. Returns false if nothing is left to do.
    pub(super) fn step(&self) -> bool {
        let told = self.with(Inner::step);
        // Wakers run without the lock.
        let is_idle = told.is_none();
        told.into_iter().flatten().for_each(|tell| tell());
        !is_idle
    }

    /// An event appended by somebody who asks no decider.
    pub(super) fn append_raw(&self, batch: Batch) {
        self.with(|inner| {
            let number = inner.next_number();
            inner.net.push(Sending { batch, slot: Slot::new(), number });
        });
    }

    /// The durable log.
    pub(super) fn durable(&self) -> Arc<MemoryStore> {
        self.with(|inner| Arc::clone(&inner.durable))
    }

    /// What the sendings of a batch were told.
    pub(super) fn told(&self, first: EventId) -> Told {
        self.with(|inner| inner.told.get(&first).cloned().unwrap_or_default())
    }

    fn ask<'a, T: Send + 'static>(
        &'a self,
        ask: impl FnOnce(&MemoryStore, Option<ReadError>) -> T + Send + 'static,
    ) -> BoxFuture<'a, T> {
        let slot = Slot::new();
        let mut ask = Some(ask);
        Box::pin(std::future::poll_fn(move |context| {
            if let Some(ask) = ask.take() {
                let slot = Arc::clone(&slot);
                let ask: Ask = Box::new(move |store, error| slot.tell(ask(store, error)));
                self.with(|inner| inner.asks.push(ask));
            }
            slot.poll(context)
        }))
    }
}

type Tell = Box<dyn FnOnce()>;

impl Inner {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn next_number(&mut self) -> usize {
        self.is_answered.push(false);
        self.is_answered.len() - 1
    }

    fn step(&mut self) -> Option<Vec<Tell>> {
        let is_idle = self.net.is_empty() && self.waiting.is_empty() && self.asks.is_empty();
        if is_idle && self.undurable.is_empty() && !self.is_down {
            return None;
        }
        let faults = self.faults;
        Some(match self.luck.below(1_000) {
            _ if self.is_down => {
                if self.luck.chance(100) {
                    self.is_down = false;
                }
                Vec::new()
            }
            0..350 => self.arrive(),
            350..700 => self.answer_ask(),
            _ if self.luck.chance(faults.goes_down) => {
                self.is_down = true;
                self.count("down");
                Vec::new()
            }
            _ if self.luck.chance(faults.crash) => self.crash(),
            _ if self.luck.chance(faults.time_out) => self.time_out(),
            _ => self.sync(),
        })
    }

    /// A sending reaches the store.
    fn arrive(&mut self) -> Vec<Tell> {
        if self.net.is_empty() || self.holds_appends {
            return Vec::new();
        }
        let is_reordered = self.luck.chance(self.faults.reorder);
        let mut at = if is_reordered { self.luck.below(self.net.len()) } else { 0 };
        if let Some((number, arrivals)) = &mut self.late
            && self.net[at].number == *number
            && *arrivals > 0
        {
            *arrivals -= 1;
            at = 1.min(self.net.len() - 1);
        }
        if at > 0 {
            self.count("reordered");
        }
        let sending = self.net.remove(at);
        if self.luck.chance(self.faults.overload) {
            self.count("overloaded");
            return self.tell(sending, Err(AppendError::Overloaded));
        }
        let answer = self.ahead.append_now(sending.batch.clone());
        match &answer {
            Ok(appended) if appended.repeated => self.count("repeat"),
            Ok(_) => {
                self.count("recorded");
                self.undurable.push(sending.batch.clone());
            }
            Err(AppendError::Conflict { .. }) => self.count("conflict"),
            Err(AppendError::ConditionFailed { .. }) => self.count("condition failed"),
            Err(_) => self.count("other refusal"),
        }
        if self.undurable.is_empty() {
            return self.tell(sending, answer);
        }
        self.waiting.push((sending, answer));
        Vec::new()
    }

    /// Some of the batches become durable, or all.
    fn sync(&mut self) -> Vec<Tell> {
        if self.undurable.is_empty() && self.waiting.is_empty() {
            return Vec::new();
        }
        self.count("sync");
        for batch in std::mem::take(&mut self.undurable) {
            self.durable.append_now(batch).expect("it was accepted on the same log");
        }
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().flat_map(|(sending, answer)| self.tell(sending, answer)).collect()
    }

    /// What was not synced is lost, and so are the answers. Half of the time the sendings under way are lost too.
    fn crash(&mut self) -> Vec<Tell> {
        self.count("crash");
        let kept = self.luck.below(self.undurable.len() + 1);
        for batch in self.undurable.drain(..).take(kept) {
            self.durable.append_now(batch).expect("it was accepted on the same log");
        }
        self.undurable.clear();
        self.ahead = self.durable.copy();
        let mut lost =
            std::mem::take(&mut self.waiting).into_iter().map(|(sending, _)| sending).collect::<Vec<_>>();
        if self.luck.chance(500) {
            lost.append(&mut self.net);
        }
        let doubt = || Err(AppendError::InDoubt { reason: "the store crashed".to_owned() });
        lost.into_iter().flat_map(|sending| self.tell(sending, doubt())).collect()
    }

    /// A caller's time is over. Its sending goes on, and arrives later.
    fn time_out(&mut self) -> Vec<Tell> {
        let waiting = self.waiting.iter().map(|(sending, _)| sending);
        let under_way = self.net.iter().chain(waiting).cloned().collect::<Vec<_>>();
        if under_way.is_empty() {
            return Vec::new();
        }
        self.count("time-out");
        let sending = under_way[self.luck.below(under_way.len())].clone();
        self.tell(sending, Err(AppendError::InDoubt { reason: "no answer in time".to_owned() }))
    }

    /// Only the first answer to a sending reaches its caller.
    fn tell(&mut self, sending: Sending, answer: AppendAnswer) -> Vec<Tell> {
        if self.is_answered[sending.number] {
            return Vec::new();
        }
        self.is_answered[sending.number] = true;
        if !matches!(answer, Err(AppendError::InDoubt { .. })) {
            self.told.entry(sending.batch.events[0].id).or_default().definite += 1;
        }
        vec![Box::new(move || sending.slot.tell(answer))]
    }

    fn answer_ask(&mut self) -> Vec<Tell> {
        if self.asks.is_empty() {
            return Vec::new();
        }
        let at = self.luck.below(self.asks.len());
        let ask = self.asks.remove(at);
        let fails = self.luck.chance(self.faults.read_fails);
        let error = fails.then(|| ReadError::Unavailable { reason: "it restarts".to_owned() });
        if fails {
            self.count("read failed");
        }
        let durable = Arc::clone(&self.durable);
        vec![Box::new(move || ask(&durable, error))]
    }
}

/// The answer of a future that is ready at once, such as those of the store in memory.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the store in memory answers at once"),
    }
}

/// The number that a call puts into the metadata of its events.
fn call_number(batch: &Batch) -> Option<u64> {
    let metadata = serde_json::from_slice::<serde_json::Value>(&batch.events[0].metadata).ok()?;
    metadata["call"].as_u64()
}

struct Append<'a> {
    store: &'a Flaky,
    batch: Option<Batch>,
    slot: Arc<Slot<AppendAnswer>>,
}

impl Future for Append<'_> {
    type Output = AppendAnswer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<AppendAnswer> {
        if let Some(batch) = self.batch.take() {
            let slot = Arc::clone(&self.slot);
            self.store.with(|inner| {
                inner.told.entry(batch.events[0].id).or_default().sendings += 1;
                let ids = batch.events.iter().map(|event| event.id).collect::<Vec<_>>();
                let sent = inner.sent.entry(call_number(&batch).unwrap_or(u64::MAX)).or_default();
                if !sent.contains(&ids) {
                    sent.push(ids);
                }
                if !batch.expect.is_empty()
                    && batch
                        .expect
                        .iter()
                        .any(|(_, expected)| matches!(expected, gesta_core::Expected::Event { .. }))
                {
                    inner.count("rested on undurable events");
                }
                let number = inner.next_number();
                inner.net.push(Sending { batch, slot, number });
            });
        }
        self.slot.poll(context)
    }
}

impl EventStore for Flaky {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, AppendAnswer> {
        Box::pin(Append { store: self, batch: Some(batch), slot: Slot::new() })
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        self.ask(move |store, error| match error {
            Some(_) => Err(AppendError::Unavailable { reason: "it restarts".to_owned() }),
            None => now(store.repeat_of(command, near)),
        })
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.ask(move |store, error| error.map_or_else(|| store.read_now(&read), Err))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        self.ask(move |store, error| error.map_or_else(|| now(store.stream(name)), Err))
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        self.ask(move |store, error| error.map_or_else(|| now(store.streams(listing)), Err))
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.ask(move |store, error| error.map_or_else(|| now(store.locate(at)), Err))
    }

    fn wait_past(&self, _: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        // Commands do not wait for events.
        Box::pin(std::future::pending())
    }
}
