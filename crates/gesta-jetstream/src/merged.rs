//! Pages of the log over several partitions, in the order in which events were recorded.
//!
//! The store asks each partition for a share of the page, and merges the shares by the times of their events. The page ends where one share ends and
//! its partition may go on. If the page uses only a part of a share, the store reads that part again: this gives the exact place after it.
//!
//! *Invariants:*
//! - Each partition's events are in their order, and no batch is cut in a forward page: batches have one time, and events of one time and
//!   one partition stay together. Only the last event of the page may be inside a batch; reading its share again completes that.
//! - A page makes progress: it has an event, or a place that moved.
//!
//! *Choice:* the order of time, not one partition after the other. A consumer that reads the history meets events in the order in which it would have met
//! them live, so an event is not far before those of other partitions that led to it. The cost: the next page reads an unused share once more.

use std::num::{NonZeroU32, NonZeroU64};

use futures_util::future::try_join_all;
use gesta_core::{Checkpoint, Direction, Limit, Page, Place, Read, ReadError, Select};

use crate::partition::Partition;

/// A read of the log, with its ends in place.
pub(crate) struct LogRead {
    /// The read. Its `select` is of the log.
    pub(crate) read: Read,
    /// The place at which it begins.
    pub(crate) at: Checkpoint,
    /// The place at which it ends.
    pub(crate) end: Checkpoint,
}

impl LogRead {
    /// Reads the next page.
    pub(crate) async fn page(&self, partitions: &[Partition], head: Checkpoint) -> Result<Page, ReadError> {
        let waiting = partitions.iter().filter(|partition| self.is_open(partition)).collect::<Vec<_>>();
        if let [only] = waiting[..] {
            return Ok(Page { head, ..self.read_share(only, self.read.limit).await? });
        }
        let limit = share(self.read.limit, waiting.len(), self.read.direction);
        let shares = try_join_all(waiting.iter().map(|partition| self.read_share(partition, limit))).await?;
        let merged = Merged::of(&shares, self.read.limit, self.read.direction);
        let whole = |(at, share): (usize, Page)| {
            let (partition, merged) = (waiting[at], &merged);
            async move {
                match NonZeroU32::new(merged.used[at]) {
                    _ if merged.uses_all(at, &share) => Ok(Some(share)),
                    None => Ok(None),
                    Some(events) => self.read_share(partition, Limit { events, ..limit }).await.map(Some),
                }
            }
        };
        let used = try_join_all(shares.into_iter().enumerate().map(whole)).await?;
        let (mut scanned_to, mut end) = (self.at.clone(), true);
        let mut events = Vec::with_capacity(waiting.len());
        for (partition, share) in waiting.iter().zip(used) {
            end &= share.as_ref().is_some_and(|share| share.end);
            events.push(share.map_or_else(Vec::new, |share| {
                scanned_to = scanned_to.clone().with_place_of(partition.number(), &share.scanned_to);
                share.events
            }));
        }
        Ok(Page { events: merged.in_order(events), scanned_to, head, last_version: None, end })
    }

    /// True if the read has not reached its end in a partition.
    fn is_open(&self, partition: &Partition) -> bool {
        let [at, end] = [&self.at, &self.end].map(|place| place.sequence(partition.number()));
        match self.read.direction {
            Direction::Forward => at < end,
            Direction::Backward => at > end,
        }
    }

    async fn read_share(&self, partition: &Partition, limit: Limit) -> Result<Page, ReadError> {
        let lower = |place: &Checkpoint| partition.replica().lower(place);
        let mut read = Read { until: Some(lower(&self.end)), limit, ..self.read.clone() };
        if let Select::Log { from, .. } = &mut read.select {
            *from = Place::At(lower(&self.at));
        }
        partition.read(read, &self.at).await
    }
}

/// The limit of the share of one of several partitions. The newest events of all partitions may be in one of them, so backward shares are
/// as large as the page.
fn share(limit: Limit, partitions: usize, direction: Direction) -> Limit {
    let examined = part_of(limit.examined, partitions);
    match direction {
        Direction::Backward => Limit { examined, ..limit },
        Direction::Forward => {
            let events = part_of(limit.events.into(), partitions);
            let events = NonZeroU32::try_from(events).unwrap_or(limit.events);
            Limit { events, bytes: part_of(limit.bytes, partitions), examined }
        }
    }
}

/// One of several equal parts, rounded up.
fn part_of(whole: NonZeroU64, parts: usize) -> NonZeroU64 {
    let part = whole.get().div_ceil(parts.max(1) as u64);
    NonZeroU64::new(part).unwrap_or(whole)
}

/// The beginning of the merged shares that makes the page.
struct Merged {
    /// The share that each event of the page is from.
    order: Vec<usize>,
    /// How many events of each share are used.
    used: Vec<u32>,
}

impl Merged {
    fn of(shares: &[Page], limit: Limit, direction: Direction) -> Self {
        let mut merged = Self { order: Vec::new(), used: vec![0; shares.len()] };
        let mut bytes = 0;
        while merged.order.len() < limit.events.get() as usize && bytes < limit.bytes.get() {
            let Some(next) = merged.next(shares, direction) else { break };
            let used = &mut merged.used[next];
            bytes += shares[next].events[*used as usize].as_bytes().len() as u64;
            *used += 1;
            merged.order.push(next);
        }
        merged
    }

    /// The share with the next event; `None` at the end, or if a partition may have an earlier event than all that were read.
    fn next(&self, shares: &[Page], direction: Direction) -> Option<usize> {
        let mut next = None;
        for (at, share) in shares.iter().enumerate() {
            let Some(event) = share.events.get(self.used[at] as usize) else {
                if share.end {
                    continue;
                }
                return None;
            };
            let place = (event.recorded_at(), at);
            let is_next = next.is_none_or(|next| match direction {
                Direction::Forward => place < next,
                Direction::Backward => place > next,
            });
            if is_next {
                next = Some(place);
            }
        }
        next.map(|(_, at)| at)
    }

    fn uses_all(&self, at: usize, share: &Page) -> bool {
        self.used[at] as usize == share.events.len()
    }

    /// Returns the events of the page. A share may have some more at its end, those of its last batch.
    fn in_order<T>(&self, shares: Vec<Vec<T>>) -> Vec<T> {
        let mut shares = shares.into_iter().map(Vec::into_iter).collect::<Vec<_>>();
        let mut events = Vec::with_capacity(self.order.len());
        events.extend(self.order.iter().filter_map(|at| shares[*at].next()));
        events.extend(shares.into_iter().flatten());
        events
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::{EventId, NewEvent, Position, RecordedEvent, StoreId, Timestamp, Version};

    use super::*;

    /// A share with events of these times.
    fn share_of(times: &[i64], end: bool) -> Page {
        let event = |(sequence, nanos): (u64, &i64)| {
            let (stream, kind) = ("a".parse().unwrap(), "b".parse().unwrap());
            let event = NewEvent::json(EventId::from_u128(1), stream, kind, Timestamp::MIN, "{}");
            let position = Position { partition: 0, sequence };
            RecordedEvent::new(position, Version::FIRST, Timestamp::from_nanos(*nanos), event.to_bytes())
        };
        let place = Checkpoint::start(StoreId::from_bytes([1; 16]), 3);
        let events = (1..).zip(times).map(event).collect();
        Page { events, scanned_to: place.clone(), head: place, last_version: None, end }
    }

    /// The shares that the events of a page of at most `events` come from.
    fn check(shares: &[(&[i64], bool)], events: u32, direction: Direction, order: &[usize]) {
        let shares = shares.iter().map(|(times, end)| share_of(times, *end)).collect::<Vec<_>>();
        let merged = Merged::of(&shares, Limit::events(NonZeroU32::new(events).unwrap()), direction);
        assert_eq!(merged.order, order);
    }

    #[test]
    fn partitions_take_turns_by_the_times_of_their_events() {
        let shares: [(&[i64], bool); 3] = [(&[10, 40, 50], true), (&[20, 30], true), (&[15], true)];
        check(&shares, 10, Direction::Forward, &[0, 2, 1, 1, 0, 0]);
        check(&shares, 4, Direction::Forward, &[0, 2, 1, 1]);
        let newest_first: [(&[i64], bool); 3] = [(&[50, 40, 10], true), (&[30, 20], true), (&[15], true)];
        check(&newest_first, 10, Direction::Backward, &[0, 0, 1, 1, 2, 0]);
        check(&newest_first, 3, Direction::Backward, &[0, 0, 1]);
    }

    #[test]
    fn events_of_one_time_stay_together_in_their_partition() {
        let shares: [(&[i64], bool); 2] = [(&[10, 10, 20], true), (&[10, 10], true)];
        check(&shares, 10, Direction::Forward, &[0, 0, 1, 1, 0]);
        let newest_first: [(&[i64], bool); 2] = [(&[20, 10, 10], true), (&[10, 10], true)];
        check(&newest_first, 10, Direction::Backward, &[0, 1, 1, 0, 0]);
    }

    #[test]
    fn a_page_ends_where_a_partition_may_have_an_earlier_event() {
        // The second partition was read up to 20, and goes on.
        check(&[(&[10, 30, 40], true), (&[15, 20], false)], 10, Direction::Forward, &[0, 1, 1]);
        check(&[(&[10, 30], true), (&[], false)], 10, Direction::Forward, &[]);
    }

    #[test]
    fn the_rest_of_the_last_batch_comes_last() {
        let merged = Merged { order: vec![0, 1, 0], used: vec![2, 1] };
        assert_eq!(merged.in_order(vec![vec!['a', 'b', 'c'], vec!['x']]), ['a', 'x', 'b', 'c']);
    }

    #[test]
    fn shares_are_parts_of_a_forward_page_and_at_least_one() {
        let share = |events, partitions, direction| {
            share(Limit::events(NonZeroU32::new(events).unwrap()), partitions, direction)
        };
        assert_eq!(share(1_000, 3, Direction::Forward).events.get(), 334);
        assert_eq!(share(2, 64, Direction::Forward).events.get(), 1);
        assert_eq!(share(1_000, 3, Direction::Backward).events.get(), 1_000);
        assert_eq!(share(1_000, 4, Direction::Backward).examined.get(), 25_000);
    }
}
