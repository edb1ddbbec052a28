//! The lines by the names of their streams, and which of them are kept while no command uses them.
//!
//! *Invariants*
//! - A line that a command uses is never dropped: all its users share one line.
//! - The lock of the map is taken before that of an unused line, and never the other way round.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use gesta_core::StreamName;

use super::Entities;
use super::drive::Watch;
use super::limits::{CACHE_BYTES_MAX, ENTITIES_MAX, LINE_BYTES, SWEEP_LINES_MAX, UNSETTLED_IDLE_MAX};
use super::line::LineCell;
use super::lock;

/// How many states are kept between commands. The least recently used ones are dropped first.
///
/// A kept state spares a command the read of its entity's history. Dropping one is always safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Entities whose states are kept.
    pub entities_max: usize,
    /// Bytes of kept states, by [`State::weight`](crate::State::weight), with 400 bytes for each entity.
    pub bytes_max: usize,
}

impl Cache {
    /// Keeps no state. Every command reads the history of its entities, and the commands to one entity are decided one
    /// after the other.
    #[must_use]
    pub const fn none() -> Self {
        Self { entities_max: 0, bytes_max: 0 }
    }

    pub(super) fn keeps_states(self) -> bool {
        self != Self::none()
    }
}

impl Default for Cache {
    /// Returns 10,000 entities and 64 MiB.
    fn default() -> Self {
        Self { entities_max: ENTITIES_MAX, bytes_max: CACHE_BYTES_MAX }
    }
}

/// All lines.
#[derive(Default)]
pub(super) struct Lines(Mutex<Map>);

#[derive(Default)]
struct Map {
    lines: HashMap<StreamName, Slot>,
    /// The unused lines, least recently used first.
    unused: BTreeMap<u64, StreamName>,
    /// Counts the uses that ended.
    uses: u64,
    /// The bytes of all lines, as far as they are known.
    bytes: usize,
}

struct Slot {
    cell: Arc<LineCell>,
    users: usize,
    /// The bytes when the line was last left unused.
    bytes: usize,
    /// Its key among the unused lines, and since when it is unused.
    unused: Option<(u64, Duration)>,
}

/// The use of a line by one command. While it lives, the line stays.
pub(super) struct Used {
    pub(super) cell: Arc<LineCell>,
    entities: Arc<Entities>,
}

impl Used {
    pub(super) fn new(entities: &Arc<Entities>, stream: &StreamName) -> Self {
        Self { cell: entities.lines.using(stream), entities: Arc::clone(entities) }
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        let now = self.entities.clock.elapsed();
        let swept = self.entities.lines.unuse(&self.cell, now, self.entities.cache);
        self.entities.metrics.evicted(swept.evicted);
        // States are dropped here, without a lock. Batches that nobody waits for are polled once.
        drop(swept.dropped);
        let mut context = Context::from_waker(Waker::noop());
        for cell in swept.unsettled {
            let unsettled = lock(&cell.line).unsettled().cloned().collect::<Vec<_>>();
            for outcome in unsettled {
                let _ = Watch::default().poll(&outcome, &mut context);
            }
        }
    }
}

/// What a sweep took out of the map, and what it could not.
#[derive(Default)]
struct Swept {
    dropped: Vec<Arc<LineCell>>,
    evicted: usize,
    unsettled: Vec<Arc<LineCell>>,
}

impl Lines {
    /// The entities and bytes that are kept.
    pub(super) fn size(&self) -> (usize, usize) {
        let map = lock(&self.0);
        (map.lines.len(), map.bytes)
    }

    fn using(&self, stream: &StreamName) -> Arc<LineCell> {
        let mut map = lock(&self.0);
        let map = &mut *map;
        let slot = map.lines.entry(stream.clone()).or_insert_with(|| Slot {
            cell: Arc::new(LineCell::new(stream.clone())),
            users: 0,
            bytes: 0,
            unused: None,
        });
        slot.users += 1;
        if let Some((key, _)) = slot.unused.take() {
            map.unused.remove(&key);
        }
        Arc::clone(&slot.cell)
    }

    /// Ends one use of a line. The last user weighs the line, and drops it or others.
    fn unuse(&self, cell: &LineCell, now: Duration, cache: Cache) -> Swept {
        if lock(&self.0).leave(&cell.stream) > 0 {
            return Swept::default();
        }
        let weight = lock(&cell.line).weight() + LINE_BYTES;
        let mut swept = Swept::default();
        let mut map = lock(&self.0);
        if !map.put_aside(&cell.stream, weight, now) {
            return swept;
        }
        if lock(&cell.line).is_empty() {
            swept.dropped.extend(map.remove(&cell.stream));
        }
        map.sweep(now, cache, &mut swept);
        swept
    }
}

impl Map {
    /// Returns the number of users that are left.
    fn leave(&mut self, stream: &StreamName) -> usize {
        let slot = self.lines.get_mut(stream).expect("a used line is in the map");
        slot.users -= 1;
        slot.users
    }

    /// Puts a line among the unused ones. Returns false if another command used it meanwhile.
    fn put_aside(&mut self, stream: &StreamName, bytes: usize, now: Duration) -> bool {
        let Some(slot) = self.lines.get_mut(stream).filter(|slot| slot.users == 0 && slot.unused.is_none())
        else {
            return false;
        };
        let key = self.uses;
        self.uses += 1;
        slot.unused = Some((key, now));
        self.bytes = self.bytes - std::mem::replace(&mut slot.bytes, bytes) + bytes;
        self.unused.insert(key, stream.clone());
        true
    }

    fn remove(&mut self, stream: &StreamName) -> Option<Arc<LineCell>> {
        let slot = self.lines.remove(stream)?;
        self.bytes -= slot.bytes;
        if let Some((key, _)) = slot.unused {
            self.unused.remove(&key);
        }
        Some(slot.cell)
    }

    /// Drops unused lines until the cache is within its bounds, least recently used first. A line with batches in
    /// flight stays until they are settled, or for a minute.
    fn sweep(&mut self, now: Duration, cache: Cache, swept: &mut Swept) {
        let candidates = self.unused.values().take(SWEEP_LINES_MAX).cloned().collect::<Vec<_>>();
        for stream in candidates {
            if self.lines.len() <= cache.entities_max && self.bytes <= cache.bytes_max {
                return;
            }
            let slot = &self.lines[&stream];
            let (_, since) = slot.unused.expect("an unused line has its key");
            let is_settled = lock(&slot.cell.line).is_settled();
            if !is_settled && now < since + UNSETTLED_IDLE_MAX {
                swept.unsettled.push(Arc::clone(&slot.cell));
                continue;
            }
            swept.dropped.extend(self.remove(&stream));
            swept.evicted += 1;
        }
    }
}
