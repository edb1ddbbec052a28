//! Mistakes that the simulation must find. Unit tests switch them on, one at a time; nothing else can.

/// A mistake that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A batch that rests on undurable events expects a version only.
    NoAnchor,
    /// A refusal is given without a look at what others wrote.
    RefusedUnread,
    /// A refusal is given before the batches that it rests on are written.
    RefusedUnsettled,
    /// A refused command with a key does not ask for its repeat again.
    RefusedRepeat,
    /// A refusal over several streams is given without a look for a place in the log where all were so.
    NoCommonPlace,
    /// A decision over a query is made while others decide on the same streams.
    OpenGates,
    /// A gate is never opened by others.
    GateForEver,
    /// A gate is not renewed while its owner gets on.
    GateNotRenewed,
    /// A state is kept although the batch that it rests on is not written.
    FailedStateKept,
    /// A state that a panic left half folded is used.
    HalfFoldedState,
    /// The other states of a stream pass over a batch instead of folding it.
    OtherStatesSkip,
    /// A refusal after a doubt counts as "not written".
    DoubtForgotten,
    /// A batch that was only ever refused is told as in doubt, because of one that it rests on.
    DoubtInherited,
    /// A caller polls its own batch only, not those that it rests on.
    OwnBatchOnly,
    /// A batch that came too early is sent again only when its predecessor is written.
    NoPass,
    /// A settled batch keeps what it rested on.
    NeedsKept,
    /// An entity has any number of batches in flight.
    NoWindow,
    /// A command does not look for the same key in flight.
    NoKeysInFlight,
}

crate::planted::switch_of_bugs!();
