//! The figures of snapshots.

use gesta::SnapshotMetrics;

use super::text::Text;

/// The figures of each kind of state that is kept as snapshots.
pub(super) fn snapshots(kinds: &[SnapshotMetrics], text: &mut Text) {
    let labels =
        |kind: &SnapshotMetrics| vec![("state", kind.name.to_owned()), ("kind", kind.kind.to_string())];
    let mut counter = |name: &str, help: &str, read: fn(&SnapshotMetrics) -> u64| {
        text.counter(name, help, kinds.iter().map(|kind| (labels(kind), read(kind))));
    };
    counter("gesta_snapshot_loads_total", "Loads that asked for a snapshot.", |kind| kind.loads);
    counter("gesta_snapshot_hits_total", "Loads that began from a snapshot.", |kind| kind.hits);
    counter("gesta_snapshot_events_saved_total", "Events that loads did not fold.", |kind| kind.events_saved);
    counter("gesta_snapshot_taken_total", "Snapshots taken.", |kind| kind.taken);
    counter("gesta_snapshot_failed_total", "Snapshots that were due and not taken.", |kind| {
        kind.failed + kind.left_out
    });
    counter("gesta_snapshot_foreign_total", "Snapshots of another history, which were removed.", |kind| {
        kind.foreign
    });
    text.gauge(
        "gesta_snapshot_used",
        "1 if snapshots of the kind are used, 0 if they were found wrong.",
        kinds.iter().map(|kind| (labels(kind), u8::from(kind.is_used))),
    );
}
