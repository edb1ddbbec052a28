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
    /// The folder is not synced after the manifest was renamed into it.
    ManifestNotRenamedDurably,
    /// A manifest that does not prove itself is replaced by the one before.
    OlderManifestTrusted,
    /// The names that recovery reads are believed before they are durable.
    NamesTrusted,
    /// Another process may open the log too.
    LockIgnored,
    /// Segments that the manifest does not list are removed, whatever they hold.
    UnlistedRemoved,
    /// On a full disk, recovery leaves out what is not known to be synced.
    FullDiskHides,
    /// A write of which a part reached the file counts as done.
    ShortWriteIgnored,
    /// After a write or sync that failed, the writer goes on.
    NoPoison,
    /// What was gathered while a write or sync failed is written all the same.
    GatheredOutlivesPoison,
    /// The last group of a segment is not synced before the log goes on in the next one.
    RollBeforeSync,
    /// A segment is handed to the writer before the manifest lists it.
    SpareBeforeListed,
    /// Frames claim as synced what is written together with them.
    ClaimsUnsynced,
    /// An idle frame claims that it is synced itself.
    IdleClaimsItself,
    /// A seal tells the manifest of a frame more than is durable.
    SealBeyondDurable,
    /// The position is published before the index holds its events.
    PublishBeforeIndex,
    /// `recorded_at` follows a clock that goes back.
    ClockGoesBack,
    /// A frame follows any frame with the number before its own.
    NoChainCheck,
    /// Frames behind a bad place do not say what is durable.
    WatermarkBehindIgnored,
    /// The last segment that is used is taken to be the first that the manifest does not call sealed.
    LaterSegmentsIgnored,
    /// Whatever is not proven to be acknowledged counts as torn.
    UnprovenIsTorn,
    /// Torn bytes are cut and not kept.
    QuarantineSkipped,
    /// Torn bytes are left where they are.
    NoZerosAfterCut,
    /// Frames in doubt are cut where they stand before their copy is listed.
    CutBeforeListed,
    /// The copy of frames in doubt is not synced.
    CopyNotSynced,
    /// What is in doubt and has no events is not written again.
    BeyondNotWrittenAgain,
    /// A spare that lost its room is used all the same.
    ShortSpareUsed,
    /// The part of a header that a crash tore off does not count as zeros.
    TornHeaderUnproven,
    /// What lies behind the end of a file does not count as zeros.
    CutFileUnproven,
    /// A copy of frames in doubt that was never listed counts as a sign of a stale manifest.
    UnlistedCopyKept,
    /// The checksum of a frame's body is not looked at.
    NoBodyChecksum,
    /// A run is shown before the manifest lists it durably.
    RunNotListed,
    /// A run is listed before it was synced.
    RunNotSynced,
    /// A table ends, to be written as a run, before its last group was synced.
    RunBeyondDurable,
    /// Runs that were merged are removed before the manifest without them is durable.
    MergedRemovedEarly,
    /// A table is dropped before its run is shown.
    TableDroppedEarly,
    /// Runs are merged that do not follow one another.
    RunsApartMerged,
    /// A run is believed without a look at the log that it speaks of.
    ForeignRunBelieved,
    /// A run that turned out to be damaged is listed on.
    DamagedRunKept,
    /// The writer looks at the table that grows and at no other.
    NewestTableAlone,
    /// The writer looks at the newest view, not at the one that a batch was looked up in.
    NewestViewDecides,
    /// What was looked up for a batch is taken to be as new as the decision.
    PriorTakenForNew,
    /// A condition is held against the table that grows and against no other.
    ConditionsOfNewestTable,
    /// After a poison, the index holds on to what never became durable.
    PoisonKeepsTable,
    /// A filter says no for some of its keys.
    FilterForgets,
    /// Ids of a batch are sought in the newest run and in no other.
    IdsOfNewestRun,
    /// Some streams of a run are not learned with the others.
    HeadsForget,
    /// Streams are forgotten, and taken for streams that are not there.
    HeadsForgetTooMuch,
    /// A table that waits to become a run is not asked, though its streams were forgotten.
    ForgottenTableSkipped,
    /// The checksums of a run's blocks are not looked at.
    NoBlockChecksum,
    /// A command that stands on the disk is not held against what its frame says.
    CommandNotProven,
    /// The index is asked while it is built anew.
    HalfBuiltIndexAsked,
    /// The manifest does not record the newest frame that was synced.
    SyncedNotRecorded,
    /// A run entry of the manifest proves nothing of the log.
    RunEntriesProveNothing,
    /// A frame is not compared with the frame of its number that the manifest names.
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
        Self::SealBeyondDurable,
        Self::PublishBeforeIndex,
        Self::ClockGoesBack,
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
        Self::RunEntriesProveNothing,
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
