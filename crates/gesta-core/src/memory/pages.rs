//! Pages of the in-memory store, and the limits that end them.

use super::{Log, Partition};
use crate::checkpoint::{Checkpoint, StoreId, Version};
use crate::event::RecordedEvent;
use crate::lane::Lane;
use crate::name::StreamName;
use crate::read::{Direction, Limit, Page, Place, Read, Select};

/// Answers a read. Its form and checkpoints must be checked already.
pub(super) fn page(log: &Log, id: StoreId, read: &Read) -> Page {
    let head = log.head(id);
    let start = log.cut(id, |_| 0);
    match &read.select {
        Select::Stream { name, from } => {
            let number = usize::from(Lane::of(name.as_str()).partition(partitions(log)));
            let partition = &log.partitions[number];
            let last_version = partition.last_version(name);
            let page = match read.direction {
                Direction::Forward => {
                    let bound = read.until.clone().unwrap_or_else(|| head.clone());
                    stream_forward(partition, name, from.unwrap_or(Version::FIRST), bound, head, read.limit)
                }
                Direction::Backward => {
                    let floor = read.until.clone().unwrap_or(start);
                    stream_backward(partition, name, *from, floor, head, read.limit)
                }
            };
            Page { last_version, ..page }
        }
        Select::Log { query, from, lanes } => {
            let at = match from {
                Place::Start => start.clone(),
                Place::End => head.clone(),
                Place::At(checkpoint) => checkpoint.clone(),
            };
            let in_lanes = |event: &RecordedEvent| {
                lanes.as_ref().is_none_or(|lanes| lanes.contains(Lane::of(event.stream())))
            };
            let matches = |event: &RecordedEvent| in_lanes(event) && query.matches(event);
            match read.direction {
                Direction::Forward => {
                    let bound = read.until.clone().unwrap_or_else(|| head.clone());
                    log_forward(log, matches, at, &bound, head, read.limit)
                }
                Direction::Backward => {
                    let floor = read.until.clone().unwrap_or(start);
                    log_backward(log, matches, at, &floor, head, read.limit)
                }
            }
        }
    }
}

fn partitions(log: &Log) -> u16 {
    u16::try_from(log.partitions.len()).expect("at most 1,024 partitions")
}

/// The events taken so far, against the page's limit.
struct Taken {
    events: Vec<RecordedEvent>,
    bytes: u64,
    examined: u64,
    limit: Limit,
}

impl Taken {
    const fn new(limit: Limit) -> Self {
        Self { events: Vec::new(), bytes: 0, examined: 0, limit }
    }

    fn look_at(&mut self, event: &RecordedEvent, matches: bool) {
        self.examined += 1;
        if matches {
            self.bytes += event.as_bytes().len() as u64;
            self.events.push(event.clone());
        }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.limit.events.get() as usize
            || self.bytes >= self.limit.bytes.get()
            || self.examined >= self.limit.examined.get()
    }

    fn into_page(self, scanned_to: Checkpoint, head: Checkpoint, end: bool) -> Page {
        Page { events: self.events, scanned_to, head, last_version: None, end }
    }
}

/// Takes whole batches, merged over partitions in the order in which they were recorded.
fn log_forward(
    log: &Log,
    matches: impl Fn(&RecordedEvent) -> bool,
    mut at: Checkpoint,
    bound: &Checkpoint,
    head: Checkpoint,
    limit: Limit,
) -> Page {
    let mut taken = Taken::new(limit);
    while !taken.is_full() {
        let waiting =
            log.partitions.iter().filter(|own| at.sequence(own.number) < bound.sequence(own.number));
        let next = waiting.min_by_key(|own| own.event(at.sequence(own.number) + 1).recorded_at());
        let Some(partition) = next else { break };
        let first = at.sequence(partition.number) + 1;
        let last = partition.batch_end(first).min(bound.sequence(partition.number));
        for event in (first..=last).map(|sequence| partition.event(sequence)) {
            taken.look_at(event, matches(event));
        }
        at = partition.place_within(at, last, bound);
    }
    let end = at.at_least(bound);
    taken.into_page(at, head, end)
}

/// Takes single events, merged over partitions, newest first.
fn log_backward(
    log: &Log,
    matches: impl Fn(&RecordedEvent) -> bool,
    mut at: Checkpoint,
    floor: &Checkpoint,
    head: Checkpoint,
    limit: Limit,
) -> Page {
    let mut taken = Taken::new(limit);
    while !taken.is_full() {
        let waiting =
            log.partitions.iter().filter(|own| at.sequence(own.number) > floor.sequence(own.number));
        let next = waiting.max_by_key(|own| own.event(at.sequence(own.number)).recorded_at());
        let Some(partition) = next else { break };
        let sequence = at.sequence(partition.number);
        let event = partition.event(sequence);
        taken.look_at(event, matches(event));
        at = partition.place_within(at, sequence - 1, floor);
    }
    let end = floor.at_least(&at);
    taken.into_page(at, head, end)
}

fn stream_forward(
    partition: &Partition,
    name: &StreamName,
    from: Version,
    bound: Checkpoint,
    head: Checkpoint,
    limit: Limit,
) -> Page {
    let sequences = partition.streams.get(name).map_or(&[][..], Vec::as_slice);
    let skipped = usize::try_from(from.get()).unwrap_or(usize::MAX).min(sequences.len());
    let mut left =
        sequences[skipped..].iter().take_while(|own| **own <= bound.sequence(partition.number)).peekable();
    let mut taken = Taken::new(limit);
    while !taken.is_full()
        && let Some(sequence) = left.next()
    {
        taken.look_at(partition.event(*sequence), true);
    }
    let end = left.peek().is_none();
    let scanned_to = match taken.events.last() {
        Some(last) if !end => bound.past(last),
        _ => bound,
    };
    taken.into_page(scanned_to, head, end)
}

fn stream_backward(
    partition: &Partition,
    name: &StreamName,
    from: Option<Version>,
    floor: Checkpoint,
    head: Checkpoint,
    limit: Limit,
) -> Page {
    let sequences = partition.streams.get(name).map_or(&[][..], Vec::as_slice);
    let count =
        from.map_or(usize::MAX, |from| usize::try_from(from.get()).unwrap_or(usize::MAX).saturating_add(1));
    let kept = &sequences[..count.min(sequences.len())];
    let mut left = kept.iter().rev().take_while(|own| **own > floor.sequence(partition.number)).peekable();
    let mut taken = Taken::new(limit);
    while !taken.is_full()
        && let Some(sequence) = left.next()
    {
        taken.look_at(partition.event(*sequence), true);
    }
    let end = left.peek().is_none();
    let scanned_to = match taken.events.last() {
        Some(last) if !end => partition.place(floor, last.position().sequence - 1),
        _ => floor,
    };
    taken.into_page(scanned_to, head, end)
}
