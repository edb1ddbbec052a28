//! The single writer: writes and syncs the gathered batches as one group, publishes it, and answers.
//!
//! *Invariants*
//! - Nothing is acknowledged or published before its sync returned.
//! - Groups are written in the order in which they were gathered, each after the sync of the previous one.
//! - Nothing is written after the folder at the log's path was seen to be another one or gone.
//! - After a failed write or sync, nothing is written ever again: written and gathered batches are in doubt, later
//!   ones are refused.
//! - The first write to a segment is issued after the last sync of the previous segment.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::flush::write_group;
use super::group::{Taken, deliver};
use super::group_builder::OpenGroup;
use super::queue::Queue;
use crate::bugs::{Bug, planted};
use crate::format::{DurableMark, Prepared};
use crate::limits::DECISIONS_MAX;
use crate::shared::Shared;

/// The state of the writer. The thread that holds it writes: see [`Committer`](super::committer::Committer).
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    open_group: Arc<OpenGroup>,
    /// The last frame known to be synced.
    durable: Arc<AtomicU64>,
    /// The last frame that the watermark of a synced frame covers.
    covered: u64,
    /// The last frame of the last synced group.
    last_in_group: u64,
    /// The number of groups so far.
    written: u64,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, queue: Arc<Queue>, open_group: Arc<OpenGroup>) -> Self {
        let (durable, covered, last_in_group) = {
            let builder = open_group.lock();
            (builder.durable(), builder.tail().covered, builder.tail().last_with_events)
        };
        Self { shared, queue, open_group, durable, covered, last_in_group, written: 0 }
    }

    /// Commits the gathered and the queued batches, up to one group; if room had to be made, up to one more. Returns
    /// true if more work is left.
    pub(crate) fn commit_waiting(&mut self) -> bool {
        self.commit_waiting_while(&mut || {})
    }

    /// [`Self::commit_waiting`]. While a group is written, `meanwhile` does what callers do on their threads.
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

    /// Commits a group. Returns true if gathering is halted.
    fn commit_group(&mut self, meanwhile: &mut dyn FnMut()) -> bool {
        let (taken, is_halted) = {
            let mut builder = self.open_group.lock();
            builder.gather(&self.queue, DECISIONS_MAX);
            (builder.take_group(), builder.is_halted())
        };
        if let Some(taken) = taken {
            self.commit(taken, meanwhile);
        }
        is_halted
    }

    /// Writes a missing watermark: the log is idle or about to close.
    pub(crate) fn rest(&mut self) {
        if self.is_uncovered() {
            self.cover();
        }
        self.queue.note_group(self.is_uncovered(), true);
    }

    fn is_poisoned(&self) -> bool {
        self.shared.poison.is_set()
    }

    fn is_uncovered(&self) -> bool {
        self.covered < self.last_in_group && !self.is_poisoned()
    }

    /// Stops writing for good if the folder at the log's path is not the log's any more.
    pub(crate) fn heed_displacement(&self) {
        if let Some(why) = self.shared.poison.displaced()
            && !self.is_poisoned()
        {
            self.poison(why);
        }
    }

    /// Writes and syncs a group, publishes it, and sends its answers.
    fn commit(&mut self, taken: Taken, meanwhile: &mut dyn FnMut()) {
        meanwhile();
        self.heed_displacement();
        if self.is_poisoned() && !planted(Bug::GatheredOutlivesPoison) {
            return taken.group.answer_in_doubt();
        }
        if !taken.group.frames.is_empty() {
            assert!(self.durable.load(Ordering::Acquire) < taken.number, "groups are written in their order");
            assert!(taken.covers < taken.number, "a watermark covers earlier frames only");
            self.misstep_before_write(&taken);
            if let Err(error) = write(&taken) {
                return self.fail(taken, &error);
            }
            self.written += 1;
            self.last_in_group = taken.number;
            self.note_synced(&taken);
            self.shared.published.publish(taken.head);
        }
        // Answers without a frame are based on earlier groups.
        taken.group.answers.into_iter().for_each(|(reply, answer)| deliver(reply, answer));
    }

    fn note_synced(&mut self, taken: &Taken) {
        self.covered = taken.covers;
        let Taken { number, checksum, head, .. } = *taken;
        self.shared.synced.note(DurableMark { number, checksum, position: head.position });
        // The watermark of frames sealed from here on covers this group.
        self.durable.store(taken.number, Ordering::Release);
    }

    /// Planted bugs that act before a group is durable.
    fn misstep_before_write(&self, taken: &Taken) {
        if planted(Bug::PublishBeforeSync) {
            self.shared.published.publish(taken.head);
        }
        if planted(Bug::RunBeyondDurable) {
            self.open_group.lock().end_full_table();
        }
    }

    /// Stops writing for good after a failed group: its content on the disk is unknown.
    fn fail(&mut self, taken: Taken, error: &io::Error) {
        if !planted(Bug::NoPoison) {
            self.poison(&format!(
                "writing segment {} failed ({error}); acknowledged events are safe: close the log, check the device, open the log again",
                taken.segment.id
            ));
        }
        taken.group.answer_in_doubt();
    }

    /// Writes an idle frame whose watermark covers all frames. Without it, the last group would look as if it was
    /// never acknowledged.
    fn cover(&mut self) {
        let taken = {
            let mut builder = self.open_group.lock();
            if self.is_poisoned()
                || !builder.is_empty()
                || builder.is_halted()
                || !builder.has_room_for_idle()
            {
                return;
            }
            builder.take_idle()
        };
        match write_idle(&taken) {
            Ok(()) => self.note_synced(&taken),
            Err(error) => self.poison(&format!("writing segment {} failed ({error})", taken.segment.id)),
        }
    }

    /// Stops writing for good, and drops what never became durable.
    fn poison(&self, reason: &str) {
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
