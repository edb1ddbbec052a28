//! Bugs that the simulation of consumer groups must find. The feature `planted-bugs` lets a test switch each of them on.
//!
//! *Choice: in the code, not as patches.* A patch rots. The visible cost is a condition in each place that is always false without the
//! feature; the compiler removes it.

/// A bug that can be planted.
#[cfg_attr(not(feature = "planted-bugs"), expect(unreachable_pub, reason = "the feature publishes it"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A host that starts takes away the items that it does not name.
    HostNarrows,
    /// An added item counts from the place of the scan on, not from the head.
    SinceScanned,
    /// A dealer adds items though an older one may still deal.
    TakeoverWidens,
    /// A start drops the entries of streams that are apart but not parked.
    ApartLost,
    /// "Up to the scan" means up to its place, also while it is scanning again.
    ShortRefill,
    /// A delivery that is given again can still be settled.
    OldIdCounts,
    /// A late settlement counts though its events were dealt again.
    LateCounts,
    /// A stream is dealt while a delivery of it is in flight.
    TwoInFlight,
    /// Ids of deliveries do not name the store.
    NoStoreInId,
    /// Ids of deliveries do not name the epoch.
    NoEpochInId,
    /// A member may settle the deliveries of others.
    AnyMemberSettles,
    /// A settlement of some events counts for all.
    PartialIsAll,
    /// A stream that goes apart during a scan again is not read again.
    ScanAgainForgotten,
    /// The entry of a parked stream lies after everything that was scanned.
    ParkedPlaceLost,
    /// A resume of a stopped group keeps the counts of attempts.
    ResumeKeepsAttempts,
    /// A skip passes one event more.
    SkipTwo,
    /// During a scan again, lanes that were behind count as scanned.
    ScanAgainJumps,
    /// An entry goes while the lane of its stream is behind.
    EntryGoesEarly,
    /// No lane is ever behind.
    NothingBehind,
    /// An attempt to put uses the number of a failed one again.
    SameNumber,
    /// A put replaces whatever row is there.
    Unfenced,
    /// A dealer ends when its own late put arrives.
    LatePutEnds,
    /// A reset keeps the epoch.
    ResetKeepsEpoch,
    /// A start whose put is in doubt believes that it was written.
    StartTrustsDoubt,
    /// A stall counts as time.
    StallCounts,
    /// A paused group delivers.
    PauseDeals,
    /// Items are taken away while events are unfinished.
    NarrowsBusy,
    /// In the order of the log, any member gets the next events.
    LogGoesToAny,
    /// A group whose progress cannot be put goes on.
    LateDeals,
    /// Items count for events before their places.
    SinceIgnored,
    /// A read of a stream counts as complete though the scan has left more to the log.
    SpillForgotten,
    /// A page that was asked for with the old query is kept after items were added.
    OldPageKept,
    /// The epoch of a start does not depend on the boot of the log.
    BootIgnored,
    /// The window has no bound.
    WindowIgnored,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All bugs.
    pub const ALL: &[Self] = &[
        Self::HostNarrows,
        Self::SinceScanned,
        Self::TakeoverWidens,
        Self::ApartLost,
        Self::ShortRefill,
        Self::OldIdCounts,
        Self::LateCounts,
        Self::TwoInFlight,
        Self::NoStoreInId,
        Self::NoEpochInId,
        Self::AnyMemberSettles,
        Self::PartialIsAll,
        Self::ScanAgainForgotten,
        Self::ParkedPlaceLost,
        Self::ResumeKeepsAttempts,
        Self::SkipTwo,
        Self::ScanAgainJumps,
        Self::EntryGoesEarly,
        Self::NothingBehind,
        Self::SameNumber,
        Self::Unfenced,
        Self::LatePutEnds,
        Self::ResetKeepsEpoch,
        Self::StartTrustsDoubt,
        Self::StallCounts,
        Self::PauseDeals,
        Self::NarrowsBusy,
        Self::LogGoesToAny,
        Self::LateDeals,
        Self::SinceIgnored,
        Self::SpillForgotten,
        Self::OldPageKept,
        Self::BootIgnored,
        Self::WindowIgnored,
    ];
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in every dealer that this thread drives; `None` removes it.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Returns true if a bug is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Returns true if a bug is planted: none is.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_bug: Bug) -> bool {
    false
}
