//! The task of a partition: it drives the machine, with the copy, the cluster, and the calls that wait.
//!
//! *Invariant*: a call is answered once. The copy has what an answer speaks of.

mod everywhere;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gesta_core::{
    AppendError, Appended, Batch, Checkpoint, Facts, ReadError, RecordedBatch, Repeat, Timestamp, with_causes,
};
use gesta_log::{GroupLookUp, Replica, SourcePlace};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, block_in_place};
use tokio::time::Instant;

use crate::decide::{CopyGroup, Decided, Outcome, decide};
use crate::limits::{CATCH_UP_TIME, GROUP_BYTES_MAX, MESSAGE_BATCHES_MAX, STATUS_TIME};
use crate::link::Link;
use crate::machine::{Halt, Input, Machine, NotWritten, Output, Settled};
use crate::message::{Draft, Message, Place};
use crate::options::Clock;
use everywhere::Everywhere;

/// The answer to an append.
pub(crate) type Answer = Result<Appended, AppendError>;

/// A call that waits for the writer.
pub(crate) enum Call {
    /// An append.
    Append(Ticket),
    /// A head that is no older than the call.
    Head(HeadCall),
}

impl Call {
    /// Whether its caller is gone.
    fn is_closed(&self) -> bool {
        match self {
            Self::Append(ticket) => ticket.reply.is_closed(),
            Self::Head(head) => head.reply.is_closed(),
        }
    }
}

/// A call for the head.
pub(crate) struct HeadCall {
    /// The time that later events are to have at least.
    pub(crate) floor: Option<Timestamp>,
    pub(crate) reply: oneshot::Sender<Result<Checkpoint, ReadError>>,
    /// Its room in the queue.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// A batch on its way to a group.
pub(crate) struct Ticket {
    pub(crate) batch: Batch,
    /// What it is in the source, if the store is a copy that is being filled.
    pub(crate) recorded: Option<Box<RecordedBatch>>,
    /// Bytes of its events.
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Answer>,
    /// Its room in the queue.
    pub(crate) room: OwnedSemaphorePermit,
}

/// The group that is being written.
#[derive(Default)]
struct Group {
    batches: Vec<Batch>,
    /// What each is in the source of a copy.
    recorded: Vec<Option<Box<RecordedBatch>>>,
    tickets: Vec<(oneshot::Sender<Answer>, OwnedSemaphorePermit)>,
    heads: Vec<HeadCall>,
    decided: Decided,
}

/// Told once the copy has what the stream had when the store was opened.
pub(crate) struct Opening {
    /// The last message of the stream then.
    pub(crate) last: u64,
    pub(crate) done: oneshot::Sender<Result<(), NotCaughtUp>>,
}

/// Why a copy does not have what the stream had when the store was opened.
#[derive(Debug)]
pub(crate) enum NotCaughtUp {
    /// It never will.
    Halted(Halt),
    /// The cluster has delivered nothing for [`CATCH_UP_TIME`].
    Stalled,
}

/// The copy of a partition.
pub(crate) struct Copy {
    pub(crate) replica: Arc<Replica>,
    /// The copies of all partitions, in their order.
    pub(crate) all: Arc<[Arc<Replica>]>,
    /// The place before the first event of the store.
    pub(crate) start: Checkpoint,
}

/// The stream of a partition.
pub(crate) struct Cluster {
    pub(crate) link: Link,
    /// The inputs that the link sends.
    pub(crate) inputs: mpsc::Receiver<Input>,
    /// Changes each time the connection was lost.
    pub(crate) lost: watch::Receiver<()>,
}

/// The task of a partition.
pub(crate) struct Driver {
    machine: Machine,
    copy: Copy,
    cluster: Cluster,
    clock: Option<Clock>,
    calls: mpsc::UnboundedReceiver<Call>,
    opening: Option<Opening>,
    /// When the cluster delivered its last message, or the task began.
    delivered_at: Instant,
    waiting: VecDeque<Call>,
    group: Option<Group>,
    follower: Option<AbortHandle>,
    begun: Instant,
    /// Told once the machine has halted.
    halted: Arc<OnceLock<Halt>>,
    /// Dropped with the task.
    _ended: std::sync::mpsc::Sender<()>,
}

impl Driver {
    pub(crate) fn new(
        machine: Machine,
        copy: Copy,
        cluster: Cluster,
        calls: mpsc::UnboundedReceiver<Call>,
        (clock, opening, halted, ended): (
            Option<Clock>,
            Opening,
            Arc<OnceLock<Halt>>,
            std::sync::mpsc::Sender<()>,
        ),
    ) -> Self {
        Self {
            machine,
            copy,
            cluster,
            clock,
            calls,
            opening: Some(opening),
            delivered_at: Instant::now(),
            waiting: VecDeque::new(),
            group: None,
            follower: None,
            begun: Instant::now(),
            halted,
            _ended: ended,
        }
    }

    /// Runs until the store is closed.
    pub(crate) async fn run(mut self) {
        let outputs = self.machine.start(self.now());
        self.obey(outputs);
        let mut status = tokio::time::interval(STATUS_TIME);
        loop {
            self.note_opening();
            self.begin_next();
            let wake = sleep_until(self.machine.wake().map(|wake| self.begun + wake));
            let stalled = sleep_until(self.opening.as_ref().map(|_| self.delivered_at + CATCH_UP_TIME));
            tokio::select! {
                input = self.cluster.inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                call = self.calls.recv() => match call {
                    Some(call) => self.waiting.push_back(call),
                    None => return,
                },
                Ok(()) = self.cluster.lost.changed() => self.take(Input::ConnectionLost),
                () = wake => self.take(Input::Tick),
                () = stalled => self.opened(Err(NotCaughtUp::Stalled)),
                _ = status.tick() => {
                    self.cluster.link.ask_for_last(self.now());
                    // They give their room back, also while no group can be written.
                    self.waiting.retain(|call| !call.is_closed());
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Tells the opening store that the copy has caught up, or cannot.
    fn note_opening(&mut self) {
        let Some(opening) = &self.opening else { return };
        let done = match self.machine.halted() {
            Some(halt) => Err(NotCaughtUp::Halted(halt.clone())),
            None if self.machine.has_caught_up(opening.last) => Ok(()),
            None => return,
        };
        self.opened(done);
    }

    fn opened(&mut self, done: Result<(), NotCaughtUp>) {
        if let Some(opening) = self.opening.take() {
            // The caller may have given up.
            let _ = opening.done.send(done);
        }
    }

    /// Begins the next group, if none is being written.
    fn begin_next(&mut self) {
        // Calls that came meanwhile join the group.
        while let Ok(call) = self.calls.try_recv() {
            self.waiting.push_back(call);
        }
        while self.group.is_none() {
            let Some(group) = gather(&mut self.waiting) else { return };
            self.group = Some(group);
            self.take(Input::Begin);
        }
    }

    /// Gives an input to the machine, and does what it says.
    fn take(&mut self, input: Input) {
        let is_delivery = matches!(input, Input::Delivered { .. });
        let outputs = self.machine.input(self.now(), input);
        self.obey(outputs);
        if is_delivery {
            // After the copy has it, which may take its time.
            self.delivered_at = Instant::now();
        }
    }

    fn obey(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Probe => {
                    let draft = Some(draft(Vec::new(), None));
                    self.take(Input::Decided { at: self.machine.tip().number, draft });
                }
                Output::Decide { may_write } => {
                    let at = self.machine.tip().number;
                    let draft = block_in_place(|| self.decide(may_write));
                    self.take(Input::Decided { at, draft });
                }
                Output::Publish(publish) => self.cluster.link.publish(publish),
                Output::Apply(message, place) => {
                    let input = block_in_place(|| self.apply(&message, place));
                    self.take(input);
                }
                Output::Settled(settled) => block_in_place(|| self.settle(&settled)),
                Output::Follow { consumer, from } => {
                    let task = self.cluster.link.follow(consumer, from).abort_handle();
                    if let Some(before) = self.follower.replace(task) {
                        before.abort();
                    }
                }
                Output::Halted(halt) => {
                    let partition = self.copy.replica.partition();
                    tracing::error!(partition, "{}: no more writes", with_causes(&halt));
                    // It halts once.
                    let _ = self.halted.set(halt);
                }
            }
        }
    }

    /// Decides the group against the copy.
    fn decide(&mut self, may_write: bool) -> Option<Draft> {
        let group = self.group.as_mut()?;
        let read_only = self.machine.read_only();
        let earliest = self.machine.tip().recorded_at;
        let now = self.clock.as_ref().map_or_else(system_time, |clock| clock()).max(earliest);
        let looked_up = self.copy.replica.look_up(&group.batches);
        group.decided = match looked_up {
            Ok(found) => {
                let mut found = LookedUp { found, copies: &self.copy.all, recorded: &group.recorded };
                in_place(decide(&group.batches, &mut found, now, read_only.as_deref()), &group.recorded)
            }
            Err(error) => {
                let error = AppendError::Unavailable { reason: with_causes(&error) };
                let outcomes = group.batches.iter().map(|_| Outcome::Refused(error.clone())).collect();
                Decided { outcomes, ..Decided::default() }
            }
        };
        let decided = &group.decided;
        let is_sent = !decided.batches.is_empty() || decided.needs_proof || !group.heads.is_empty();
        let last = decided.batches.last().map_or(earliest, RecordedBatch::recorded_at);
        let floor = group.heads.iter().filter_map(|head| head.floor).max().filter(|floor| *floor > last);
        (may_write && is_sent).then(|| draft(decided.batches.clone(), floor))
    }

    fn apply(&self, message: &Message, place: Place) -> Input {
        let place = SourcePlace::new(place.to_bytes()).expect("a place is short enough");
        match self.copy.replica.append(message.batches(), &place) {
            Ok(()) => Input::Applied,
            Err(error) => Input::NotApplied { reason: with_causes(&error) },
        }
    }

    /// Answers the group.
    fn settle(&mut self, settled: &Settled) {
        let Some(group) = self.group.take() else { return };
        let Group { batches, tickets, heads, decided, .. } = group;
        let mut ends = decided.batches.iter();
        let outcomes = decided.outcomes.into_iter().map(Some).chain(std::iter::repeat(None));
        for ((batch, (reply, _room)), outcome) in batches.into_iter().zip(tickets).zip(outcomes) {
            let answer = match (outcome, settled) {
                (Some(Outcome::Repeated(_)), _) | (Some(Outcome::RepeatedInGroup(_)), Settled::Written) => {
                    self.repeated(batch)
                }
                (Some(Outcome::Accepted(repeat)), Settled::Written) => {
                    let recorded = ends.next().expect("there is one for each accepted batch");
                    Ok(self.appended(repeat, recorded))
                }
                (Some(Outcome::Refused(error)), Settled::Written | Settled::NothingToWrite) => Err(error),
                (Some(Outcome::Accepted(_) | Outcome::RepeatedInGroup(_)), Settled::InDoubt) => {
                    Err(self.in_doubt())
                }
                (_, settled) => Err(self.failure(settled)),
            };
            // The caller may be gone.
            let _ = reply.send(answer);
        }
        for head in heads {
            let answer = match settled {
                Settled::Written => Ok(self.copy.replica.head()),
                settled => Err(ReadError::Unavailable { reason: self.failure(settled).to_string() }),
            };
            let _ = head.reply.send(answer);
        }
    }

    fn appended(&self, repeat: Repeat, recorded: &RecordedBatch) -> Appended {
        let checkpoint = self.copy.start.clone().past(recorded.last());
        Appended { places: repeat.places, checkpoint, repeated: false }
    }

    /// Returns the log's answer to a repeat. It has no use for expectations and conditions, whose places are those of the store.
    fn repeated(&self, batch: Batch) -> Answer {
        let batch = Batch { expect: Vec::new(), conditions: Vec::new(), ..batch };
        let appended = self.copy.replica.log().append_blocking(batch)?;
        Ok(self.copy.replica.raise_appended(appended, &self.copy.start))
    }

    /// Why a batch may be written.
    fn in_doubt(&self) -> AppendError {
        let reason = match self.machine.halted() {
            Some(halt) => {
                format!("the cluster may have the batch, and this process cannot tell: {}", with_causes(halt))
            }
            None => "the cluster gave no answer in time, and may have the batch: send it again".to_owned(),
        };
        AppendError::InDoubt { reason }
    }

    /// Why a batch is surely not written.
    fn failure(&self, settled: &Settled) -> AppendError {
        match settled {
            Settled::NotWritten(NotWritten::Full) => AppendError::StorageFull {
                reason: "the cluster has no room for the message: give JetStream more, or another disk"
                    .to_owned(),
            },
            Settled::NotWritten(NotWritten::Malformed(error)) => AppendError::ReadOnly {
                reason: format!(
                    "the group is not published, which is a bug of this program: {}",
                    with_causes(error)
                ),
            },
            Settled::NotWritten(NotWritten::Refused(reason)) => {
                AppendError::ReadOnly { reason: format!("the cluster refuses the message: {reason}") }
            }
            _ => match self.machine.read_only() {
                Some(reason) => AppendError::ReadOnly { reason },
                None => AppendError::Unavailable {
                    reason: "the cluster took no message in time: a majority of its servers must run"
                        .to_owned(),
                },
            },
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

/// A group in front of a replica.
struct LookedUp<'a> {
    found: GroupLookUp<'a>,
    copies: &'a [Arc<Replica>],
    recorded: &'a [Option<Box<RecordedBatch>>],
}

impl CopyGroup for LookedUp<'_> {
    fn facts(&self, at: usize) -> impl Facts {
        Everywhere { facts: self.found.facts(at), copies: self.copies }
    }

    fn accept(&mut self, at: usize, now: Timestamp) -> RecordedBatch {
        let recorded = self.recorded.get(at).and_then(Option::as_ref);
        self.found.accept(at, recorded.map_or(now, |recorded| recorded.recorded_at()))
    }
}

/// The decision on a group, unless a batch of a copy got another place than it has in the source: then nothing is written.
fn in_place(decided: Decided, recorded: &[Option<Box<RecordedBatch>>]) -> Decided {
    let accepted = decided.outcomes.iter().zip(recorded);
    let accepted = accepted.filter(|(outcome, _)| matches!(outcome, Outcome::Accepted(_)));
    let mut pairs = accepted.zip(&decided.batches);
    let is_moved =
        pairs.any(|((_, recorded), batch)| recorded.as_ref().is_some_and(|recorded| **recorded != *batch));
    if !is_moved {
        return decided;
    }
    let reason = "a batch would get another place than in its source: something else has written to the copy";
    let error = AppendError::ReadOnly { reason: reason.to_owned() };
    let outcomes = decided.outcomes.iter().map(|_| Outcome::Refused(error.clone())).collect();
    Decided { outcomes, ..Decided::default() }
}

/// Takes the next group out of the line. Calls whose callers are gone are dropped.
fn gather(waiting: &mut VecDeque<Call>) -> Option<Group> {
    let (mut group, mut bytes) = (Group::default(), 0);
    while let Some(call) = waiting.pop_front() {
        match call {
            call if call.is_closed() => {}
            Call::Head(head) => group.heads.push(head),
            Call::Append(ticket) => {
                let is_full = group.batches.len() == MESSAGE_BATCHES_MAX
                    || (!group.batches.is_empty() && bytes + ticket.bytes > GROUP_BYTES_MAX);
                if is_full {
                    waiting.push_front(Call::Append(ticket));
                    break;
                }
                bytes += ticket.bytes;
                group.batches.push(ticket.batch);
                group.recorded.push(ticket.recorded);
                group.tickets.push((ticket.reply, ticket.room));
            }
        }
    }
    (!group.batches.is_empty() || !group.heads.is_empty()).then_some(group)
}

/// Sleeps until a time; for ever without one.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A draft of these batches, by this machine's clock.
pub(crate) fn draft(batches: Vec<RecordedBatch>, floor: Option<Timestamp>) -> Draft {
    Draft { random: *uuid::Uuid::new_v4().as_bytes(), written_at: system_time(), batches, floor }
}

/// The machine's clock.
pub(crate) fn system_time() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    Timestamp::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use gesta_core::{EventId, NewEvent, StoreId, Timestamp};

    use super::*;

    #[test]
    fn a_repeat_within_a_group_is_no_earlier_write() {
        let folder = tempfile::tempdir().unwrap();
        let options = gesta_log::Options::default();
        let replica = Replica::open(folder.path(), StoreId::from_bytes([1; 16]), 0, &options).unwrap();
        let copies = [Arc::new(replica)];
        let replica = &copies[0];
        let batch = |id: u128| {
            let (stream, kind) = ("account-1".parse().unwrap(), "opened".parse().unwrap());
            Batch::new(vec![NewEvent::json(EventId::from_u128(id), stream, kind, Timestamp::MIN, "1")])
        };
        let decide = |batches: &[Batch]| {
            let mut group =
                LookedUp { found: replica.look_up(batches).unwrap(), copies: &copies, recorded: &[] };
            decide(batches, &mut group, Timestamp::MIN, None)
        };
        let group = decide(&[batch(1), batch(2), batch(1)]);
        let [Outcome::Accepted(first), Outcome::Accepted(_), Outcome::RepeatedInGroup(again)] =
            &group.outcomes[..]
        else {
            panic!("{:?}", group.outcomes);
        };
        assert_eq!(first.places, again.places);
        replica.append(&group.batches, &SourcePlace::new([1]).unwrap()).unwrap();
        let group = decide(&[batch(3), batch(1)]);
        assert!(
            matches!(&group.outcomes[..], [Outcome::Accepted(_), Outcome::Repeated(_)]),
            "{:?}",
            group.outcomes
        );
    }
}
