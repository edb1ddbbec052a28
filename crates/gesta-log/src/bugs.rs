//! Bugs that the simulation must find. The feature `planted-bugs` lets a test switch each of them on.
//!
//! *Choice: in the code, not as patches.* A patch rots. The visible cost is a condition in each place that is always
//! false without the feature; the compiler removes it.

/// A bug that can be planted.
#[cfg_attr(not(feature = "planted-bugs"), expect(unreachable_pub, reason = "the feature publishes it"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Batches are acknowledged after their write, without a sync.
    AckBeforeSync,
    /// The folder is not synced after a segment is created in it.
    NoFolderSync,
    /// A failed sync is tried again, and its success is trusted.
    RetryFailedSync,
    /// Recovery treats everything that it can read as durable.
    TrustPageCache,
    /// Frames carry no watermark.
    NoWatermark,
    /// Recovery cuts at the first bad frame without looking at later ones.
    AlwaysTruncate,
    /// Recovery does not index the ids of events.
    IdsNotRebuilt,
    /// Recovery does not index command keys.
    KeysNotRebuilt,
    /// Readers see events before they are synced.
    PublishBeforeSync,
    /// The checks of records are ignored.
    NoRecordChecks,
    /// The manifest is renamed into place before it is synced.
    ManifestNotSynced,
    /// The folder is not synced after the manifest is renamed in it.
    ManifestNotRenamedDurably,
    /// The previous manifest replaces one with a wrong checksum.
    OlderManifestTrusted,
    /// Recovery acts on names before they are durable.
    NamesTrusted,
    /// Another process may open the same log.
    LockIgnored,
    /// Segments that the manifest does not list are removed without a look at their content.
    UnlistedRemoved,
    /// On a full disk, recovery leaves out frames that are not known to be synced.
    FullDiskHides,
    /// A short write counts as complete.
    ShortWriteIgnored,
    /// The writer continues after a failed write or sync.
    NoPoison,
    /// Batches that were collected while a write or sync failed are still written.
    GatheredOutlivesPoison,
    /// The last group of a segment is not synced before the log continues in the next one.
    RollBeforeSync,
    /// The writer gets a segment before the manifest lists it.
    SpareBeforeListed,
    /// The watermark of a frame covers frames that are written together with it.
    ClaimsUnsynced,
    /// The watermark of an idle frame covers the frame itself.
    IdleClaimsItself,
    /// The manifest names a frame beyond the newest synced one.
    MarkBeyondDurable,
    /// A position is published before the index holds its events.
    PublishBeforeIndex,
    /// `recorded_at` follows the clock when the clock goes back.
    ClockGoesBack,
    /// A time is closed without a frame that says so.
    ClosingIsNotWritten,
    /// Frames are chained by number only: the checksum of the previous frame is ignored.
    NoChainCheck,
    /// The watermarks of frames after a bad place are ignored.
    WatermarkBehindIgnored,
    /// The first segment that the manifest does not list as sealed counts as the last used one.
    LaterSegmentsIgnored,
    /// Bytes that are not known to be acknowledged count as torn.
    UnprovenIsTorn,
    /// Torn bytes are cut without a copy in quarantine.
    QuarantineSkipped,
    /// Torn bytes are not cut.
    NoZerosAfterCut,
    /// Frames in doubt are cut before their copy is listed.
    CutBeforeListed,
    /// The copy of frames in doubt is not synced.
    CopyNotSynced,
    /// Frames in doubt without events are not written again.
    BeyondNotWrittenAgain,
    /// A spare that is too short is used.
    ShortSpareUsed,
    /// The missing part of a torn header does not count as zeros.
    TornHeaderUnproven,
    /// Bytes after the end of a file do not count as zeros.
    CutFileUnproven,
    /// An unlisted copy of frames in doubt counts as a sign of a stale manifest.
    UnlistedCopyKept,
    /// The checksum of a frame's body is ignored.
    NoBodyChecksum,
    /// A run is used before the manifest lists it durably.
    RunNotListed,
    /// A run is listed before it is synced.
    RunNotSynced,
    /// A table becomes full, and is written as a run, before its last group is synced.
    RunBeyondDurable,
    /// Merged runs are removed before the manifest without them is durable.
    MergedRemovedEarly,
    /// A table is dropped before its run is visible.
    TableDroppedEarly,
    /// Runs that are not adjacent are merged.
    RunsApartMerged,
    /// A run is trusted without a check against the log.
    ForeignRunBelieved,
    /// A run that is found to be damaged stays listed.
    DamagedRunKept,
    /// The writer looks only at the active table.
    NewestTableAlone,
    /// The writer looks at the newest snapshot, not at the one that the batch was looked up in.
    NewestViewDecides,
    /// Look-ups of a batch count as current at the time of the decision.
    PriorTakenForNew,
    /// A condition is checked only against the active table.
    ConditionsOfNewestTable,
    /// After a poison, the index keeps events that never became durable.
    PoisonKeepsTable,
    /// A filter denies some of its keys.
    FilterForgets,
    /// The ids of a batch are looked up only in the newest run.
    IdsOfNewestRun,
    /// Some streams of a run are left out of the stream heads.
    HeadsForget,
    /// Evicted stream heads count as streams that do not exist.
    HeadsForgetTooMuch,
    /// A full table that is not a run yet is skipped, although its stream heads were evicted.
    ForgottenTableSkipped,
    /// The checksums of a run's blocks are ignored.
    NoBlockChecksum,
    /// A command found on the disk is not compared with its frame.
    CommandNotProven,
    /// An incomplete index is used during a rebuild.
    HalfBuiltIndexAsked,
    /// The manifest does not record the newest synced frame.
    SyncedNotRecorded,
    /// A frame is not compared with the frame of the same number in the manifest.
    NamedFrameNotCompared,
    /// A backup replaces one that holds other events.
    BackupOverOtherHistory,
}

impl Bug {
    /// Every bug.
    #[cfg(feature = "planted-bugs")]
    pub const ALL: &[Self] = &[
        Self::AckBeforeSync,
        Self::NoFolderSync,
        Self::RetryFailedSync,
        Self::TrustPageCache,
        Self::NoWatermark,
        Self::AlwaysTruncate,
        Self::IdsNotRebuilt,
        Self::KeysNotRebuilt,
        Self::PublishBeforeSync,
        Self::NoRecordChecks,
        Self::ManifestNotSynced,
        Self::ManifestNotRenamedDurably,
        Self::OlderManifestTrusted,
        Self::NamesTrusted,
        Self::LockIgnored,
        Self::UnlistedRemoved,
        Self::FullDiskHides,
        Self::ShortWriteIgnored,
        Self::NoPoison,
        Self::GatheredOutlivesPoison,
        Self::RollBeforeSync,
        Self::SpareBeforeListed,
        Self::ClaimsUnsynced,
        Self::IdleClaimsItself,
        Self::MarkBeyondDurable,
        Self::PublishBeforeIndex,
        Self::ClockGoesBack,
        Self::ClosingIsNotWritten,
        Self::NoChainCheck,
        Self::WatermarkBehindIgnored,
        Self::LaterSegmentsIgnored,
        Self::UnprovenIsTorn,
        Self::QuarantineSkipped,
        Self::NoZerosAfterCut,
        Self::CutBeforeListed,
        Self::CopyNotSynced,
        Self::BeyondNotWrittenAgain,
        Self::ShortSpareUsed,
        Self::TornHeaderUnproven,
        Self::CutFileUnproven,
        Self::UnlistedCopyKept,
        Self::NoBodyChecksum,
        Self::RunNotListed,
        Self::RunNotSynced,
        Self::RunBeyondDurable,
        Self::MergedRemovedEarly,
        Self::TableDroppedEarly,
        Self::RunsApartMerged,
        Self::ForeignRunBelieved,
        Self::DamagedRunKept,
        Self::NewestTableAlone,
        Self::NewestViewDecides,
        Self::PriorTakenForNew,
        Self::ConditionsOfNewestTable,
        Self::PoisonKeepsTable,
        Self::FilterForgets,
        Self::IdsOfNewestRun,
        Self::HeadsForget,
        Self::HeadsForgetTooMuch,
        Self::ForgottenTableSkipped,
        Self::NoBlockChecksum,
        Self::CommandNotProven,
        Self::HalfBuiltIndexAsked,
        Self::SyncedNotRecorded,
        Self::NamedFrameNotCompared,
        Self::BackupOverOtherHistory,
    ];
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
