//! The writer: one group after the other, each decided and committed on one connection.

use std::sync::Arc;

use gesta_core::{AppendError, Appended, Checkpoint, Repeat, Timestamp};
use tokio::time::Instant;

use super::facts::Known;
use super::group::{Outcome, Rows, Rules, decide};
use super::insert::{confirm, insert};
use super::look_up::{Found, Questions};
use super::queue::Queue;
use super::search::{search, search_again};
use super::ticket::{Answer, Ticket};
use crate::fault::{Fault, NotWritten};
use crate::limits::{RETRY_PAUSE, STEP_TIME};
use crate::pool::Pool;
use crate::session::{Last, Session, State, within};
use crate::shared::Shared;

/// The writer of one store.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    queue: Arc<Queue>,
    session: Option<Session>,
    /// True if a connection was lost since the last one was made.
    has_lost: bool,
    /// True if a commit may not have waited for its standby, as one of a process before: nothing is answered before a later one did.
    is_unconfirmed: bool,
    /// Why nothing is written any more.
    stopped: Option<String>,
}

impl Writer {
    pub(crate) const fn new(shared: Arc<Shared>, pool: Arc<Pool>, queue: Arc<Queue>) -> Self {
        Self { shared, pool, queue, session: None, has_lost: false, is_unconfirmed: true, stopped: None }
    }

    /// Writes groups until the task is ended.
    pub(crate) async fn run(mut self) {
        loop {
            let group = self.queue.next().await;
            self.settle(group).await;
        }
    }

    /// Decides and writes a group, again and again until it has an answer or its time is over.
    async fn settle(&mut self, group: Vec<Ticket>) {
        let mut group = answer_unsearched(group);
        let mut deadline = oldest(&group) + self.shared.options.settle_time;
        let (mut has_doubt, mut newer_than) = (false, 0);
        loop {
            // Nobody waits for an answer to the others.
            group.retain(|ticket| !ticket.reply.is_closed());
            if group.is_empty() {
                return;
            }
            let attempted = match self.session().await {
                Ok(session) => {
                    self.search_again(&mut group, newer_than, deadline).await;
                    self.attempt(session, &mut group).await
                }
                Err(fault) => Err(fault.into()),
            };
            let NotWritten { fault, is_in_doubt } = match attempted {
                Ok(Attempt::Answered(answers)) => {
                    group.into_iter().zip(answers).for_each(|(ticket, answer)| reply(ticket, answer));
                    return;
                }
                Ok(Attempt::Outdated(after)) => {
                    newer_than = after;
                    if Instant::now() >= deadline {
                        group = self.give_up_outdated(group, newer_than);
                    }
                    continue;
                }
                Err(failed) => failed,
            };
            tracing::debug!("a group of {} was not written: {fault:?}, in doubt: {is_in_doubt}", group.len());
            // The time to settle a doubt begins with it.
            if is_in_doubt && !has_doubt {
                has_doubt = true;
                deadline = deadline.max(Instant::now() + self.shared.options.settle_time);
            }
            self.leave(&fault);
            let may_pass = matches!(fault, Fault::Lost(_) | Fault::Busy(_));
            if !may_pass || Instant::now() >= deadline {
                return give_up(group, &fault);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Ends what a fault makes useless.
    fn leave(&mut self, fault: &Fault) {
        if let Fault::Broken(reason) = fault {
            let reason =
                format!("the database refused rows that had been decided, a bug of this program: {reason}");
            tracing::error!("{reason}");
            self.stopped = Some(reason);
        }
        // After any failure the transaction may be open: a new connection has none.
        self.session = None;
        self.has_lost = true;
    }

    /// One attempt. If it fails, the tickets note if their batches may have been written.
    async fn attempt(&mut self, session: Session, group: &mut [Ticket]) -> Result<Attempt, NotWritten> {
        let questions = Questions::of(group, &self.shared);
        let asked = questions.ask(&session, &self.shared);
        let found = within(STEP_TIME, "taking the lock", asked).await?;
        let Found { state, timeline, is_copying, now, newer_than, mut known } = found;
        if is_copying && group.iter().any(|ticket| ticket.recorded.is_none()) {
            roll_back(&session).await?;
            self.session = Some(session);
            return Ok(Attempt::Answered(group.iter().map(refused_by_copy).collect()));
        }
        if group.iter().any(|ticket| self.is_outdated(ticket, newer_than)) {
            roll_back(&session).await?;
            self.session = Some(session);
            return Ok(Attempt::Outdated(newer_than));
        }
        self.add_remembered_marks(group, &mut known);
        let (outcomes, rows) = self.decide(group, &mut known, now);
        let written = self.write(&session, &rows, (state, timeline)).await;
        if let Err(failed) = &written {
            note_doubts(group, &outcomes, failed.is_in_doubt);
        }
        written?;
        self.session = Some(session);
        self.shared.remember(known.marks);
        Ok(Attempt::Answered(outcomes.into_iter().map(|outcome| self.answer(outcome)).collect()))
    }

    /// Writes what was accepted, if anything was.
    async fn write(
        &mut self,
        session: &Session,
        rows: &Rows,
        (state, timeline): (State, i64),
    ) -> Result<(), NotWritten> {
        if rows.events.positions.is_empty() {
            if !self.is_unconfirmed {
                return Ok(roll_back(session).await?);
            }
            let confirmed = tokio::time::timeout(STEP_TIME, confirm(session)).await;
            return self.note(confirmed);
        }
        // A store that was moved to another server may have a lower one there.
        let new_timeline = (timeline > state.timeline).then_some(timeline);
        let inserted = insert(session, rows, new_timeline, &self.shared.target.channel);
        let inserted = tokio::time::timeout(STEP_TIME, inserted).await;
        self.note(inserted)?;
        if let (Some(position), Some(event), Some(recorded_at)) =
            (rows.events.positions.last(), rows.events.records.last(), rows.events.recorded_at.last())
        {
            let recorded_at = Timestamp::from_nanos(*recorded_at);
            let last = Last { position: position.cast_unsigned(), id: event.id(), recorded_at };
            let timeline = timeline.max(state.timeline);
            let observed = self.shared.observe(&State { timeline, head: Some(last) });
            // A server that was replaced meanwhile took the commit.
            observed.map_err(|fault| NotWritten { fault, is_in_doubt: true })?;
        }
        Ok(())
    }

    /// Notes if a commit waited for its standby.
    fn note(
        &mut self,
        committed: Result<Result<(), NotWritten>, tokio::time::error::Elapsed>,
    ) -> Result<(), NotWritten> {
        let committed = committed
            .unwrap_or_else(|_| Err(NotWritten { fault: Fault::timeout("a commit"), is_in_doubt: true }));
        match &committed {
            Ok(()) => self.is_unconfirmed = false,
            // Also after a lost connection: the commit may have been cut short while it waited.
            Err(failed) => self.is_unconfirmed |= failed.is_in_doubt,
        }
        committed
    }

    fn decide(&self, group: &[Ticket], known: &mut Known, now: Timestamp) -> (Vec<Outcome>, Rows) {
        let now = || self.shared.options.clock.as_ref().map_or(now, |clock| clock());
        decide(group, known, &Rules { now: &now, read_only: self.stopped.as_deref() })
    }

    /// Marks of the places of conditions that were not asked for, because they are remembered.
    fn add_remembered_marks(&self, group: &[Ticket], known: &mut Known) {
        let conditions = group.iter().flat_map(|ticket| &ticket.batch.conditions);
        for after in conditions.filter_map(|condition| condition.after.as_ref()) {
            let sequence = after.sequence(0);
            if let Some(mark) = self.shared.mark(sequence) {
                known.marks.entry(sequence).or_insert(mark);
            }
        }
    }

    /// The connection, made anew if it was lost.
    async fn session(&mut self) -> Result<Session, Fault> {
        if let Some(session) = self.session.take() {
            if !session.is_closed() {
                return Ok(session);
            }
            // It was lost while nothing was written.
            self.has_lost = true;
        }
        let session = Session::connect(&self.shared.target, None).await?;
        if self.has_lost {
            self.shared.start_over(&within(STEP_TIME, "a look at the head", session.state()).await?)?;
            self.has_lost = false;
            // A commit of before may have been cut short while it waited for its standby.
            self.is_unconfirmed = true;
        }
        Ok(session)
    }

    /// True if conditions were searched in another era of the history, or not up to a position.
    fn is_outdated(&self, ticket: &Ticket, position: u64) -> bool {
        let era = self.shared.known().era;
        ticket.searched().is_some_and(|searched| !searched.reaches(era, position))
    }

    /// Searches outdated conditions again.
    async fn search_again(&self, group: &mut [Ticket], position: u64, deadline: Instant) {
        let (shared, pool) = (&*self.shared, &*self.pool);
        let outdated = group.iter_mut().filter(|ticket| self.is_outdated(ticket, position)).collect();
        let again = |ticket: &Ticket| {
            let (conditions, earlier) = (ticket.batch.conditions.clone(), ticket.searched().cloned());
            async move { search(shared, pool, &conditions, earlier).await }
        };
        search_again(outdated, deadline, again).await;
    }

    /// Answers batches whose searches were not brought up to date in time, and returns the others.
    fn give_up_outdated(&self, group: Vec<Ticket>, position: u64) -> Vec<Ticket> {
        let (outdated, current) =
            group.into_iter().partition::<Vec<_>, _>(|ticket| self.is_outdated(ticket, position));
        let reason = "events were appended faster than the conditions of the batch were searched";
        for mut ticket in outdated {
            let error = match (ticket.is_in_doubt, ticket.search_error.take()) {
                (false, Some(error)) => error,
                (false, None) => AppendError::Unavailable { reason: reason.to_owned() },
                (true, _) => AppendError::InDoubt { reason: reason.to_owned() },
            };
            reply(ticket, Err(error));
        }
        current
    }

    fn answer(&self, outcome: Outcome) -> Answer {
        let appended = |repeat: Repeat, repeated| Appended {
            checkpoint: self.place_of(repeat.end),
            places: repeat.places,
            repeated,
        };
        match outcome {
            Outcome::Accepted(repeat) => Ok(appended(repeat, false)),
            Outcome::Repeated(repeat) => Ok(appended(repeat, true)),
            Outcome::Refused(error) => Err(error),
        }
    }

    fn place_of(&self, end: u64) -> Checkpoint {
        match self.shared.mark(end) {
            Some(mark) => self.shared.marked(end, mark),
            None => self.shared.start().with(0, end),
        }
    }
}

impl Drop for Writer {
    /// Also after a panic: batches that wait would wait for ever.
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The outcome of an attempt.
enum Attempt {
    /// The answers, which are true and durable.
    Answered(Vec<Answer>),
    /// Nothing is decided: conditions must be searched again, at least up to this position.
    Outdated(u64),
}

/// When the first batch of a group began to wait. The time of one with conditions begins now: its search may have taken long.
fn oldest(group: &[Ticket]) -> Instant {
    let without_search = group.iter().filter(|ticket| ticket.search.is_none());
    without_search.map(|ticket| ticket.since).min().unwrap_or_else(Instant::now)
}

/// The answer to a batch while another store is copied into this one.
fn refused_by_copy(ticket: &Ticket) -> Answer {
    let reason =
        "`gesta copy` is copying another store into it: stop this program until that is done".to_owned();
    Err(match ticket.is_in_doubt {
        true => AppendError::InDoubt { reason },
        false => AppendError::ReadOnly { reason },
    })
}

/// Ends a transaction that wrote nothing.
async fn roll_back(session: &Session) -> Result<(), Fault> {
    let rolled_back = async { Ok(session.client().batch_execute("rollback").await?) };
    within(STEP_TIME, "a rollback", rolled_back).await
}

/// Notes which batches of a group that has failed may be in the log: those that it wrote, if that is in doubt, and those that were
/// written before, which nothing has confirmed.
fn note_doubts(group: &mut [Ticket], outcomes: &[Outcome], is_in_doubt: bool) {
    for (ticket, outcome) in group.iter_mut().zip(outcomes) {
        ticket.is_in_doubt |= match outcome {
            Outcome::Accepted(_) => is_in_doubt,
            Outcome::Repeated(_) => true,
            Outcome::Refused(_) => false,
        };
    }
}

fn reply(ticket: Ticket, answer: Answer) {
    // The caller may be gone.
    let _ = ticket.reply.send(answer);
}

/// Answers batches whose search has failed, and returns the others.
fn answer_unsearched(group: Vec<Ticket>) -> Vec<Ticket> {
    let mut searched = Vec::with_capacity(group.len());
    for ticket in group {
        match ticket.search_failure().cloned() {
            Some(error) => reply(ticket, Err(error)),
            None => searched.push(ticket),
        }
    }
    searched
}

/// Answers batches that have no answer in time.
fn give_up(group: Vec<Ticket>, fault: &Fault) {
    for ticket in group {
        let error = match ticket.is_in_doubt {
            true => AppendError::InDoubt { reason: fault.clone().into_reason() },
            false => fault.clone().into(),
        };
        reply(ticket, Err(error));
    }
}
