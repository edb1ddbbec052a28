//! The row of a group: everything of it that is durable, as one value of the key-value store.
//!
//! *Choice: JSON, with the store's id at the top and nowhere else.* A restore gives a log another id. It can then rewrite the row without
//! knowing anything else of it. The cost is a few hundred bytes and some microseconds for each put.

mod written;

use std::collections::BTreeMap;

use bytes::Bytes;
use gesta_core::{Checkpoint, Lane, StoreId, StreamName, Timestamp, Version};

use self::written::Written;
use crate::group::limits::ROW_BYTES_MAX;
use crate::group::settings::{GroupSettings, SettingsVersion};
use crate::group::status::SelectedItem;

/// The durable state of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The store of the places.
    pub store: StoreId,
    /// The life of the dealer that wrote it. Each start has a higher one.
    pub epoch: u64,
    /// The number of the put in this life. Each attempt has a number of its own.
    pub put: u64,
    /// True until the dealer ends in order.
    pub is_running: bool,
    /// Set while an operator pauses the group.
    pub paused: Option<Paused>,
    /// The reason, while the group is stopped.
    pub stopped: Option<String>,
    /// The settings. Their query is that of `items`.
    pub settings: GroupSettings,
    /// The version of the settings.
    pub settings_version: SettingsVersion,
    /// The items of the query.
    pub items: Vec<SelectedItem>,
    /// The place of every lane that is not behind.
    pub scanned: Checkpoint,
    /// The places of lanes with unfinished events of streams that are not apart.
    pub behind: BTreeMap<Lane, u64>,
    /// The places of streams that are apart.
    pub apart: BTreeMap<StreamName, Entry>,
}

/// An operator's pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// The operator.
    pub by: String,
    /// The time of the pause.
    pub since: Timestamp,
}

/// The place of a stream that is apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The version of the first unfinished event, or a lower one.
    pub version: Version,
    /// The sequence of the first event that may be unfinished.
    pub sequence: u64,
    /// The failed attempts to handle it.
    pub attempts: u32,
    /// True if it waits for an operator.
    pub is_parked: bool,
}

/// The bytes are not a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the group's row cannot be read: {reason}")]
pub struct RowError {
    /// The fault, with its place.
    pub reason: String,
}

impl Row {
    /// Creates the row of a group that no dealer has started yet.
    #[must_use]
    pub fn new(settings: GroupSettings, from: &Checkpoint) -> Self {
        let items = super::selection::Selection::of(&settings.query, from).items().to_vec();
        Self {
            store: from.store(),
            epoch: 0,
            put: 0,
            is_running: false,
            paused: None,
            stopped: None,
            settings,
            settings_version: SettingsVersion::FIRST,
            items,
            scanned: from.clone(),
            behind: BTreeMap::new(),
            apart: BTreeMap::new(),
        }
    }

    /// Returns the bytes of the row.
    ///
    /// # Panics
    /// If they exceed the limit of a row. The dealer bounds everything in it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let bytes = serde_json::to_vec(&self.written()).expect("a row is made of texts and numbers");
        assert!(bytes.len() <= ROW_BYTES_MAX, "a row of {} bytes exceeds {ROW_BYTES_MAX}", bytes.len());
        bytes.into()
    }

    /// Returns the bytes of the row's settings and query.
    pub(super) fn settings_len(&self) -> usize {
        let written = self.written();
        let length =
            |bytes: Result<Vec<u8>, serde_json::Error>| bytes.map_or(usize::MAX, |bytes| bytes.len());
        length(serde_json::to_vec(&written.query)).saturating_add(length(serde_json::to_vec(&written.since)))
    }

    /// Reads a row.
    ///
    /// # Errors
    /// [`RowError`] names the fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let written = serde_json::from_slice::<Written>(bytes)
            .map_err(|error| RowError { reason: error.to_string() })?;
        written.read().map_err(|reason| RowError { reason })
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::{EventId, Item, Place, Position, Query};

    use super::*;

    fn row() -> Row {
        let store = StoreId::from_bytes([0xab; 16]);
        let place = |sequence| Checkpoint::new(store, [0, sequence]);
        let query = Query::Any(vec![
            Item { category: Some("order".parse().unwrap()), ..Item::default() },
            Item {
                types: vec!["a".parse().unwrap()],
                ids: vec![EventId::from_u128(7)],
                tags: vec!["x:y".parse().unwrap()],
                ..Item::default()
            },
        ]);
        let mut settings = GroupSettings::new(query);
        settings.from = Place::At(place(3));
        let mut row = Row::new(settings, &place(4));
        row.items[1].since = place(9);
        row.scanned = place(0).with_mark(Position { partition: 1, sequence: 20 }, 0xbeef);
        row.behind.insert(Lane::new(12).unwrap(), 7);
        let entry = Entry { version: Version::new(2), sequence: 8, attempts: 3, is_parked: true };
        row.apart.insert("order-ä \"1\"".parse().unwrap(), entry);
        row.paused = Some(Paused { by: "ops".into(), since: Timestamp::from_nanos(-5) });
        row.stopped = Some("a target is gone".into());
        row
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let row = row();
        let read = Row::decode(&row.encode()).unwrap();
        assert_eq!(read, row);
        assert_eq!(read.scanned.mark(1), Some(0xbeef));
    }

    #[test]
    fn a_restored_row_needs_another_store_at_the_top_only() {
        let text = String::from_utf8(row().encode().to_vec()).unwrap();
        let store = "ab".repeat(16);
        assert_eq!(text.matches(&store).count(), 1);
        let restored = Row::decode(text.replace(&store, &"cd".repeat(16)).as_bytes()).unwrap();
        let other = StoreId::from_bytes([0xcd; 16]);
        assert_eq!((restored.store, restored.items[1].since.store()), (other, other));
        assert_eq!(
            restored.scanned.mark(1),
            Some(0xbeef),
            "a restored log has the same history up to the cut"
        );
    }

    #[test]
    fn bytes_that_are_no_row_are_refused_and_named() {
        let text = String::from_utf8(row().encode().to_vec()).unwrap();
        let cases = [
            ("\"v\":1", "\"v\":2", "format 2"),
            ("\"12\":7", "\"1024\":7", "lane 1024"),
            ("\"position\":8", "\"position\":0", "position 0"),
            ("\"since\":1", "\"since\":2", "not listed"),
            ("\"onPoison\":\"park\"", "\"onPoison\":\"sink\"", "sink"),
            ("\"ackMillis\":30000", "\"ackMillis\":1", "ack_time"),
            ("\"0.9\"", "\"9\"", "partitions"),
            ("{\"v\"", "[\"v\"", "line 1"),
        ];
        for (from, to, named) in cases {
            assert!(text.contains(from), "{from} is in {text}");
            let error = Row::decode(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
