//! What the recovery of a log found and did, in words for the log of a server.

use gesta_log::{LogStore, Recovery};

use crate::output::count;

/// Logs what recovery found and did.
pub(super) fn log_recovery(log: &LogStore) {
    if let Some(progress) = log.index_progress() {
        tracing::warn!(
            events = progress.of,
            "the index is being rebuilt: until it is finished, events can only be read by position"
        );
    }
    let read_only = log.read_only();
    let reason = read_only.as_ref().map(|own| &*own.reason);
    match (describe_recovery(log.recovery(), reason), &read_only) {
        (Some(did), None) => tracing::warn!("recovery: {did}"),
        (Some(did), Some(_)) => tracing::error!("recovery: {did}"),
        (None, _) => {}
    }
}

/// What recovery found and did, on one line; `None` if nothing.
fn describe_recovery(recovery: &Recovery, read_only: Option<&str>) -> Option<String> {
    let mut did = Vec::new();
    if recovery.rescued_frames > 0 {
        did.push(format!("kept {} that may not have been synced", count(recovery.rescued_frames, "frame")));
    }
    if recovery.quarantined_bytes > 0 {
        let bytes = recovery.quarantined_bytes;
        did.push(format!("moved {bytes} bytes of a torn write to `quarantine`"));
    }
    for (kind, found) in [("damage", &recovery.damage), ("flaw", &recovery.flaws)] {
        // The reason for being read-only may name this damage already.
        let first = found.first().map(ToString::to_string);
        let first = first.filter(|first| !read_only.is_some_and(|reason| reason.contains(first)));
        did.extend(first.map(|first| format!("{kind}: {first}")));
        if found.len() > 1 {
            did.push(format!("{kind}: {} more, listed by `gesta verify`", found.len() - 1));
        }
    }
    did.extend(read_only.map(|reason| format!("the log is read-only: {reason}")));
    (!did.is_empty()).then(|| did.join("; "))
}

#[cfg(test)]
mod tests {
    use gesta_log::Damage;

    use super::*;

    #[test]
    fn recovery_is_described_on_one_line_if_it_did_anything() {
        assert_eq!(describe_recovery(&Recovery::default(), None), None);
        let damage = Damage {
            segment: 3,
            offset: 64,
            from: 5,
            to: 6,
            end_is_known: true,
            what: "a torn frame".to_owned(),
        };
        let recovery = Recovery {
            rescued_frames: 2,
            quarantined_bytes: 100,
            damage: vec![damage.clone(), damage],
            ..Recovery::default()
        };
        let expected = "kept 2 frames that may not have been synced; \
             moved 100 bytes of a torn write to `quarantine`; \
             damage: segment 3 at offset 64: a torn frame; positions 5 to 6 are lost; \
             damage: 1 more, listed by `gesta verify`; the log is read-only: why";
        assert_eq!(describe_recovery(&recovery, Some("why")).as_deref(), Some(expected));
        let one = Recovery { damage: recovery.damage[..1].to_vec(), ..Recovery::default() };
        let reason = format!("events are damaged ({})", one.damage[0]);
        assert_eq!(describe_recovery(&one, Some(&reason)), Some(format!("the log is read-only: {reason}")));
    }
}
