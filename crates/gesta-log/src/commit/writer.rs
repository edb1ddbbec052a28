//! The single writer: takes what waits, decides it, writes and syncs it as one group, publishes, answers.
//!
//! *Invariants*
//! - Nothing is acknowledged or published before its sync returned.
//! - After a write or sync that failed, nothing is written ever again: what was written is in doubt, what follows is refused.
//! - The first write to a segment is issued after the last sync of the one before.

use std::sync::Arc;

use gesta_core::{AppendError, Appended, Checkpoint, Placed, Position, Version};

use super::decide::{Known, Refused, Repeat, Scope, check, repeat_of};
use super::prior::Prior;
use super::queue::{Answer, Queue, Ticket};
use super::tail::{ActiveSegment, Tail};
use super::write::write_group;
use crate::bugs::{Bug, planted};
use crate::format::{FrameKind, Prepared, StartBody, write_mark};
use crate::index::{FrameName, IndexedEvent, State, Table};
use crate::indexer::Indexer;
use crate::keeper::{Keeper, SealTask, Spare};
use crate::limits::START_BYTES;
use crate::recover::Ended;
use crate::shared::Shared;

/// The writer's own state. Whoever holds it writes: see [`Role`](super::Role).
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    keeper: Arc<Keeper>,
    indexer: Arc<Indexer>,
    /// The table that grows.
    table: Arc<Table>,
    /// Bytes of frames that it knows.
    table_log_bytes: u64,
    tail: Tail,
    active: ActiveSegment,
    /// What START says of the segment before, until the active one has its START.
    start: Option<StartBody>,
    group: Group,
    poison: Option<String>,
}

/// Frames that are sealed and not yet written, and who waits for them.
#[derive(Default)]
struct Group {
    /// The segment's START, when this group is its first.
    start: Vec<u8>,
    frames: Vec<Prepared>,
    bytes: usize,
    /// Answers that wait for the group's sync, those to accepted batches and those that only speak of them.
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        keeper: Arc<Keeper>,
        indexer: Arc<Indexer>,
        tail: Tail,
        active: ActiveSegment,
        start: Option<StartBody>,
    ) -> Self {
        let table = Arc::clone(shared.index.view().active());
        let (group, poison, table_log_bytes) = (Group::default(), None, 0);
        Self { shared, queue, keeper, indexer, table, table_log_bytes, tail, active, start, group, poison }
    }

    /// Decides and commits what waits, up to a group of it.
    pub(crate) fn commit_waiting(&mut self) {
        let tickets = self.queue.take_group();
        tickets.into_iter().for_each(|ticket| self.take(ticket));
        self.commit();
        self.queue.note_group(self.is_uncovered());
    }

    /// Covers what is uncovered: nothing is going on, or nothing more will come.
    pub(crate) fn rest(&mut self) {
        if self.is_uncovered() {
            self.write_idle();
        }
        self.queue.note_group(self.is_uncovered());
    }

    fn is_uncovered(&self) -> bool {
        self.tail.covered < self.tail.last_with_events && self.poison.is_none()
    }

    /// Decides a batch; accepted, it joins the group.
    fn take(&mut self, ticket: Ticket) {
        if self.poison.is_none()
            && let Some(reason) = self.keeper.failure()
        {
            // What is gathered is not concerned: its segment is the next one.
            self.commit();
            self.poison(reason);
        }
        match self.decide(&ticket) {
            Ok(None) => self.accept(ticket),
            Ok(Some(repeat)) => self.answer_repeat(ticket.reply, repeat),
            Err(Refused { error, speaks_of }) => self.answer(ticket.reply, Err(error), speaks_of),
        }
    }

    /// Whether a batch is new and may be accepted, with room for it; or what was recorded before.
    fn decide(&mut self, ticket: &Ticket) -> Result<Option<Repeat>, Refused> {
        let tables = self.tables_behind(&ticket.prior);
        let found = repeat_of(&Known::new(&ticket.prior, &tables), &ticket.batch, &self.scope())?;
        if found.is_some() {
            return Ok(found);
        }
        self.make_room(ticket.prepared.len())?;
        // Making room may have begun another table.
        let tables = self.tables_behind(&ticket.prior);
        check(&Known::new(&ticket.prior, &tables), &ticket.batch, &self.scope())?;
        Ok(None)
    }

    /// The tables behind what was looked up for a batch: those of the view that it was looked up in, and all that were begun since.
    fn tables_behind(&self, prior: &Prior) -> Vec<Arc<Table>> {
        if planted(Bug::NewestTableAlone) {
            return vec![Arc::clone(&self.table)];
        }
        if planted(Bug::NewestViewDecides) {
            return self.shared.index.view().newest();
        }
        prior.view.newest()
    }

    fn scope(&self) -> Scope {
        Scope { store: self.shared.id, partition: 0, durable: self.shared.published.position() }
    }

    /// Whether the log takes writes at all, and has room for a frame of that length, in this segment or the next.
    fn make_room(&mut self, length: usize) -> Result<(), Refused> {
        let refused = |error| Refused { error, speaks_of: 0 };
        self.check_writable().map_err(refused)?;
        self.make_room_in_memory().map_err(refused)?;
        let start = if self.start.is_some() { START_BYTES } else { 0 };
        if self.active.fits(self.group.bytes + start, length) {
            return Ok(());
        }
        // No group crosses segments: what is gathered is written and synced first.
        self.commit_gathered().map_err(refused)?;
        self.roll(length).map_err(refused)
    }

    fn check_writable(&self) -> Result<(), AppendError> {
        match &self.poison {
            Some(reason) => Err(AppendError::ReadOnly { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Commits what is gathered, in the middle of deciding a batch: if that fails, the batch is refused.
    fn commit_gathered(&mut self) -> Result<(), AppendError> {
        self.commit();
        self.check_writable()
    }

    /// Waits where the tables outgrow what may be in memory, until one of them is on the disk.
    fn make_room_in_memory(&mut self) -> Result<(), AppendError> {
        if !self.indexer.limits().is_overfull(self.table.read().bytes()) {
            return Ok(());
        }
        self.commit_gathered()?;
        self.indexer.wait_for_room().map_err(|reason| AppendError::Unavailable { reason })?;
        self.end_full_table();
        Ok(())
    }

    /// Ends the table that grows, if it is full, and has it written to the disk. All of it is durable.
    fn end_full_table(&mut self) {
        let (bytes, count) = {
            let state = self.table.read();
            (state.bytes(), state.len())
        };
        let is_full = self.indexer.limits().is_full(bytes, self.table_log_bytes);
        // A run names the last frame of the segment that it ends in: one without a frame has none to name.
        if !is_full || count == 0 || self.active.last_frame == 0 {
            return;
        }
        if self.poison.is_some() || !self.indexer.has_room() {
            return;
        }
        let next = Table::after(&self.table.read());
        next.write().begin_segment(Arc::clone(&self.active.segment));
        self.table.end_with(Arc::clone(&next));
        self.shared.index.change(|view| view.tables.push(Arc::clone(&next)));
        let ended = std::mem::replace(&mut self.table, next);
        self.table_log_bytes = 0;
        self.indexer.write_run(Ended { table: ended, end: self.active.point(&self.tail) });
    }

    /// Goes on in the next segment, which has room for a frame of that length. In memory: the keeper seals the old one.
    fn roll(&mut self, length: usize) -> Result<(), AppendError> {
        let spare = self.keeper.take_spare(self.active.size_bytes, length).map_err(|error| {
            if error.kind() == std::io::ErrorKind::StorageFull {
                return AppendError::StorageFull;
            }
            AppendError::Unavailable { reason: format!("the next segment could not be made: {error}") }
        })?;
        match &mut self.start {
            // Nothing was written to it: it stays unused, and is no part of the log.
            Some(start) => start.manifest_generation = spare.generation,
            None => self.seal_active(&spare),
        }
        self.active = ActiveSegment::fresh(spare.segment, spare.size_bytes, &self.tail);
        self.table.write().begin_segment(Arc::clone(&self.active.segment));
        Ok(())
    }

    /// Has the active segment ended, and remembers what the START of the next one says of it.
    fn seal_active(&mut self, spare: &Spare) {
        let (end, sealed) = self.active.sealed();
        let mut seal = self.tail.mark_seal(&self.active.segment, self.active.offset);
        seal.durable += u64::from(planted(Bug::SealBeyondDurable));
        self.start = Some(self.keeper.start_body(self.active.segment.id, &sealed, spare.generation));
        self.keeper.seal(SealTask {
            segment: Arc::clone(&self.active.segment),
            successor: spare.segment.id,
            end,
            sealed,
            seal,
            durable_position: self.tail.position,
        });
    }

    /// Gives a batch its place: into the index, and sealed into the group.
    fn accept(&mut self, mut ticket: Ticket) {
        self.begin_segment();
        if planted(Bug::PublishBeforeIndex) {
            self.shared.published.publish(self.tail.position + ticket.batch.events.len() as u64);
        }
        let now = self.shared.now().as_nanos();
        let recorded_at = if planted(Bug::ClockGoesBack) { now } else { now.max(self.tail.recorded_at) };
        let offset = self.active.offset + self.group.bytes as u64;
        let first = self.tail.position + 1;
        let versions = insert(&mut self.table.write(), &ticket, offset, recorded_at);
        let seal = self.tail.next_seal(&self.active.segment, offset, recorded_at);
        let header = ticket.prepared.seal(&seal, versions.iter().copied());
        self.table.write().begin_frame(FrameName { number: seal.number, checksum: header });
        let events = versions.len() as u64;
        self.active.count(offset, header, events, recorded_at);
        self.tail.number += 1;
        self.tail.checksum = header;
        self.tail.position += events;
        self.tail.recorded_at = recorded_at;
        self.tail.last_with_events = self.tail.number;

        let place = |(version, sequence)| Placed {
            version: Version::new(version),
            position: Position { partition: 0, sequence },
        };
        let places = versions.into_iter().zip(first..).map(place).collect();
        let checkpoint = Checkpoint::new(self.shared.id, [self.tail.position]);
        self.group.bytes += ticket.prepared.len();
        self.group.frames.push(ticket.prepared);
        self.group.answers.push((ticket.reply, Ok(Appended { places, checkpoint, repeated: false })));
    }

    /// Seals the segment's START into the group, if it has none yet.
    fn begin_segment(&mut self) {
        let Some(start) = self.start.take() else { return };
        assert!(self.group.frames.is_empty() && self.group.start.is_empty(), "START is the first frame");
        let seal = self.tail.mark_seal(&self.active.segment, self.active.offset);
        let header = write_mark(&mut self.group.start, FrameKind::Start, &seal, &start.encode());
        self.active.headers.add(header);
        self.group.bytes += self.group.start.len();
    }

    fn answer_repeat(&mut self, reply: oneshot::Sender<Answer>, repeat: Repeat) {
        let checkpoint = Checkpoint::new(self.shared.id, [repeat.end]);
        let appended = Appended { places: repeat.places, checkpoint, repeated: true };
        self.answer(reply, Ok(appended), repeat.end);
    }

    /// Answers at once, or, where the answer speaks of events that are not durable yet, with the group.
    fn answer(&mut self, reply: oneshot::Sender<Answer>, answer: Answer, speaks_of: u64) {
        if speaks_of <= self.shared.published.position() {
            deliver(reply, answer);
        } else {
            self.group.answers.push((reply, answer));
        }
    }

    /// Writes and syncs the group, publishes it, and answers everybody in it.
    fn commit(&mut self) {
        let group = std::mem::take(&mut self.group);
        if group.frames.is_empty() {
            assert!(group.answers.is_empty(), "answers wait only for frames");
            return;
        }
        let pieces = std::iter::once(&group.start[..]).chain(group.frames.iter().map(Prepared::bytes));
        let pieces = pieces.filter(|piece| !piece.is_empty()).collect::<Vec<_>>();
        self.misstep_before_write();
        let is_last = !self.active.fits(group.bytes, 8 << 10);
        let file = &self.active.segment.file;
        if let Err(error) = write_group(&**file, &pieces, self.active.offset, self.active.size_bytes, is_last)
        {
            return self.fail(group.answers, &error);
        }
        self.active.offset += group.bytes as u64;
        self.table_log_bytes += group.bytes as u64;
        self.tail.covered = self.tail.durable;
        self.tail.durable = self.tail.number;
        self.shared.published.publish(self.tail.position);
        group.answers.into_iter().for_each(|(reply, answer)| deliver(reply, answer));
        self.end_full_table();
        if self.active.is_half_full() {
            self.keeper.prepare_spare(self.active.size_bytes);
        }
    }

    /// What only a bug that is planted does before a group is durable.
    fn misstep_before_write(&mut self) {
        if planted(Bug::PublishBeforeSync) {
            self.shared.published.publish(self.tail.position);
        }
        if planted(Bug::RunBeyondDurable) {
            self.end_full_table();
        }
    }

    /// Stops writing for good, after a group of which nobody knows whether it is on the disk.
    fn fail(&mut self, answers: Vec<(oneshot::Sender<Answer>, Answer)>, error: &std::io::Error) {
        if !planted(Bug::NoPoison) {
            self.poison(format!(
                "writing segment {} failed ({error}); what was acknowledged is safe: close the log, see to the device, open it again",
                self.active.segment.id
            ));
        }
        for (reply, _) in answers {
            deliver(reply, Err(AppendError::InDoubt { reason: "the write to the log failed".to_owned() }));
        }
    }

    /// Says on disk that everything is durable. Without it, the last group would look like one that nobody was told of.
    fn write_idle(&mut self) {
        self.begin_segment();
        let mut bytes = std::mem::take(&mut self.group).start;
        let at = self.active.offset + bytes.len() as u64;
        let mut seal = self.tail.next_seal(&self.active.segment, at, self.tail.recorded_at);
        if planted(Bug::IdleClaimsItself) {
            seal.durable = seal.number;
        }
        let header = write_mark(&mut bytes, FrameKind::Idle, &seal, &[]);
        assert!(self.active.has_room_for_idle(bytes.len()), "batches leave room for an idle frame");
        let file = &self.active.segment.file;
        if let Err(error) = file
            .write_over_zeros(&[&bytes], self.active.offset, self.active.size_bytes)
            .and_then(|()| file.sync_data())
        {
            return self.poison(format!("writing segment {} failed ({error})", self.active.segment.id));
        }
        self.active.count(at, header, 0, 0);
        self.active.offset += bytes.len() as u64;
        self.tail.number += 1;
        self.tail.checksum = header;
        self.tail.covered = self.tail.durable;
        self.tail.durable = self.tail.number;
        self.table.write().end_frame(self.active.offset);
    }

    /// Stops writing for good, and forgets what never became durable.
    fn poison(&mut self, reason: String) {
        self.shared.poison(reason.clone());
        self.poison = Some(reason);
    }
}

/// Adds a batch to the table that grows, and gives the version of each of its events.
fn insert(table: &mut State, ticket: &Ticket, frame_offset: u64, recorded_at: i64) -> Vec<u64> {
    let frame = u32::try_from(frame_offset).expect("a segment is at most 1 GiB");
    let prior = &ticket.prior;
    let ended = prior.ended_tables();
    let mut versions = Vec::with_capacity(ticket.batch.events.len());
    for (event, at) in ticket.batch.events.iter().zip(ticket.prepared.record_offsets()) {
        let indexed = IndexedEvent {
            stream: event.stream.as_str(),
            event_type: event.event_type.as_str(),
            id: event.id,
        };
        let tags = event.tags.iter().map(gesta_core::Tag::as_str);
        let base = || prior.next_version(&event.stream, &ended);
        versions.push(table.insert(&indexed, tags, frame + at, versions.is_empty(), base));
        table.insert_id(event.id);
    }
    table.end_batch(recorded_at, frame_offset + ticket.prepared.len() as u64);
    if let Some(command) = &ticket.batch.command {
        let is_new = table.insert_command(&command.key, command.request, &versions);
        assert!(is_new, "a key that was there is a repeat");
    }
    versions
}

/// Gives an answer to whoever still waits for it.
fn deliver(reply: oneshot::Sender<Answer>, answer: Answer) {
    // An error here says that the caller is gone; the batch stays as decided.
    let _ = reply.send(answer);
}
