//! A batch on its way: its sendings, the batches that it rests on, and its fate.
//!
//! *Invariants*
//! - The outcome has its sending and a handle on the store, so a batch goes on when its caller is gone.
//! - Any caller may poll a sending and take the next step. Nothing waits for a caller that nobody polls.
//! - A settled outcome needs nothing: the chain of a hot entity is freed from its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::{Context, Poll};

use event_listener::{Event, EventListener};
use futures_util::FutureExt;
use futures_util::future::Shared;
use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, EventStore, Limit, Read, ReadError, Select, StreamName, Version,
};

use super::keys::KeyInFlight;
use super::line::LineCell;
use super::planted::{Bug, planted};
use super::settle::{Answer, Fate, Ledger, Needs, Next};
use super::{lock, metrics::InFlight};

/// One sending of a batch, polled by everybody who waits for it. It wakes all of them.
pub(super) type Sending = Shared<BoxFuture<'static, Answer>>;

/// A batch that was decided, until its fate is known and after.
pub(crate) struct Outcome {
    /// Its place in the order of decisions. What it rests on has lower numbers.
    number: u64,
    batch: Batch,
    bytes: usize,
    store: Arc<dyn EventStore>,
    /// The lines that it is in flight in.
    lines: Vec<Weak<LineCell>>,
    fate: OnceLock<Fate>,
    progress: Mutex<Progress>,
    /// Notified when it is sent again, settled or proven.
    changed: Event,
    /// True if its caller is gone.
    is_orphan: AtomicBool,
}

#[derive(Default)]
struct Progress {
    ledger: Ledger,
    /// The newest sending, while it is under way.
    sending: Option<Sending>,
    /// Counts the sendings.
    sent: u32,
    /// What the batch was decided on and was not durable then. Empty once settled.
    needs: Vec<Arc<Outcome>>,
    key: Option<KeyInFlight>,
    in_flight: Option<InFlight>,
}

/// A new outcome's parts.
pub(super) struct NewOutcome {
    pub(super) number: u64,
    pub(super) batch: Batch,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) lines: Vec<Weak<LineCell>>,
    pub(super) needs: Vec<Arc<Outcome>>,
    pub(super) in_flight: InFlight,
}

/// How an unsettled batch stands in its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A sending is under way.
    Sending,
    /// It waits for a pass: it came too early, or was never sent.
    Waiting,
    /// It is in doubt, and no sending is under way.
    InDoubt,
    Settled,
}

/// What a step changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advanced {
    Nothing,
    Sent,
    Settled,
}

impl Outcome {
    pub(super) fn new(new: NewOutcome) -> Arc<Self> {
        let NewOutcome { number, batch, store, lines, needs, in_flight } = new;
        let bytes = batch.events.iter().map(gesta_core::NewEvent::canonical_len).sum();
        let progress = Progress { needs, in_flight: Some(in_flight), ..Progress::default() };
        Arc::new(Self {
            number,
            batch,
            bytes,
            store,
            lines,
            fate: OnceLock::new(),
            progress: Mutex::new(progress),
            changed: Event::new(),
            is_orphan: AtomicBool::new(false),
        })
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) const fn batch(&self) -> &Batch {
        &self.batch
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its fate, once it is settled.
    pub(super) fn fate(&self) -> Option<&Fate> {
        self.fate.get()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.fate.get().is_some()
    }

    /// True if it is settled and not written.
    pub(super) fn has_failed(&self) -> bool {
        self.fate().is_some_and(|fate| !matches!(fate, Fate::Written(_)))
    }

    /// The answer, if it is written.
    pub(super) fn written(&self) -> Option<&Appended> {
        match self.fate()? {
            Fate::Written(appended) => Some(appended),
            _ => None,
        }
    }

    /// The place of its last event in a stream, if it is written.
    pub(super) fn last_place(&self, stream: &StreamName) -> Option<gesta_core::Placed> {
        let places = &self.written()?.places;
        let last = self.batch.events.iter().rposition(|event| event.stream == *stream)?;
        places.get(last).copied()
    }

    /// The place of its first event in a stream, if it is written.
    pub(super) fn first_place(&self, stream: &StreamName) -> Option<gesta_core::Placed> {
        let places = &self.written()?.places;
        let first = self.batch.events.iter().position(|event| event.stream == *stream)?;
        places.get(first).copied()
    }

    /// The lines that still exist.
    pub(super) fn lines(&self) -> impl Iterator<Item = Arc<LineCell>> + '_ {
        self.lines.iter().filter_map(Weak::upgrade)
    }

    /// A listener for the next change.
    pub(super) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    /// Marks it as without a caller: the next command to one of its lines polls it.
    pub(super) fn abandon(&self) {
        self.is_orphan.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_orphan(&self) -> bool {
        self.is_orphan.load(Ordering::Relaxed) && !self.is_settled()
    }

    /// Keeps the entry of its key until it is settled.
    pub(super) fn hold_key(&self, key: KeyInFlight) {
        self.lock().key = Some(key);
    }

    pub(super) fn needs(&self) -> Vec<Arc<Self>> {
        self.lock().needs.clone()
    }

    pub(super) fn standing(&self) -> Standing {
        let progress = self.lock();
        match (self.is_settled(), &progress.sending) {
            (true, _) => Standing::Settled,
            (false, Some(_)) => Standing::Sending,
            (false, None) if progress.ledger.is_in_doubt() => Standing::InDoubt,
            (false, None) => Standing::Waiting,
        }
    }

    /// The sending under way, with its number.
    pub(super) fn sending(&self) -> Option<(u32, Sending)> {
        let progress = self.lock();
        let sending = progress.sending.clone()?;
        Some((progress.sent, sending))
    }

    /// The number of the sending under way.
    pub(super) fn sending_number(&self) -> Option<u32> {
        let progress = self.lock();
        progress.sending.as_ref().map(|_| progress.sent)
    }

    /// Sends the batch, unless it is settled or on its way. The caller polls the sending, so that it is in line.
    pub(super) fn send(&self) -> Option<(u32, Sending)> {
        let mut progress = self.lock();
        if self.is_settled() || progress.sending.is_some() {
            return None;
        }
        self.send_locked(&mut progress);
        drop(progress);
        self.changed.notify(usize::MAX);
        self.sending()
    }

    fn send_locked(&self, progress: &mut Progress) {
        let needs = needs_of(progress);
        progress.ledger.sent(needs);
        progress.sent += 1;
        let append = send(Arc::clone(&self.store), self.batch.clone());
        progress.sending = Some(append.boxed().shared());
    }

    /// Notes the answer to a sending. Returns true if the batch came too early, so that its lines must halt.
    pub(super) fn record(&self, number: u32, answer: Answer) -> bool {
        let mut progress = self.lock();
        if progress.sent != number || progress.sending.take().is_none() {
            // Somebody else who waits has noted it.
            return false;
        }
        let is_waiting = match progress.ledger.take(answer) {
            Some(fate) => {
                self.settle(progress, fate);
                return false;
            }
            None => !progress.ledger.is_in_doubt(),
        };
        if let Some(in_flight) = progress.in_flight.as_ref().filter(|_| is_waiting) {
            in_flight.early();
        }
        drop(progress);
        self.changed.notify(usize::MAX);
        is_waiting
    }

    /// Takes the next step, if there is one without a pass.
    pub(super) fn advance(&self) -> Advanced {
        let mut progress = self.lock();
        if self.is_settled() || progress.sending.is_some() {
            return Advanced::Nothing;
        }
        match progress.ledger.next(needs_of(&progress)) {
            Next::Wait | Next::Pass => Advanced::Nothing,
            Next::Send => {
                self.send_locked(&mut progress);
                drop(progress);
                self.changed.notify(usize::MAX);
                Advanced::Sent
            }
            Next::Settle(fate) => {
                self.settle(progress, fate);
                Advanced::Settled
            }
        }
    }

    fn settle(&self, mut progress: MutexGuard<'_, Progress>, fate: Fate) {
        let needs = match planted(Bug::NeedsKept) {
            true => progress.needs.clone(),
            false => std::mem::take(&mut progress.needs),
        };
        progress.sending = None;
        let is_written = matches!(fate, Fate::Written(_));
        let is_recorded = is_written || matches!(fate, Fate::Answered(_));
        let (key, in_flight) = (progress.key.take(), progress.in_flight.take());
        key.iter().filter(|_| is_recorded).for_each(|key| key.recorded());
        assert!(self.fate.set(fate).is_ok(), "a batch is settled once");
        drop(progress);
        if is_written {
            prove(needs);
        }
        drop((key, in_flight));
        self.changed.notify(usize::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }
}

fn needs_of(progress: &Progress) -> Needs {
    Needs::of(progress.needs.iter().map(|outcome| outcome.fate()))
}

/// A written batch expected the events of those that it rests on, so these are written too.
fn prove(mut needs: Vec<Arc<Outcome>>) {
    while let Some(outcome) = needs.pop() {
        let mut progress = outcome.lock();
        if outcome.is_settled() || progress.ledger.is_proven() {
            continue;
        }
        progress.ledger.prove();
        needs.extend(progress.needs.iter().cloned());
        drop(progress);
        outcome.changed.notify(usize::MAX);
    }
}

/// One sending. A repeat under a key is compared with the ids of the batch: an earlier command may have used the key.
async fn send(store: Arc<dyn EventStore>, batch: Batch) -> Answer {
    let keyed = batch.command.is_some().then(|| batch.events[0].clone());
    let answer = store.append(batch).await;
    match (answer, keyed) {
        (Ok(appended), Some(first)) if appended.repeated => {
            match recorded_id(&*store, &first.stream, &appended).await {
                Ok(id) if id == Some(first.id) => Answer::Ours(appended),
                Ok(_) => Answer::Earlier(appended),
                Err(error) => Answer::Refused(AppendError::InDoubt {
                    reason: format!("the answer could not be read back: {error}"),
                }),
            }
        }
        (Ok(appended), _) => Answer::Ours(appended),
        (Err(error), _) => Answer::Refused(error),
    }
}

/// The id of the event that is recorded as the first of an answer, if it lies in that stream.
async fn recorded_id(
    store: &dyn EventStore,
    stream: &StreamName,
    appended: &Appended,
) -> Result<Option<gesta_core::EventId>, ReadError> {
    let Some(first) = appended.places.first() else { return Ok(None) };
    let event = event_at(store, stream, first.version).await?;
    Ok(event.filter(|event| event.position() == first.position).map(|event| event.id()))
}

/// The event of a stream at a version.
pub(super) async fn event_at(
    store: &dyn EventStore,
    stream: &StreamName,
    version: Version,
) -> Result<Option<gesta_core::RecordedEvent>, ReadError> {
    let select = Select::Stream { name: stream.clone(), from: Some(version) };
    let page = store.read(Read::from(select).limit(Limit::events(std::num::NonZeroU32::MIN))).await?;
    Ok(page.events.into_iter().find(|event| event.version() == version))
}

/// Polls a sending once.
pub(super) fn poll_sending(sending: &mut Sending, context: &mut Context<'_>) -> Poll<Answer> {
    sending.poll_unpin(context)
}
