//! The model of a log: every batch that was sent, its answer, and the log that follows from the answers.

use std::collections::HashMap;

use gesta_core::{
    AppendError, Appended, Batch, EventBytes, EventId, Placed, Position, RecordedEvent, StoreId, Timestamp,
    Version,
};

/// A failed check, as a sentence.
pub(crate) type Wrong = String;

/// Everything that a client knows about a log.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) store: Option<StoreId>,
    pub(crate) sent: Vec<Sent>,
    /// Events that were acknowledged or shown, from position 1 on.
    pub(crate) log: Vec<Logged>,
    versions: HashMap<String, u64>,
    by_id: HashMap<EventId, (usize, usize)>,
    /// Closed times, each with the last position of then.
    closed: Vec<(Timestamp, u64)>,
    orders: u64,
}

/// A batch that was sent.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) batch: Batch,
    pub(crate) state: State,
    /// The order of the last send.
    order: u64,
}

/// The outcome of a batch, as far as its client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It was not written, or it was lost before it was acknowledged or shown.
    Absent,
    InDoubt,
    Logged(Vec<Placed>),
}

/// An event that must be there.
#[derive(Clone)]
pub(crate) struct Logged {
    pub(crate) bytes: EventBytes,
    version: u64,
    /// The number of its batch.
    pub(crate) sent: usize,
}

impl Logged {
    /// True if `event` is this event, at the same place in its stream.
    pub(crate) fn is(&self, event: &RecordedEvent) -> bool {
        event.version() == Version::new(self.version) && event.as_bytes() == self.bytes.as_bytes()
    }
}

impl Model {
    /// Records that a time is closed: events after that position were recorded later.
    pub(crate) fn closed(&mut self, time: Timestamp, position: u64) {
        self.closed.push((time, position));
    }

    pub(crate) fn forget_closed(&mut self) {
        self.closed.clear();
    }

    /// Checks the first event after each closed time. Recorded times never go back.
    pub(crate) fn check_closed(&self, events: &[RecordedEvent]) -> Result<(), Wrong> {
        let Some(first) = events.first().map(|event| event.position().sequence) else { return Ok(()) };
        for (time, position) in &self.closed {
            let next = (position + 1).checked_sub(first).and_then(|at| events.get(usize::try_from(at).ok()?));
            if let Some(event) = next.filter(|event| event.recorded_at() <= *time) {
                return Err(format!("{event:?} came at or before {time}, which was closed"));
            }
        }
        Ok(())
    }

    pub(crate) fn version(&self, stream: &str) -> Option<u64> {
        self.versions.get(stream).map(|next| next - 1)
    }

    /// The version in a stream of the event with this id, if the log has it.
    fn version_of(&self, stream: &str, id: EventId) -> Option<Version> {
        let (number, at) = *self.by_id.get(&id)?;
        let Sent { batch, state: State::Logged(places), .. } = &self.sent[number] else { return None };
        let is_there = batch.events[at].stream.as_str() == stream;
        is_there.then(|| places[at].version)
    }

    /// Records a batch before it is sent. Returns its number.
    pub(crate) fn send(&mut self, batch: Batch) -> usize {
        let number = self.sent.len();
        for (at, event) in batch.events.iter().enumerate() {
            self.by_id.insert(event.id, (number, at));
        }
        self.sent.push(Sent { batch, state: State::Absent, order: 0 });
        self.send_again(number);
        number
    }

    /// Records that a batch is sent again.
    pub(crate) fn send_again(&mut self, number: usize) {
        self.orders += 1;
        let sent = &mut self.sent[number];
        if sent.state == State::Absent {
            sent.order = self.orders;
        }
    }

    /// The repeat of a batch: with the same ids, or, if it has a command key, with new ids and the same key.
    pub(crate) fn repeat_of(&self, number: usize) -> Batch {
        let mut batch = self.sent[number].batch.clone();
        if batch.command.is_some() {
            for (event, back) in batch.events.iter_mut().zip(0..) {
                event.id = EventId::from_u128(u128::MAX - back);
            }
        }
        batch
    }

    /// A batch that uses the command key of batch `number` for another request, if that batch has a key.
    pub(crate) fn reuse_of(&self, number: usize) -> Option<Batch> {
        let mut batch = self.repeat_of(number);
        let command =
            batch.command.as_mut().filter(|_| matches!(self.sent[number].state, State::Logged(_)))?;
        command.request[0] ^= 1;
        Some(batch)
    }

    /// The number of the last batch that is in doubt.
    pub(crate) fn last_in_doubt(&self) -> Option<usize> {
        self.sent.iter().rposition(|sent| sent.state == State::InDoubt)
    }

    /// Compares an answer with the expected one and records it. After a fault, refusals and doubt are right answers
    /// too.
    pub(crate) fn answered(
        &mut self,
        number: usize,
        answer: &Result<Appended, AppendError>,
        faulty: bool,
    ) -> Result<(), Wrong> {
        let sent = &self.sent[number];
        let wrong =
            |what: &str| Err(format!("batch {number}: {what}: {answer:?}, known as {:?}", sent.state));
        let refusal = self.refusal(&sent.batch);
        match (answer, &sent.state) {
            (Ok(appended), State::Logged(places)) => match appended.repeated && appended.places == *places {
                true => Ok(()),
                false => wrong("a repeat did not get the first answer"),
            },
            // The disk could not be read for the look-up.
            (Err(AppendError::Unavailable { .. }), State::Logged(_)) if faulty => Ok(()),
            (Err(_), State::Logged(_)) => wrong("a repeat was refused"),
            (Ok(appended), _) if appended.repeated => {
                wrong("a batch that was never in the log is called a repeat")
            }
            (Ok(_), _) if refusal.is_some() => wrong("a batch was accepted that had to be refused"),
            (Ok(appended), _) if appended.places != self.next_places(&sent.batch) => {
                wrong(&format!("a batch got other places than {:?}", self.next_places(&sent.batch)))
            }
            (Ok(_), _) => {
                self.log_batch(number);
                Ok(())
            }
            (Err(error @ (AppendError::Conflict { .. } | AppendError::ConditionFailed { .. })), _) => {
                let given = std::mem::discriminant(error);
                match refusal.map(|own| std::mem::discriminant(&own)) == Some(given) {
                    true => Ok(()),
                    false => wrong("a batch was refused for the wrong reason"),
                }
            }
            (Err(AppendError::InDoubt { .. }), _) if faulty => {
                self.sent[number].state = State::InDoubt;
                Ok(())
            }
            (
                Err(
                    AppendError::ReadOnly { .. }
                    | AppendError::StorageFull { .. }
                    | AppendError::Unavailable { .. },
                ),
                _,
            ) if faulty => Ok(()),
            (Err(_), _) => wrong("an append failed without a fault"),
        }
    }

    /// The reason why a batch must be refused, if there is one.
    fn refusal(&self, batch: &Batch) -> Option<AppendError> {
        for (stream, expected) in &batch.expect {
            let actual = self.version(stream.as_str()).map(Version::new);
            let version_of = |id| self.version_of(stream.as_str(), id);
            if !expected.is_met_by(actual, version_of) {
                return Some(AppendError::Conflict { stream: stream.clone(), expected: *expected, actual });
            }
        }
        for (index, condition) in batch.conditions.iter().enumerate() {
            let after = condition.after.as_ref().map_or(0, |after| after.sequence(0));
            let seen = usize::try_from(after).expect("small");
            let found =
                self.log[seen..].iter().rposition(|event| condition.fail_if_any.matches(&event.bytes));
            if let Some(found) = found {
                let at = Position { partition: 0, sequence: after + found as u64 + 1 };
                return Some(AppendError::ConditionFailed { index, at });
            }
        }
        None
    }

    fn next_places(&self, batch: &Batch) -> Vec<Placed> {
        let mut places = Vec::with_capacity(batch.events.len());
        let mut versions = HashMap::new();
        for (event, sequence) in batch.events.iter().zip(self.log.len() as u64 + 1..) {
            let name = event.stream.as_str();
            let next = versions.entry(name).or_insert_with(|| self.versions.get(name).copied().unwrap_or(0));
            places
                .push(Placed { version: Version::new(*next), position: Position { partition: 0, sequence } });
            *next += 1;
        }
        places
    }

    /// Adds a batch to the expected log.
    fn log_batch(&mut self, number: usize) {
        let places = self.next_places(&self.sent[number].batch);
        for (event, place) in self.sent[number].batch.events.iter().zip(&places) {
            self.versions.insert(event.stream.as_str().to_owned(), place.version.get() + 1);
            self.log.push(Logged { bytes: event.to_bytes(), version: place.version.get(), sent: number });
        }
        self.sent[number].state = State::Logged(places);
    }

    /// Accepts events after the known ones: whole batches in doubt, in the order in which they were sent.
    pub(crate) fn take_over(&mut self, found: &[RecordedEvent]) -> Result<(), Wrong> {
        let (mut rest, mut last_order) = (found, 0);
        while let Some(first) = rest.first() {
            let Some(&(number, at)) = self.by_id.get(&first.id()) else {
                return Err(format!("{first:?} was never sent"));
            };
            let sent = &self.sent[number];
            if at != 0 || sent.state != State::InDoubt || sent.order <= last_order {
                return Err(format!(
                    "{first:?}, event {at} of batch {number}, known as {:?}, is there",
                    sent.state
                ));
            }
            last_order = sent.order;
            let (before, count) = (self.log.len(), sent.batch.events.len());
            self.log_batch(number);
            let own = &self.log[before..];
            let whole = rest.len() >= count && own.iter().zip(rest).all(|(own, event)| own.is(event));
            if !whole {
                return Err(format!("batch {number} is incomplete or changed"));
            }
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Marks batches in doubt that were not found as absent.
    pub(crate) fn settle_doubt(&mut self) {
        for sent in self.sent.iter_mut().filter(|sent| sent.state == State::InDoubt) {
            sent.state = State::Absent;
        }
    }
}
