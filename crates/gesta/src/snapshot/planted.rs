//! Mistakes that the random histories must find. Unit tests switch them on, one at a time; nothing else can.

/// A mistake that can be planted in a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A snapshot is used although the log has another event at its version.
    NoAnchor,
    /// The event that a snapshot ends with is folded again.
    AnchorFoldedTwice,
    /// A load of an earlier version takes the newest snapshot.
    BeyondTheVersion,
    /// A load up to a place takes a snapshot beyond it.
    BeyondThePlace,
    /// A load by `time` begins from a snapshot.
    UsedByTime,
}

crate::planted::switch_of_bugs!();
