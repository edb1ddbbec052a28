//! What snapshots save, by category and kind.

use std::collections::BTreeMap;
use std::fmt;

use gesta_core::{Fingerprint, SnapshotStream, Version};
use serde_json::{Value, json};

/// Digits of a fingerprint in a table.
const DIGITS: usize = 12;

/// Sums of the streams seen so far.
#[derive(Default)]
pub(super) struct Report {
    kinds: BTreeMap<(String, Fingerprint), Sum>,
}

#[derive(Default)]
struct Sum {
    streams: u64,
    snapshots: u64,
    bytes: u64,
    /// Events that a load of each stream folds, all streams together.
    with: u64,
    without: u64,
}

/// One line of the report.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    category: String,
    kind: Fingerprint,
    /// True if the program folds the category as this kind; `None` if it does not host the category.
    is_current: Option<bool>,
    streams: u64,
    snapshots: u64,
    bytes: u64,
    events_with: u64,
    events_without: u64,
}

impl Report {
    /// Adds a stream whose last event has the version `head`.
    pub(super) fn add(&mut self, stream: &SnapshotStream, head: Option<Version>) {
        let category = stream.key.stream.category().as_str().to_owned();
        let sum = self.kinds.entry((category, stream.key.kind)).or_default();
        sum.streams += 1;
        sum.snapshots += stream.snapshots;
        sum.bytes += stream.state_bytes;
        let events = head.map_or(0, |head| head.get() + 1);
        sum.without += events;
        // A snapshot beyond the log is not used.
        sum.with += events.checked_sub(stream.newest.get() + 1).unwrap_or(events);
    }

    /// The lines, by category and kind.
    pub(super) fn rows(self, is_current: impl Fn(&str, Fingerprint) -> Option<bool>) -> Vec<Row> {
        let row = |((category, kind), sum): ((String, Fingerprint), Sum)| Row {
            is_current: is_current(&category, kind),
            category,
            kind,
            streams: sum.streams,
            snapshots: sum.snapshots,
            bytes: sum.bytes,
            events_with: sum.with / sum.streams,
            events_without: sum.without / sum.streams,
        };
        self.kinds.into_iter().map(row).collect()
    }
}

impl Row {
    pub(super) const HEADING: &str = "category         kind          used   streams  snapshots        bytes  events a load: with   without";

    pub(super) fn to_json(&self) -> Value {
        json!({
            "category": self.category,
            "kind": self.kind.to_string(),
            "current": self.is_current,
            "streams": self.streams,
            "snapshots": self.snapshots,
            "bytes": self.bytes,
            "eventsWith": self.events_with,
            "eventsWithout": self.events_without,
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, kind, streams, snapshots, bytes, events_with, events_without, .. } = self;
        let kind = &kind.to_string()[..DIGITS];
        let used = match self.is_current {
            Some(true) => "yes",
            Some(false) => "stale",
            None => "-",
        };
        write!(
            f,
            "{category:<16} {kind}  {used:<5}  {streams:>7}  {snapshots:>9}  {bytes:>11}  {events_with:>19}  {events_without:>8}"
        )
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::{SnapshotKey, StoreId};

    use super::*;

    fn stream(name: &str, kind: u8, snapshots: u64, newest: u64) -> SnapshotStream {
        let key = SnapshotKey {
            store: StoreId::from_bytes([1; 16]),
            kind: Fingerprint::from_bytes([kind; 32]),
            stream: name.parse().unwrap(),
        };
        SnapshotStream { key, snapshots, state_bytes: 100 * snapshots, newest: Version::new(newest) }
    }

    #[test]
    fn a_report_sums_by_category_and_kind() {
        let mut report = Report::default();
        report.add(&stream("account-1", 1, 3, 999), Some(Version::new(1_099)));
        report.add(&stream("account-2", 1, 1, 499), Some(Version::new(499)));
        report.add(&stream("account-2", 2, 1, 399), Some(Version::new(499)));
        report.add(&stream("course-1", 3, 1, 99), None);
        let rows = report.rows(|category, kind| (category == "account").then(|| kind.as_bytes()[0] == 1));
        let lines = rows.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = [
            "account          010101010101  yes          2          4          400                   50       800",
            "account          020202020202  stale        1          1          100                  100       500",
            "course           030303030303  -            1          1          100                    0         0",
        ];
        assert_eq!(lines, expected);
        assert_eq!(Row::HEADING.len(), lines[0].len());
        assert_eq!(rows[0].to_json()["eventsWithout"], 800);
    }
}
