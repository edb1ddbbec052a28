//! Streams that are apart: those that failed, are parked or were skipped have a place of their own in the row.
//!
//! So a stuck stream does not hold back the place of its lane.
//!
//! *Invariant:* everything unfinished of such a stream, up to the horizon, lies at or after its entry. So a stream that goes apart while the
//! scan is under way again is read from the log from its first event on: the scan would not hand over what it meets.

use std::collections::BTreeMap;

use gesta_core::{Position, StreamName, Version};

use super::live::Live;
use super::message::{Output, Words};
use super::row::Entry;
use super::stream::Apart;
use super::streams::Slot;
use crate::bugs::{Bug, planted};
use crate::group::settings::Order;
use crate::group::status::Parked;

/// Bytes of an entry beside the name of its stream.
const ENTRY_BYTES: usize = 120;

/// The streams that are apart, counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ApartCounts {
    pub(super) parked: usize,
    pub(super) others: usize,
    bytes: usize,
}

impl Live {
    /// Takes over the streams that are apart in a row.
    pub(super) fn set_apart(&mut self, entries: &BTreeMap<StreamName, Entry>) {
        for (name, entry) in entries {
            if planted(Bug::ApartLost) && !entry.is_parked {
                continue;
            }
            let slot = self.streams.add_entry(name.clone(), self.partitions);
            let partition = self.streams.get(slot).partition;
            let to = self.scan.horizon().sequence(partition);
            let stream = self.streams.get_mut(slot);
            stream.apart = Some(Apart::default());
            stream.is_parked = entry.is_parked;
            stream.attempts = entry.attempts;
            stream.setbacks = entry.attempts;
            stream.alone_to = entry.sequence;
            stream.next_version = entry.version;
            stream.leave_to_log(entry.sequence - 1, to);
            self.count_apart(slot, true);
            self.streams.list(slot, false);
        }
    }

    pub(super) const fn apart_counts(&self) -> ApartCounts {
        self.apart_counts
    }

    /// Counts a stream that is apart, or no longer.
    fn count_apart(&mut self, slot: Slot, is_added: bool) {
        let stream = self.streams.get(slot);
        let bytes = entry_bytes(&stream.name);
        let counts = &mut self.apart_counts;
        let kind = if stream.is_parked { &mut counts.parked } else { &mut counts.others };
        if is_added {
            *kind += 1;
            counts.bytes += bytes;
        } else {
            *kind -= 1;
            counts.bytes -= bytes;
        }
    }

    /// Sets a stream apart, and keeps it so. Without room it stays with its lane, and nothing of it can be skipped for good.
    pub(super) fn set_apart_if_room(&mut self, slot: Slot) -> bool {
        let stream = self.streams.get_mut(slot);
        if let Some(apart) = &mut stream.apart {
            apart.gone_with = None;
            return true;
        }
        let bytes = self.apart_counts.bytes + entry_bytes(&stream.name);
        if self.apart_counts.others >= self.bounds.apart_max || bytes > self.bounds.apart_bytes_max {
            return false;
        }
        self.go_apart(slot);
        true
    }

    fn go_apart(&mut self, slot: Slot) {
        let scan_to = self.scan.again_to(self.streams.get(slot).partition);
        let (stream, window) = self.streams.with_window(slot);
        assert!(stream.delivery.is_none() && stream.apart.is_none());
        stream.keep_first(scan_to.filter(|_| !planted(Bug::ScanAgainForgotten)), window);
        stream.apart = Some(Apart::default());
        self.count_apart(slot, true);
    }

    /// Ends the place of its own of a stream that a durable row has no entry of.
    pub(super) fn come_back(&mut self, put: u64) {
        let slots = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.apart.is_some_and(|apart| apart.gone_with == Some(put)));
        for slot in slots.map(|(slot, _)| slot).collect::<Vec<_>>() {
            self.count_apart(slot, false);
            self.streams.get_mut(slot).apart = None;
            self.streams.forget_if_idle(slot);
        }
    }

    /// Returns true if a stream may be parked.
    pub(super) fn can_park(&self, slot: Slot) -> bool {
        let stream = self.streams.get(slot);
        let added = if stream.apart.is_some() { 0 } else { entry_bytes(&stream.name) };
        self.apart_counts.parked < self.bounds.parked_max
            && self.apart_counts.bytes + added <= self.bounds.apart_bytes_max
    }

    /// Parks a stream: nothing of it is dealt until an operator replays or skips it.
    pub(super) fn park(&mut self, slot: Slot, by: String) {
        let scan_to = self.scan.again_to(self.streams.get(slot).partition);
        if self.streams.get(slot).apart.is_some() {
            self.count_apart(slot, false);
        }
        let (stream, window) = self.streams.with_window(slot);
        stream.keep_none(scan_to, window);
        assert!(stream.rest().is_some(), "a parked stream has an unfinished event");
        stream.apart = Some(Apart::default());
        stream.is_parked = true;
        self.count_apart(slot, true);
        self.settled.park += 1;
        self.progress.change_at_once(self.now);
        let parked = Parked { by: Some(by), ..self.parked(slot) };
        self.out.push(Output::Words(Words::Parked(Box::new(parked))));
    }

    /// Lets a parked stream go on from its entry.
    pub(super) fn unpark(&mut self, slot: Slot) {
        self.count_apart(slot, false);
        let stream = self.streams.get_mut(slot);
        stream.is_parked = false;
        stream.attempts = 0;
        stream.setbacks = 0;
        stream.error = None;
        stream.alone_to = stream.low().unwrap_or(0);
        stream.apart = Some(Apart::default());
        let name = stream.name.clone();
        self.count_apart(slot, true);
        self.out.push(Output::Words(Words::Replayed(name)));
        self.streams.list(slot, false);
    }

    /// Passes the events of a stream that is apart, up to one, for good.
    pub(super) fn skip_to(&mut self, slot: Slot, sequence: u64, version: Version) {
        let scan_to = self.scan.again_to(self.streams.get(slot).partition);
        let (stream, window) = self.streams.with_window(slot);
        let apart = stream.apart.as_mut().expect("a stream with a skipped event is apart");
        apart.gone_with = None;
        stream.keep_first(scan_to, window);
        let one_more = u64::from(planted(Bug::SkipTwo));
        self.finish(slot, sequence + one_more, version);
        self.settled.skip += 1;
        self.progress.change_at_once(self.now);
        self.streams.list(slot, false);
    }

    /// Describes a parked stream, without words.
    pub(super) fn parked(&self, slot: Slot) -> Parked {
        let stream = self.streams.get(slot);
        let sequence = stream.low().expect("a parked stream has an unfinished event");
        let position = Position { partition: stream.partition, sequence };
        let version = match self.settings.order {
            Order::Stream => stream.next_version,
            Order::Log => Version::new(sequence),
        };
        Parked {
            stream: stream.name.clone(),
            version,
            position,
            attempts: stream.attempts,
            error: stream.error.clone(),
            by: None,
            since: None,
        }
    }
}

fn entry_bytes(name: &StreamName) -> usize {
    // Escapes make a byte of a name up to two bytes long: control characters are not allowed in names.
    ENTRY_BYTES + 2 * name.as_str().len()
}
