//! Mistakes that the simulation of a member must find. Unit tests switch them on, one at a time; nothing else can.

/// A mistake that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// A poll does not list what a report settles at the same time.
    ReportedNotListed,
    /// Nothing is renewed between polls.
    NotRenewed,
    /// A call that did not arrive counts as a renewal.
    LostRenews,
    /// The settlements of a call that failed are not sent again.
    SettlementLost,
    /// A worker goes on with a delivery that the group took away.
    NotAbandoned,
    /// A member that stops does not give back what no worker has begun.
    QueueKept,
}

impl Bug {
    #[cfg(test)]
    pub(super) const ALL: &[Self] = &[
        Self::ReportedNotListed,
        Self::NotRenewed,
        Self::LostRenews,
        Self::SettlementLost,
        Self::NotAbandoned,
        Self::QueueKept,
    ];
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a mistake in every member that this thread drives; `None` removes it.
#[cfg(test)]
pub(super) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Returns true if the mistake is planted.
#[cfg(test)]
pub(super) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Returns true if the mistake is planted: none is.
#[cfg(not(test))]
pub(super) const fn planted(_bug: Bug) -> bool {
    false
}
