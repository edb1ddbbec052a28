//! The puts of a group's row: when, and what becomes of those that fail or are in doubt.
//!
//! One put is on its way at a time. Each attempt has a number of its own that is never used again. So a get after a put in doubt shows
//! whether that attempt was written, and an attempt that arrives late is not taken for a later one.

use std::time::Duration;

use gesta_core::{Entry, KeyValueError, Revision};

use super::deadlines::Due;
use super::live::Live;
use super::message::{Ended, Output};
use super::places::Places;
use super::row::Row;
use crate::back_off::pause_after;
use crate::bugs::{Bug, planted};
use crate::group::error::{ChangeError, PutError};
use crate::group::limits::{PUT_LATE, PUT_PAUSE, SCANNED_PAUSE};

/// The durable progress of a group, and the way there.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) epoch: u64,
    /// The number of the last attempt to put.
    pub(super) attempts: u64,
    pub(super) revision: Revision,
    operation: Option<Operation>,
    /// Events acknowledged since the last put.
    acknowledged: u32,
    /// The time at which the first change since the last put is to be put.
    due: Option<Duration>,
    /// The same for the put on its way.
    due_on_way: Option<Duration>,
    /// The number of changes of the query, and of those that are durable.
    selections: u64,
    selections_durable: u64,
    /// The changes of the query in the put on its way.
    selections_on_way: u64,
    /// Answers that wait for the next put.
    answers: Vec<Output>,
    /// Answers that wait for the put on its way.
    answers_on_way: Vec<Output>,
    put_at: Duration,
    retry_at: Option<Duration>,
    failures: u32,
    /// The places of the last attempt, or of the row that this dealer began with.
    pub(super) last_places: Option<Places>,
    /// The deadline that is set.
    deadline: Option<Duration>,
    /// The operation after which nothing follows.
    last: Option<Last>,
    /// True if the put on its way is the last one.
    is_last_on_way: bool,
    pub(super) puts: u64,
    pub(super) puts_time: Duration,
}

/// An operation on the row that was not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Put {
        started: Duration,
    },
    /// A look at the row after a put in doubt, or after one that was refused.
    Check,
    Delete,
    CheckDelete,
}

/// The last operation of a dealer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Stop,
    Remove,
}

impl Progress {
    /// Starts after the put that took the group over.
    pub(super) fn new(row: &Row, revision: Revision, now: Duration) -> Self {
        Self {
            epoch: row.epoch,
            attempts: row.put,
            revision,
            operation: None,
            acknowledged: 0,
            due: None,
            due_on_way: None,
            selections: 0,
            selections_durable: 0,
            selections_on_way: 0,
            answers: Vec::new(),
            answers_on_way: Vec::new(),
            put_at: now,
            retry_at: None,
            failures: 0,
            last_places: Some(Places::of(row)),
            deadline: None,
            last: None,
            is_last_on_way: false,
            puts: 0,
            puts_time: Duration::ZERO,
        }
    }

    /// Notes events that were handled.
    pub(super) fn acknowledged(&mut self, events: usize, now: Duration) {
        self.acknowledged = self.acknowledged.saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
        self.changed(now);
    }

    /// Notes a change that is put soon.
    pub(super) fn changed(&mut self, now: Duration) {
        self.due_by(now + PUT_PAUSE);
    }

    /// Notes a change that is put at once.
    pub(super) fn change_at_once(&mut self, now: Duration) {
        self.due_by(now);
    }

    /// Notes that the query changes. Until that is durable nothing is dealt, since another dealer would know nothing of it.
    pub(super) fn change_selection(&mut self, now: Duration) {
        self.selections += 1;
        self.change_at_once(now);
    }

    /// Returns true if the query is that of a durable row.
    pub(super) const fn is_selection_durable(&self) -> bool {
        self.selections == self.selections_durable
    }

    fn due_by(&mut self, at: Duration) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Gives an answer once everything up to now is durable.
    pub(super) fn answer_after_put(&mut self, answer: Output, now: Duration) {
        self.answers.push(answer);
        self.change_at_once(now);
    }

    /// Returns true if a change could not be put for so long that nothing may be dealt.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        !planted(Bug::LateDeals) && self.first_due().is_some_and(|due| now > due + PUT_LATE)
    }

    fn first_due(&self) -> Option<Duration> {
        [self.due_on_way, self.due].into_iter().flatten().min()
    }

    /// Returns true if the dealer is to end: it deals no more.
    pub(super) const fn is_ending(&self) -> bool {
        self.last.is_some()
    }

    /// Returns true if no operation on the row is on its way.
    pub(super) const fn is_free(&self) -> bool {
        self.operation.is_none()
    }

    /// Takes the answers that wait, since no put of this dealer follows.
    pub(super) fn take_answers(&mut self) -> Vec<Output> {
        let mut answers = std::mem::take(&mut self.answers_on_way);
        answers.append(&mut self.answers);
        answers
    }
}

impl Live {
    /// Puts the row if a change is due.
    pub(super) fn put_if_due(&mut self) {
        if self.progress.is_late(self.now) {
            let answers = self.progress.take_answers();
            self.out.extend(answers.into_iter().map(in_doubt));
        }
        let is_paused = self.progress.retry_at.is_some_and(|at| at > self.now);
        if self.progress.operation.is_none() && !is_paused {
            self.progress.retry_at = None;
            match self.progress.last {
                Some(Last::Remove) => self.delete_row(),
                Some(Last::Stop) => self.put_row(),
                None if self.is_put_due() => self.put_row(),
                None => {}
            }
        }
        self.set_put_deadline();
    }

    fn is_put_due(&self) -> bool {
        let progress = &self.progress;
        progress.due.is_some_and(|due| due <= self.now)
            || progress.acknowledged >= self.bounds.acknowledged_max
            || (self.has_scanned() && self.now >= progress.put_at + SCANNED_PAUSE)
    }

    fn has_scanned(&self) -> bool {
        self.progress.last_places.as_ref().is_none_or(|last| !last.is_at(self.scan.horizon()))
    }

    fn put_row(&mut self) {
        self.progress.attempts += 1;
        let mut row = self.row(self.progress.attempts);
        let progress = &mut self.progress;
        progress.is_last_on_way = progress.last == Some(Last::Stop);
        row.is_running = !progress.is_last_on_way;
        progress.operation = Some(Operation::Put { started: self.now });
        progress.acknowledged = 0;
        progress.due_on_way = progress.due.take();
        progress.selections_on_way = progress.selections;
        progress.answers_on_way = std::mem::take(&mut progress.answers);
        progress.put_at = self.now;
        self.out.push(Output::Put { value: row.encode(), expect: progress.revision });
    }

    fn delete_row(&mut self) {
        self.progress.operation = Some(Operation::Delete);
        self.out.push(Output::Delete { expect: self.progress.revision });
    }

    /// Takes the answer to a put.
    pub(super) fn put_done(&mut self, result: Result<Revision, KeyValueError>) -> Option<Ended> {
        let Some(Operation::Put { started }) = self.progress.operation else { return None };
        self.progress.puts_time += self.now.saturating_sub(started);
        match result {
            Ok(revision) => return self.is_durable(revision),
            Err(KeyValueError::Changed { .. } | KeyValueError::InDoubt { .. }) => {
                self.progress.operation = Some(Operation::Check);
                self.out.push(Output::Get);
            }
            Err(_) => {
                self.not_written();
                self.pause_puts();
            }
        }
        None
    }

    /// Takes a look at the row.
    pub(super) fn got(&mut self, result: Result<Option<Entry>, KeyValueError>) -> Option<Ended> {
        let is_delete = match self.progress.operation {
            Some(Operation::Check) => false,
            Some(Operation::CheckDelete) => true,
            _ => return None,
        };
        let row = match &result {
            Ok(None) => return Some(Ended::Removed),
            Ok(Some(entry)) => Row::decode(&entry.value).ok(),
            Err(_) => None,
        };
        let (Some(row), Ok(Some(entry))) = (row, result) else {
            // The row cannot be read now: look again after a pause.
            self.pause_puts();
            return None;
        };
        if row.epoch != self.progress.epoch && !planted(Bug::Unfenced) {
            return Some(Ended::TakenOver);
        }
        if !is_delete && row.put != self.progress.attempts && planted(Bug::LatePutEnds) {
            return Some(Ended::TakenOver);
        }
        if !is_delete && row.put == self.progress.attempts {
            return self.is_durable(entry.revision);
        }
        self.progress.revision = entry.revision;
        self.not_written();
        None
    }

    /// Takes the answer to a delete.
    pub(super) fn deleted(&mut self, result: Result<(), KeyValueError>) -> Option<Ended> {
        if self.progress.operation != Some(Operation::Delete) {
            return None;
        }
        match result {
            Ok(()) => return Some(Ended::Removed),
            Err(KeyValueError::Changed { .. } | KeyValueError::InDoubt { .. }) => {
                self.progress.operation = Some(Operation::CheckDelete);
                self.out.push(Output::Get);
            }
            Err(_) => {
                self.progress.operation = None;
                self.pause_puts();
            }
        }
        None
    }

    /// Ends the dealer with a last put, or by removing the row.
    pub(super) fn end(&mut self, removes: bool) {
        self.progress.last = Some(if removes { Last::Remove } else { Last::Stop });
    }

    fn is_durable(&mut self, revision: Revision) -> Option<Ended> {
        let progress = &mut self.progress;
        progress.operation = None;
        progress.revision = revision;
        progress.failures = 0;
        progress.due_on_way = None;
        progress.puts += 1;
        progress.selections_durable = progress.selections_on_way;
        let put = progress.attempts;
        self.out.append(&mut progress.answers_on_way);
        let is_last = progress.is_last_on_way;
        self.come_back(put);
        is_last.then_some(Ended::Stopped)
    }

    /// Everything of the last attempt has to be put again.
    fn not_written(&mut self) {
        let progress = &mut self.progress;
        progress.operation = None;
        progress.attempts -= u64::from(planted(Bug::SameNumber));
        if let Some(due) = progress.due_on_way.take() {
            progress.due_by(due);
        }
        progress.due_by(self.now);
        let mut answers = std::mem::take(&mut progress.answers_on_way);
        answers.append(&mut progress.answers);
        progress.answers = answers;
    }

    fn pause_puts(&mut self) {
        self.progress.failures += 1;
        self.progress.retry_at = Some(self.now + pause_after(self.progress.failures));
    }

    /// Does what a deadline of the puts is for.
    pub(super) fn put_is_due(&mut self) {
        self.progress.deadline = None;
        let is_over = self.progress.retry_at.is_some_and(|at| at <= self.now);
        if is_over && matches!(self.progress.operation, Some(Operation::Check | Operation::CheckDelete)) {
            self.progress.retry_at = None;
            self.out.push(Output::Get);
        }
    }

    fn set_put_deadline(&mut self) {
        let progress = &self.progress;
        let late = progress.first_due().map(|due| due + PUT_LATE + Duration::from_nanos(1));
        let late = late.filter(|late| *late > self.now);
        let scanned = self.has_scanned().then(|| progress.put_at + SCANNED_PAUSE);
        let put = match (progress.retry_at, progress.operation) {
            (Some(retry), _) => Some(retry),
            (None, Some(_)) => None,
            (None, None) => progress.due.into_iter().chain(scanned).min(),
        };
        let deadline = put.into_iter().chain(late).min();
        if deadline != self.progress.deadline {
            if let Some(earlier) = self.progress.deadline {
                self.deadlines.remove(earlier, Due::Put);
            }
            if let Some(deadline) = deadline {
                self.deadlines.add(deadline, Due::Put);
            }
            self.progress.deadline = deadline;
        }
    }
}

/// The answer to an operator whose change could not be put in time.
pub(super) fn in_doubt(answer: Output) -> Output {
    let reason = "the group's row could not be put in time".to_owned();
    match answer {
        Output::Changed(call, _) => Output::Changed(call, Err(ChangeError::InDoubt { reason })),
        Output::SettingsPut(call, _) => Output::SettingsPut(call, Err(PutError::InDoubt { reason })),
        other => other,
    }
}
