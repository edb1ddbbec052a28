//! A store that fails as one behind a network does.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore, Listing, Page,
    Read, ReadError, StreamInfo, StreamName, StreamPage, When,
};

use super::luck::Luck;

/// A store that passes every call on to another one, and fails now and then: refuses, loses requests and answers, writes late,
/// and is slow, so that calls overtake each other.
///
/// It never breaks what a store promises. An append that is in doubt was written, was not written, or is written later. The same seed
/// gives the same run, as long as calls come in the same order, as they do in a test on one thread.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use gesta::Gesta;
/// use gesta::testing::{Fault, Flaky, memory};
///
/// let store = Arc::new(Flaky::new(Arc::new(memory()), 7));
/// let gesta = Gesta::new(store.clone());
/// // … the code under test …
/// assert_eq!(store.count(Fault::LostAnswer), 0, "nothing was appended");
/// ```
pub struct Flaky {
    store: Arc<dyn EventStore>,
    faults: Faults,
    state: Mutex<State>,
}

/// How often a [`Flaky`] store fails, in thousandths of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Appends that are refused as `Overloaded` or `Unavailable`, and not written.
    pub refused: u16,
    /// Appends in doubt that were never written.
    pub lost_request: u16,
    /// Appends in doubt that were written.
    pub lost_answer: u16,
    /// Appends in doubt that are written later, if a later append makes room for them.
    pub late: u16,
    /// Reads that fail as `Unavailable`.
    pub failed_read: u16,
    /// The most times that a call is passed over before it is made.
    pub pauses_max: u8,
}

impl Default for Faults {
    fn default() -> Self {
        Self { refused: 60, lost_request: 40, lost_answer: 80, late: 40, failed_read: 20, pauses_max: 4 }
    }
}

/// What a [`Flaky`] store did to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// An append was refused.
    Refused,
    /// An append was lost before it reached the store.
    LostRequest,
    /// An append was written, and its answer lost.
    LostAnswer,
    /// An append was put off.
    Late,
    /// An append that was put off reached the store.
    Arrived,
    /// A read failed.
    FailedRead,
}

struct State {
    luck: Luck,
    /// Appends that are written later.
    late: Vec<Batch>,
    counts: BTreeMap<Fault, u64>,
}

impl Flaky {
    /// Wraps a store. Everything that it does follows from the seed.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, seed: u64) -> Self {
        let state = State { luck: Luck::new(seed), late: Vec::new(), counts: BTreeMap::new() };
        Self { store, faults: Faults::default(), state: Mutex::new(state) }
    }

    /// Sets how often it fails.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Returns how often something was done to a call.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.lock().counts.get(&fault).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets other calls pass.
    fn pause(&self) -> Pauses {
        Pauses(self.lock().luck.below(usize::from(self.faults.pauses_max) + 1))
    }

    /// The fault of an append; `None` if it is passed on.
    fn choose(&self) -> Option<Fault> {
        let mut state = self.lock();
        let mut drawn = state.luck.below(1_000);
        let fates = [
            (Fault::Refused, self.faults.refused),
            (Fault::LostRequest, self.faults.lost_request),
            (Fault::LostAnswer, self.faults.lost_answer),
            (Fault::Late, self.faults.late),
        ];
        for (fault, share) in fates {
            let Some(rest) = drawn.checked_sub(usize::from(share)) else {
                state.note(fault);
                return Some(fault);
            };
            drawn = rest;
        }
        None
    }

    async fn append_or_fail(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.pause().await;
        while let Some(late) = self.next_late() {
            // Nobody waits for the answer.
            drop(self.store.append(late).await);
        }
        match self.choose() {
            None => self.store.append(batch).await,
            Some(Fault::Refused) => Err(self.refusal()),
            Some(Fault::LostAnswer) => {
                drop(self.store.append(batch).await);
                Err(in_doubt("its answer was lost"))
            }
            Some(Fault::Late) => {
                self.lock().late.push(batch);
                Err(in_doubt("it is late"))
            }
            Some(_) => Err(in_doubt("it was lost")),
        }
    }

    /// An append that was put off and arrives now.
    fn next_late(&self) -> Option<Batch> {
        let mut state = self.lock();
        let arrives = !state.late.is_empty() && state.luck.chance(500);
        arrives.then(|| {
            state.note(Fault::Arrived);
            let waiting = state.late.len();
            let at = state.luck.below(waiting);
            state.late.remove(at)
        })
    }

    fn refusal(&self) -> AppendError {
        match self.lock().luck.chance(500) {
            true => AppendError::Overloaded,
            false => AppendError::Unavailable { reason: "the test made it fail".to_owned() },
        }
    }

    /// Passes a read on, unless it fails.
    async fn read_or_fail<T>(
        &self,
        read: impl Future<Output = Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        self.pause().await;
        if self.fails_read() {
            return Err(ReadError::Unavailable { reason: "the test made it fail".to_owned() });
        }
        read.await
    }

    fn fails_read(&self) -> bool {
        let mut state = self.lock();
        let fails = state.luck.chance(usize::from(self.faults.failed_read));
        if fails {
            state.note(Fault::FailedRead);
        }
        fails
    }
}

impl State {
    fn note(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }
}

fn in_doubt(why: &str) -> AppendError {
    AppendError::InDoubt { reason: format!("the test lost the append: {why}") }
}

/// Is passed over that number of times.
struct Pauses(usize);

impl Future for Pauses {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.0.checked_sub(1) {
            None => Poll::Ready(()),
            Some(left) => {
                self.0 = left;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl EventStore for Flaky {
    fn capabilities(&self) -> &Capabilities {
        self.store.capabilities()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(self.append_or_fail(batch))
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        Box::pin(async move {
            self.pause().await;
            if self.fails_read() {
                return Err(AppendError::Unavailable { reason: "the test made it fail".to_owned() });
            }
            self.store.repeat_of(command, near).await
        })
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(self.read_or_fail(self.store.read(read)))
    }

    fn stream(&self, name: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(self.read_or_fail(self.store.stream(name)))
    }

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        Box::pin(self.read_or_fail(self.store.streams(listing)))
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.read_or_fail(self.store.locate(at)))
    }

    fn head_now(&self) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.read_or_fail(self.store.head_now()))
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        Box::pin(self.read_or_fail(self.store.wait_past(after)))
    }
}
