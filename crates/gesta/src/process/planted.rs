//! Mistakes that the simulations must find. Unit tests switch them on, one at a time; nothing else can.

/// A mistake that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The key of an input lacks its stream.
    BareId,
    /// A deferred input is recorded as taken.
    DeferRecords,
    /// A reaction is appended whatever was recorded since the process was loaded.
    NoExpectation,
    /// A reaction is appended without a key.
    NoKey,
    /// A command is sent without the key of its effect.
    NoEffectKey,
    /// A timer that was set again also fires for the first time that it was set.
    NoReplace,
    /// A timer expects the last timer event of its stream, not the last event.
    QueryOnly,
    /// A timer fires whatever was recorded since its stream was read.
    FireBlind,
    /// A timer fires although the clock went back.
    Early,
    /// What lies beyond the horizon is never read again.
    HorizonForgotten,
    /// Timers before the old horizon are taken again.
    AllAgain,
    /// The place passes timers that are kept.
    PlaceAtHead,
    /// The place passes timers that were left out.
    FarNotCounted,
}

impl Bug {
    #[cfg(test)]
    pub(crate) const ALL: &[Self] = &[
        Self::BareId,
        Self::DeferRecords,
        Self::NoExpectation,
        Self::NoKey,
        Self::NoEffectKey,
        Self::NoReplace,
        Self::QueryOnly,
        Self::FireBlind,
        Self::Early,
        Self::HorizonForgotten,
        Self::AllAgain,
        Self::PlaceAtHead,
        Self::FarNotCounted,
    ];
}

crate::planted::switch_of_bugs!();
