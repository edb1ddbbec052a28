//! Gathering: batches are decided and sealed into the next group while the previous group is written and synced.
//!
//! *Invariants*
//! - Batches are decided in the order in which they were queued: they leave the queue only under this lock.
//! - A batch that has to wait (for a segment, for memory, for the segment manager) halts gathering. The writer goes
//!   on with that batch as soon as everything gathered is durable. Until then no batch is decided.
//! - Nothing here touches the disk unless gathering is halted.
//!
//! *Choice: the caller that queues a batch gathers, not a thread.* A decision takes a microsecond; waking a thread
//! for it takes many. While the writer waits for the disk, its callers are awake. The visible cost: a caller may
//! decide the batches of others, at most a thousand (`DECISIONS_MAX`).

mod closing;
#[cfg(test)]
#[cfg(feature = "sim")]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use gesta_core::{
    AppendError, Appended, Placed, Position, RefusedBatch, Repeat, Timestamp, Version, check, mark_of,
    repeat_of,
};

use super::decide::{DecisionContext, Scope};
use super::group::{Group, Taken, deliver};
use super::indexer::Indexer;
use super::insert::Accepted;
use super::lookup::Lookup;
use super::queue::{Answer, Queue, RecordedPlace, Request, Ticket};
use super::segment_manager::{SealTask, SegmentManager};
use crate::bugs::{Bug, planted};
use crate::format::{FrameKind, FrameName, StartBody, mark_len, write_mark};
use crate::index::{FullTable, MemTable, State};
use crate::limits::{DECISIONS_MAX, GROUP_BYTES_MAX, START_BYTES};
use crate::segment::{ActiveSegment, Spare, Tail};
use crate::shared::{Head, Shared};

/// The group builder behind its lock.
pub(crate) struct OpenGroup(Mutex<GroupBuilder>);

/// Builds the next group, and knows the state of the log after it.
pub(crate) struct GroupBuilder {
    shared: Arc<Shared>,
    segment_manager: Arc<SegmentManager>,
    indexer: Arc<Indexer>,
    /// The active table.
    table: Arc<MemTable>,
    /// Bytes of the frames that the active table indexes.
    table_log_bytes: u64,
    /// The end of the log after everything gathered.
    tail: Tail,
    /// The segment of the group. Its offset is where the group begins.
    active: ActiveSegment,
    /// Bytes of the earlier segments, headers and frames.
    bytes_before: u64,
    /// The body of the active segment's START, until that START is sealed into a group.
    start: Option<StartBody>,
    /// The mark of the last gathered event.
    mark: Option<u32>,
    group: Group,
    /// The last frame known to be synced. The writer sets it.
    durable: Arc<AtomicU64>,
    /// The last event of the group that was taken last.
    taken_to: u64,
    halted: bool,
    /// The request that halted gathering.
    stuck: Option<Request>,
}

/// How the room for a batch is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// It must be checked.
    Unknown,
    /// It was made for this batch.
    Made,
}

impl OpenGroup {
    pub(crate) const fn new(builder: GroupBuilder) -> Self {
        Self(Mutex::new(builder))
    }

    /// Waits for the lock. A thread that panicked while it held the lock has poisoned the log.
    pub(crate) fn lock(&self) -> MutexGuard<'_, GroupBuilder> {
        self.0.lock().unwrap_or_else(|poisoned| {
            let mut builder = poisoned.into_inner();
            if !builder.shared.poison.has_panicked() {
                let taken = builder.taken_to;
                builder.give_up(taken);
            }
            builder
        })
    }

    /// Decides the queued batches, unless another thread is about to. Returns true if the writer has work.
    pub(crate) fn gather(&self, queue: &Queue) -> bool {
        let (mut is_wanted, mut left) = (false, DECISIONS_MAX);
        while left > 0
            && let Ok(mut builder) = self.0.try_lock()
        {
            left -= builder.gather(queue, left);
            is_wanted = builder.has_work();
            let is_done = builder.halted || builder.is_full();
            drop(builder);
            // No other thread takes batches that were queued while this thread held the lock.
            if is_done || queue.is_empty() {
                break;
            }
        }
        is_wanted
    }

    /// Stops for good after a panic. Events after `last` never become durable.
    pub(crate) fn give_up(&self, last: impl FnOnce(&GroupBuilder) -> u64) {
        let mut builder = self.lock();
        let last = last(&builder);
        builder.give_up(last);
    }
}

impl GroupBuilder {
    pub(crate) fn new(
        shared: Arc<Shared>,
        segment_manager: Arc<SegmentManager>,
        indexer: Arc<Indexer>,
        tail: Tail,
        (active, start, bytes_before): (ActiveSegment, Option<StartBody>, u64),
    ) -> Self {
        let table = Arc::clone(shared.index.snapshot().active());
        let durable = Arc::new(AtomicU64::new(tail.durable));
        let taken_to = tail.chain.position;
        let mark = shared.published.head().mark;
        Self {
            shared,
            segment_manager,
            indexer,
            table,
            table_log_bytes: 0,
            tail,
            active,
            bytes_before,
            start,
            mark,
            group: Group::default(),
            durable,
            taken_to,
            halted: false,
            stuck: None,
        }
    }

    /// The end of the log after everything gathered.
    pub(crate) const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The last frame known to be synced, for the writer to set.
    pub(crate) fn durable(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.durable)
    }

    /// True if gathering is halted: only the writer may go on.
    pub(crate) const fn is_halted(&self) -> bool {
        self.halted
    }

    /// True if new batches are refused for good.
    fn is_poisoned(&self) -> bool {
        self.shared.poison.is_set()
    }

    /// The last event of the group that was taken last: it may still become durable, later events do not.
    pub(crate) const fn taken_to(&self) -> u64 {
        self.taken_to
    }

    const fn is_full(&self) -> bool {
        self.group.bytes + self.group.answers_bytes >= GROUP_BYTES_MAX
    }

    /// True if the writer has work.
    const fn has_work(&self) -> bool {
        self.halted || !self.is_empty()
    }

    /// True if nothing is gathered.
    pub(crate) const fn is_empty(&self) -> bool {
        self.group.frames.is_empty() && self.group.answers.is_empty()
    }

    /// Decides up to `most` queued batches, until the group is full or a batch has to wait. Returns how many it
    /// decided.
    pub(crate) fn gather(&mut self, queue: &Queue, most: usize) -> usize {
        if self.shared.poison.has_panicked() {
            return 0;
        }
        if !self.is_poisoned() && self.segment_manager.has_failed() {
            self.halted = true;
        }
        let mut decided = 0;
        while !self.halted
            && !self.is_full()
            && decided < most
            && let Some(request) = queue.pop()
        {
            self.take(request, Room::Unknown);
            decided += 1;
        }
        decided
    }

    /// Takes the group, if there is one. If the active table is full, gathering halts: the table ends with this
    /// group.
    pub(crate) fn take_group(&mut self) -> Option<Taken> {
        if self.is_empty() {
            return None;
        }
        let group = std::mem::take(&mut self.group);
        let offset = self.active.offset;
        self.active.offset += group.bytes as u64;
        assert!(group.bytes == 0 || self.active.offset <= self.active.size_bytes, "a group fits its segment");
        self.table_log_bytes += group.bytes as u64;
        if self.active.is_half_full() {
            self.segment_manager.prepare_next(self.log_bytes());
        }
        if self.active.is_almost_full() {
            self.segment_manager.prepare_to_go_on();
        }
        self.halted |= self.table_may_end();
        self.taken_to = self.tail.chain.position;
        Some(Taken {
            group,
            segment: Arc::clone(&self.active.segment),
            offset,
            zeros_to: self.active.size_bytes,
            is_last: !self.active.fits(0, 8 << 10),
            head: self.head(),
            number: self.tail.chain.number,
            checksum: self.tail.chain.checksum,
            covers: self.tail.durable,
        })
    }

    /// Does the work that gathering was halted for. Everything gathered is durable.
    pub(crate) fn make_way(&mut self) {
        assert!(self.is_empty(), "gathered batches are written before room is made");
        if !self.is_poisoned()
            && let Some(reason) = self.segment_manager.failure()
        {
            self.poison(&reason);
        }
        self.end_full_table();
        self.halted = false;
        let Some(request) = self.stuck.take() else { return };
        match self.make_room(request.len()) {
            Ok(()) => self.take(request, Room::Made),
            Err(error) => self.answer(request.into_reply(), Err(error), 0),
        }
    }

    /// Stops for good: gathered batches are in doubt, waiting ones are refused.
    pub(crate) fn poison(&mut self, reason: &str) -> Group {
        self.shared.stop_writes(reason, self.shared.published.position());
        if planted(Bug::GatheredOutlivesPoison) {
            return Group::default();
        }
        std::mem::take(&mut self.group)
    }

    fn give_up(&mut self, last: u64) {
        self.shared.stop_writes_after_panic(last);
        // Callers whose answer is dropped learn that their batch is in doubt.
        self.group = Group::default();
        self.stuck = None;
    }

    /// Decides a request. If it is accepted, its frame joins the group.
    fn take(&mut self, request: Request, room: Room) {
        // Checked first: a decision locks the table that this check reads.
        let has_room = room == Room::Made || self.has_room(request.len());
        match request {
            Request::Append(ticket) => self.take_batch(ticket, has_room),
            Request::Close(closing) => self.take_closing(closing, has_room),
        }
    }

    fn take_batch(&mut self, ticket: Box<Ticket>, has_room: bool) {
        let tables = self.tables_behind(&ticket.lookup);
        let known = DecisionContext::new(&ticket.lookup, &tables, self.scope());
        let decided = match repeat_of(&known, &ticket.batch) {
            Ok(Some(repeat)) => Err(self.answer_to(repeat)),
            Err(RefusedBatch { error, speaks_of }) => Err((Err(error), speaks_of)),
            Ok(None) if self.is_poisoned() => Err((Err(self.shared.read_only()), 0)),
            Ok(None) if !has_room => {
                self.halted = true;
                drop(known);
                self.stuck = Some(Request::Append(ticket));
                return;
            }
            Ok(None) => {
                let checked =
                    check(&known, &ticket.batch).map_err(|refused| (Err(refused.error), refused.speaks_of));
                checked.and_then(|()| self.check_recorded(&ticket).map_err(|error| (Err(error), 0)))
            }
        };
        drop(known);
        match decided {
            Ok(()) => self.accept(*ticket),
            Err((answer, speaks_of)) => self.answer(ticket.reply, answer, speaks_of),
        }
    }

    /// Checks that a batch that another store has recorded comes next, at its position and time.
    fn check_recorded(&self, ticket: &Ticket) -> Result<(), AppendError> {
        let Some(RecordedPlace { first, recorded_at }) = ticket.recorded else { return Ok(()) };
        let chain = &self.tail.chain;
        if first == chain.position + 1 && recorded_at >= chain.recorded_at {
            return Ok(());
        }
        let next = chain.position + 1;
        let reason = format!("the batch was recorded at position {first}, and the copy goes on at {next}");
        Err(AppendError::ReadOnly { reason })
    }

    /// The active table of the look-up's snapshot, and all tables begun since.
    fn tables_behind(&self, lookup: &Lookup) -> Vec<Arc<MemTable>> {
        if planted(Bug::NewestTableAlone) {
            return vec![Arc::clone(&self.table)];
        }
        if planted(Bug::NewestViewDecides) {
            return self.shared.index.snapshot().growing();
        }
        lookup.snapshot.growing()
    }

    fn scope(&self) -> Scope {
        Scope { partition: 0, durable: self.shared.published.position() }
    }

    /// True if a frame of that length fits now, in memory and in the segment.
    fn has_room(&self, length: usize) -> bool {
        !self.indexer.limits().is_overfull(self.table.read().bytes()) && self.fits(length)
    }

    fn fits(&self, length: usize) -> bool {
        let start = if self.start.is_some() { START_BYTES } else { 0 };
        self.active.fits(self.group.bytes + start, length)
    }

    /// Makes room for a frame of that length: in memory, and in this segment or the next. Waits for the indexer and
    /// the segment manager.
    fn make_room(&mut self, length: usize) -> Result<(), AppendError> {
        if self.is_poisoned() {
            return Err(self.shared.read_only());
        }
        if self.indexer.limits().is_overfull(self.table.read().bytes()) {
            self.indexer.wait_for_room().map_err(|reason| AppendError::Unavailable { reason })?;
            self.end_full_table();
        }
        if self.fits(length) { Ok(()) } else { self.roll(length) }
    }

    /// True if the active table should end as soon as everything in it is durable.
    fn table_may_end(&self) -> bool {
        let bytes = self.table.read().bytes();
        // A run names the last frame of the segment that it ends in, so that segment must have a frame.
        self.indexer.limits().is_full(bytes, self.table_log_bytes)
            && self.active.tally.last_frame() != 0
            && !self.is_poisoned()
            && self.indexer.has_room()
    }

    /// If the active table is full, ends it and hands it to the indexer. All of it is durable.
    pub(crate) fn end_full_table(&mut self) {
        if !self.table_may_end() {
            return;
        }
        let next = MemTable::after(&self.table.read());
        next.write().begin_segment(Arc::clone(&self.active.segment));
        self.table.end_with(Arc::clone(&next));
        self.shared.index.change(|snapshot| snapshot.tables.push(Arc::clone(&next)));
        let ended = std::mem::replace(&mut self.table, next);
        self.table_log_bytes = 0;
        self.indexer.write_run(FullTable::new(ended, self.active.point(&self.tail)));
    }

    /// Bytes of all segments, headers and frames, up to the start of the group.
    const fn log_bytes(&self) -> u64 {
        self.bytes_before + self.active.offset
    }

    /// Goes on in the next segment, which has room for a frame of that length. The segment manager has made it, and
    /// seals the old one.
    fn roll(&mut self, length: usize) -> Result<(), AppendError> {
        let spare = self.segment_manager.take_next(self.log_bytes(), length).map_err(|error| {
            let reason = error.to_string();
            match error.is_for_want_of_space() {
                true => AppendError::StorageFull { reason },
                false => AppendError::Unavailable { reason },
            }
        })?;
        assert!(spare.is_active, "the manifest lists a segment as active before a frame is written to it");
        match &mut self.start {
            // Nothing was written to the old segment, if there is one: it is not part of the log.
            Some(start) => {
                start.manifest_generation = spare.generation;
                self.segment_manager.discard(&self.active);
            }
            None => {
                self.seal_active(&spare);
                self.bytes_before = self.log_bytes();
            }
        }
        self.active = ActiveSegment::fresh(spare.segment, spare.size_bytes, &self.tail);
        self.table.write().begin_segment(Arc::clone(&self.active.segment));
        Ok(())
    }

    /// Has the active segment sealed, and keeps the body of the next segment's START.
    fn seal_active(&mut self, spare: &Spare) {
        assert!(self.is_empty(), "a segment ends after its last group");
        self.learn_durable();
        let end = self.active.end(&self.tail);
        let start = self.segment_manager.start_body(self.active.segment.id, &end.sealed, spare.generation);
        self.start = Some(start);
        self.segment_manager.seal(SealTask {
            segment: Arc::clone(&self.active.segment),
            successor: spare.segment.id,
            end,
        });
    }

    /// Updates the watermark that the next frame will carry.
    fn learn_durable(&mut self) {
        self.tail.durable = self.durable.load(Ordering::Acquire);
    }

    /// Gives a batch its place in the index and seals it into the group.
    fn accept(&mut self, mut ticket: Ticket) {
        self.learn_durable();
        self.begin_segment();
        if planted(Bug::PublishBeforeIndex) {
            let position = self.tail.chain.position + ticket.batch.events.len() as u64;
            self.shared.published.publish(Head { position, mark: None });
        }
        let now = ticket.recorded.map_or_else(|| self.shared.now().as_nanos(), |own| own.recorded_at);
        let recorded_at =
            if planted(Bug::ClockGoesBack) { now } else { now.max(self.tail.chain.recorded_at) };
        let offset = self.active.offset + self.group.bytes as u64;
        let first = self.tail.chain.position + 1;
        let seal = self.tail.next_seal(&self.active.segment, offset, recorded_at);
        let (versions, header) = {
            let mut table = self.table.write();
            let versions = insert(&mut table, &ticket, offset, recorded_at);
            let header = ticket.prepared.seal(&seal, versions.iter().copied());
            table.begin_frame(FrameName { number: seal.number, checksum: header });
            (versions, header)
        };
        let events = versions.len() as u64;
        self.active.tally.add_numbered(offset, header, events, recorded_at);
        self.tail.chain.advance(header, events, recorded_at);
        self.note_mark(&ticket, recorded_at);

        let place = |(version, sequence)| Placed {
            version: Version::new(version),
            position: Position { partition: 0, sequence },
        };
        let places = versions.into_iter().zip(first..).map(place).collect();
        let checkpoint = self.shared.checkpoint_of(self.head());
        self.group.bytes += ticket.prepared.len();
        self.group.frames.push(ticket.prepared);
        self.group.answer_later(ticket.reply, Ok(Appended { places, checkpoint, repeated: false }));
    }

    /// The last gathered event.
    const fn head(&self) -> Head {
        Head { position: self.tail.chain.position, mark: self.mark }
    }

    /// Keeps the mark of the batch's last event for its answer and for the head of the log.
    fn note_mark(&mut self, ticket: &Ticket, recorded_at: i64) {
        let last = ticket.batch.events.last().expect("a batch has events");
        let mark = mark_of(last.id, Timestamp::from_nanos(recorded_at));
        self.mark = Some(mark);
        self.shared.marks.put(self.tail.chain.position, mark);
    }

    /// Seals the segment's START into the group, if the segment has none yet.
    fn begin_segment(&mut self) {
        let Some(start) = self.start.take() else { return };
        assert!(self.group.frames.is_empty() && self.group.start.is_empty(), "START is the first frame");
        let seal = self.tail.mark_seal(&self.active.segment, self.active.offset);
        let header = write_mark(&mut self.group.start, FrameKind::Start, &seal, &start.encode());
        self.active.tally.add_start(header);
        self.group.bytes += self.group.start.len();
    }

    /// True if an idle frame fits, and END after it. False if there is no active segment, or if a full disk has left
    /// it short.
    pub(crate) fn has_room_for_idle(&self) -> bool {
        let start = if self.start.is_some() { START_BYTES } else { 0 };
        self.active.has_room_for_idle(start + mark_len(0))
    }

    /// Seals an idle frame into a group with nothing else. Its watermark covers all earlier frames.
    pub(crate) fn take_idle(&mut self) -> Taken {
        assert!(self.is_empty(), "an idle frame is sealed only if nothing is gathered");
        self.learn_durable();
        self.begin_segment();
        let offset = self.active.offset;
        let mut bytes = std::mem::take(&mut self.group).start;
        let at = offset + bytes.len() as u64;
        self.seal_idle(&mut bytes, at, self.tail.chain.recorded_at);
        assert!(self.active.has_room_for_idle(bytes.len()), "batches leave room for an idle frame");
        self.active.offset += bytes.len() as u64;
        Taken {
            segment: Arc::clone(&self.active.segment),
            offset,
            zeros_to: self.active.size_bytes,
            is_last: false,
            head: self.head(),
            number: self.tail.chain.number,
            checksum: self.tail.chain.checksum,
            covers: self.tail.durable,
            group: Group { start: bytes, ..Group::default() },
        }
    }

    /// Seals an idle frame behind the bytes of a group.
    fn seal_idle(&mut self, bytes: &mut Vec<u8>, at: u64, recorded_at: i64) {
        let mut seal = self.tail.next_seal(&self.active.segment, at, recorded_at);
        if planted(Bug::IdleClaimsItself) {
            seal.durable = seal.number;
        }
        let header = write_mark(bytes, FrameKind::Idle, &seal, &[]);
        self.active.tally.add_numbered(at, header, 0, recorded_at);
        self.tail.chain.advance(header, 0, recorded_at);
        self.table.write().end_frame(at + mark_len(0) as u64);
    }

    fn answer_to(&self, repeat: Repeat) -> (Answer, u64) {
        // The caller looks up the mark, since that may take a read.
        let checkpoint = self.shared.checkpoint(repeat.end);
        (Ok(Appended { places: repeat.places, checkpoint, repeated: true }), repeat.end)
    }

    /// Answers at once, or with the group if the answer is based on events that are not durable yet.
    fn answer(&mut self, reply: oneshot::Sender<Answer>, answer: Answer, speaks_of: u64) {
        if speaks_of <= self.shared.published.position() {
            deliver(reply, answer);
        } else {
            assert!(!self.is_poisoned(), "the index of a poisoned log holds only durable events");
            self.group.answer_later(reply, answer);
        }
    }
}

/// Adds a batch to the active table, and returns the version of each of its events.
fn insert(table: &mut State, ticket: &Ticket, frame_offset: u64, recorded_at: i64) -> Vec<u64> {
    let frame = u32::try_from(frame_offset).expect("a segment is at most 1 GiB");
    let Ticket { batch, lookup, prepared, .. } = ticket;
    let mut ended_since = lookup.snapshot.growing();
    ended_since.pop();
    let records = prepared.record_offsets().map(|at| frame + at);
    let accepted = Accepted { batch, lookup, ended_since: &ended_since, recorded_at };
    accepted.insert(table, records, frame_offset + prepared.len() as u64)
}
