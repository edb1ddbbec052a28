//! Bugs that the simulation must find. The feature `planted-bugs` lets a test switch each of them on.

/// A bug that can be planted.
#[cfg_attr(not(feature = "planted-bugs"), expect(unreachable_pub, reason = "the feature publishes it"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A group whose publishes were not answered counts as surely not written.
    TimeoutIsRefusal,
    /// A refused publish makes the doubt about an earlier one forgotten.
    RefusalEndsDoubt,
    /// Whatever message comes next is taken for the one in flight.
    AnyMessageIsOurs,
    /// The acknowledgement of a message that was given up counts for the one in flight.
    LateAckCounts,
    /// A group is answered before the copy has it.
    AnswerBeforeCopy,
    /// Messages have no random bytes.
    NoRandomBytes,
    /// The leader is never asked for the message before.
    NumberIsIdentity,
    /// A leader that cannot tell the digest of the last message takes no writes any more.
    MuteLeaderStops,
    /// A group is published though no copy would take its message.
    FormUnchecked,
    /// A message that the copy did not take counts as applied.
    FailedApplyForgotten,
    /// An answer of the leader counts for the time at which it came, however late it was.
    LateLeaderCounts,
    /// The digest of the message before is not compared.
    ChainIgnored,
    /// After an election, only the last message of the copy is compared.
    ElectionIgnored,
    /// A cluster that ends before the copy is not noticed.
    BehindIgnored,
    /// A consumer that leaves out a message is believed.
    GapIgnored,
    /// A consumer that stands still is never made anew.
    ConsumerForEver,
    /// A refusal that newer events may overturn is told without a proof that there are none.
    RefusalUnproven,
    /// A repeat of a batch of the same group counts as written, though the group may not be.
    RepeatInGroupIsWritten,
    /// The clock of the process is not compared with the server's.
    ClockUnchecked,
}

#[cfg(feature = "planted-bugs")]
impl Bug {
    /// All bugs.
    pub const ALL: &[Self] = &[
        Self::TimeoutIsRefusal,
        Self::RefusalEndsDoubt,
        Self::AnyMessageIsOurs,
        Self::LateAckCounts,
        Self::AnswerBeforeCopy,
        Self::NoRandomBytes,
        Self::NumberIsIdentity,
        Self::MuteLeaderStops,
        Self::FormUnchecked,
        Self::FailedApplyForgotten,
        Self::LateLeaderCounts,
        Self::ChainIgnored,
        Self::ElectionIgnored,
        Self::BehindIgnored,
        Self::GapIgnored,
        Self::ConsumerForEver,
        Self::RefusalUnproven,
        Self::RepeatInGroupIsWritten,
        Self::ClockUnchecked,
    ];
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in every machine that this thread drives; `None` removes it.
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
