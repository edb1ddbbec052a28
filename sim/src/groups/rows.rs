//! The judge of rows: whatever is durable must be enough to go on from.

use gesta_consumer::group::Order;
use gesta_consumer::sim::Row;
use gesta_core::{LANES, Lane};

use super::Wrong;
use super::log::{Known, Log};
use super::target::{Target, key};

/// What earlier rows said.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The last row of this life of the group.
    last: Option<Row>,
}

impl Rows {
    /// Begins another life of the group: its places may go back.
    pub(super) fn begin(&mut self) {
        self.last = None;
    }

    /// Looks at a row that has just become durable. `may_narrow`: somebody has asked to take items away.
    pub(super) fn stored(
        &mut self,
        row: &Row,
        target: &mut Target,
        log: &Log,
        may_narrow: bool,
    ) -> Result<(), Wrong> {
        let head = log.head();
        if row.store != log.id || !head.at_least(&row.scanned) {
            return Err(format!("the row's scan, {}, lies beyond the head, {head}", row.scanned));
        }
        for item in &row.items {
            let kind = item.item.as_ref().and_then(|item| item.types.first()).map(ToString::to_string);
            let kind = kind.ok_or("an item of the row selects no kind")?;
            if !head.at_least(&item.since) {
                return Err(format!("item `{kind}` counts from {} on, beyond the head, {head}", item.since));
            }
            target.must.entry(kind).or_insert_with(|| item.since.clone());
        }
        let order = row.settings.order;
        let left =
            log.events.iter().find(|event| !target.is_over(event) && is_passed(row, event, order, log));
        if let Some(passed) = left {
            return Err(format!("progress passed {passed:?}, which was not handled: {row:?}"));
        }
        let lost = target.must.keys().find(|kind| !names(row, kind)).cloned();
        if let Some(kind) = lost {
            let is_scanned =
                |event: &&Known| event.position.sequence <= row.scanned.sequence(event.position.partition);
            if !may_narrow {
                return Err(format!("the row lost the item `{kind}`"));
            }
            if let Some(left) = log.events.iter().filter(is_scanned).find(|event| !target.is_over(event)) {
                return Err(format!("item `{kind}` was taken away while {left:?} was not handled"));
            }
            target.must.remove(&kind);
        }
        // A lane that is not behind is at the end of the scan.
        let went_back = |last: &&Row| {
            let lanes = row.behind.iter().any(|(lane, place_now)| *place_now < place(last, *lane, log));
            lanes || !row.scanned.at_least(&last.scanned)
        };
        if let Some(last) = self.last.as_ref().filter(went_back) {
            return Err(format!("the place of a lane went back: {last:?} then {row:?}"));
        }
        self.last = Some(row.clone());
        Ok(())
    }
}

fn all_lanes() -> impl Iterator<Item = Lane> {
    (0..LANES).filter_map(Lane::new)
}

fn names(row: &Row, kind: &str) -> bool {
    let types = row.items.iter().filter_map(|item| item.item.as_ref()).flat_map(|item| &item.types);
    types.into_iter().any(|named| named.as_str() == kind)
}

/// The place of a lane in a row.
fn place(row: &Row, lane: Lane, log: &Log) -> u64 {
    let behind = row.behind.get(&lane).copied();
    behind.unwrap_or_else(|| row.scanned.sequence(lane.partition(log.partitions)))
}

/// True if a start from this row would not deliver the event.
pub(super) fn is_passed(row: &Row, event: &Known, order: Order, log: &Log) -> bool {
    let sequence = event.position.sequence;
    if sequence > row.scanned.sequence(event.position.partition) {
        return false;
    }
    let (name, _) = key(event, order);
    if let Some(entry) = row.apart.get(name.as_str()) {
        return entry.sequence > sequence;
    }
    let lane = match order {
        Order::Stream => Lane::of(event.stream.as_str()),
        Order::Log => all_lanes()
            .find(|lane| lane.partition(log.partitions) == event.position.partition)
            .expect("a partition has a lane"),
    };
    sequence <= place(row, lane, log)
}
