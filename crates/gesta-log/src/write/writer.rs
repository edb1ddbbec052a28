//! The single writer: writes and syncs what is gathered as one group, publishes, answers.
//!
//! *Invariants*
//! - Nothing is acknowledged or published before its sync returned.
//! - Groups are written in the order in which they were gathered, each after the sync of the one before.
//! - After a write or sync that failed, nothing is written ever again: what was written or gathered is in doubt, what follows is refused.
//! - The first write to a segment is issued after the last sync of the one before.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::flush::write_group;
use super::group::{Taken, deliver};
use super::group_builder::OpenGroup;
use super::queue::Queue;
use crate::bugs::{Bug, planted};
use crate::folder::DurableMark;
use crate::format::Prepared;
use crate::limits::DECISIONS_MAX;
use crate::shared::Shared;

/// The writer's own state. Whoever holds it writes: see [`Committer`](super::committer::Role).
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    open_group: Arc<OpenGroup>,
    /// The last frame that is known to be synced.
    durable: Arc<AtomicU64>,
    /// The last frame of which a synced frame says that it is durable.
    covered: u64,
    /// The last synced frame that has events.
    last_with_events: u64,
    is_poisoned: bool,
    /// Groups so far.
    written: u64,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, queue: Arc<Queue>, open_group: Arc<OpenGroup>) -> Self {
        let (durable, covered, last_with_events) = {
            let builder = open_group.lock();
            (builder.durable(), builder.tail().covered, builder.tail().last_with_events)
        };
        Self { shared, queue, open_group, durable, covered, last_with_events, is_poisoned: false, written: 0 }
    }

    /// Commits what is gathered and what waits, up to a group of it; where room had to be made, another one behind it. Gives back whether
    /// there is more to do.
    pub(crate) fn commit_waiting(&mut self) -> bool {
        self.commit_waiting_while(&mut || {})
    }

    /// [`Self::commit_waiting`]. While a group is written, `meanwhile` does what callers do on their own threads.
    pub(crate) fn commit_waiting_while(&mut self, meanwhile: &mut dyn FnMut()) -> bool {
        self.queue.begin_group();
        let before = self.written;
        let mut is_halted = self.commit_group(meanwhile);
        if is_halted {
            self.open_group.lock().make_way();
            is_halted = self.commit_group(meanwhile);
        }
        self.queue.note_group(self.is_uncovered(), self.written > before);
        is_halted
    }

    /// Commits a group. Gives back whether the gathering is halted.
    fn commit_group(&mut self, meanwhile: &mut dyn FnMut()) -> bool {
        let (taken, is_halted) = {
            let mut builder = self.open_group.lock();
            builder.gather(&self.queue, DECISIONS_MAX);
            self.is_poisoned |= builder.is_poisoned();
            (builder.take_group(), builder.is_halted())
        };
        if let Some(taken) = taken {
            self.commit(taken, meanwhile);
        }
        is_halted
    }

    /// Covers what is uncovered: nothing is going on, or nothing more will come.
    pub(crate) fn rest(&mut self) {
        if self.is_uncovered() {
            self.cover();
        }
        self.queue.note_group(self.is_uncovered(), true);
    }

    const fn is_uncovered(&self) -> bool {
        self.covered < self.last_with_events && !self.is_poisoned
    }

    /// Writes and syncs a group, publishes it, and answers everybody in it.
    fn commit(&mut self, taken: Taken, meanwhile: &mut dyn FnMut()) {
        meanwhile();
        if self.is_poisoned && !planted(Bug::GatheredOutlivesPoison) {
            return taken.group.answer_in_doubt();
        }
        if !taken.group.frames.is_empty() {
            self.misstep_before_write(&taken);
            if let Err(error) = write(&taken) {
                return self.fail(taken, &error);
            }
            self.written += 1;
            self.last_with_events = taken.number;
            self.note_synced(&taken);
            self.shared.published.publish(taken.head);
        }
        // Answers without a frame speak of the groups before.
        taken.group.answers.into_iter().for_each(|(reply, answer)| deliver(reply, answer));
    }

    fn note_synced(&mut self, taken: &Taken) {
        self.covered = taken.covers;
        let Taken { number, checksum, head, .. } = *taken;
        self.shared.synced.note(DurableMark { number, checksum, position: head.position });
        // The frames that are sealed from here on say so.
        self.durable.store(taken.number, Ordering::Release);
    }

    /// What only a bug that is planted does before a group is durable.
    fn misstep_before_write(&self, taken: &Taken) {
        if planted(Bug::PublishBeforeSync) {
            self.shared.published.publish(taken.head);
        }
        if planted(Bug::RunBeyondDurable) {
            self.open_group.lock().end_full_table();
        }
    }

    /// Stops writing for good, after a group of which nobody knows whether it is on the disk.
    fn fail(&mut self, taken: Taken, error: &io::Error) {
        if !planted(Bug::NoPoison) {
            self.poison(format!(
                "writing segment {} failed ({error}); what was acknowledged is safe: close the log, see to the device, open it again",
                taken.segment.id
            ));
        }
        taken.group.answer_in_doubt();
    }

    /// Says on disk that everything is durable. Without it, the last group would look like one that nobody was told of.
    fn cover(&mut self) {
        let taken = {
            let mut builder = self.open_group.lock();
            self.is_poisoned |= builder.is_poisoned();
            if self.is_poisoned || !builder.is_empty() || builder.is_halted() || !builder.has_room_for_idle()
            {
                return;
            }
            builder.take_idle()
        };
        match write_idle(&taken) {
            Ok(()) => self.note_synced(&taken),
            Err(error) => self.poison(format!("writing segment {} failed ({error})", taken.segment.id)),
        }
    }

    /// Stops writing for good, and forgets what never became durable.
    fn poison(&mut self, reason: String) {
        self.is_poisoned = true;
        let gathered = self.open_group.lock().poison(reason);
        gathered.answer_in_doubt();
    }
}

fn write(taken: &Taken) -> io::Result<()> {
    let group = &taken.group;
    let pieces = std::iter::once(&group.start[..]).chain(group.frames.iter().map(Prepared::bytes));
    let pieces = pieces.filter(|piece| !piece.is_empty()).collect::<Vec<_>>();
    write_group(&*taken.segment.file, &pieces, taken.offset, taken.zeros_to, taken.is_last)
}

fn write_idle(taken: &Taken) -> io::Result<()> {
    let file = &taken.segment.file;
    file.write_over_zeros(&[&taken.group.start], taken.offset, taken.zeros_to)?;
    file.sync_data()
}
