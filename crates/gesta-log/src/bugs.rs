//! Bugs that the simulation must find: each can be switched on where the feature `planted-bugs` is.
//!
//! *Choice: in the code itself, not in patches.* A patch rots; its visible cost is a condition that is always false in each
//! place, which the compiler removes.

/// A bug that can be planted.
#[cfg_attr(not(feature = "planted-bugs"), expect(unreachable_pub, reason = "the feature publishes it"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Batches are acknowledged after their write, without a sync.
    AckBeforeSync,
    /// The folder is not synced after a segment was made in it.
    NoFolderSync,
    /// A sync that failed is tried again, and believed.
    RetryFailedSync,
    /// Recovery takes for durable what it can read.
    TrustPageCache,
    /// Frames do not say what is durable.
    NoWatermark,
    /// Recovery cuts at the first bad frame, whatever it was.
    AlwaysTruncate,
    /// Recovery does not index the ids of events.
    IdsNotRebuilt,
    /// Recovery does not index command keys.
    KeysNotRebuilt,
    /// Readers see events before they were synced.
    PublishBeforeSync,
    /// The checks of records are not looked at.
    NoRecordChecks,
    /// The manifest is renamed into place before it was synced.
    ManifestNotSynced,
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in every log that this thread drives; `None` removes it.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a bug is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether a bug is planted: none is.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_bug: Bug) -> bool {
    false
}
