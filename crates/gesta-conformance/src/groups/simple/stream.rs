//! What is unfinished of one stream, or of one partition in the order of the log.

use std::collections::VecDeque;
use std::time::Duration;

use gesta_consumer::group::{DeliveryId, MemberName, Parked, Then};
use gesta_core::{RecordedEvent, Timestamp};

use super::GroupBug;

#[derive(Clone, Default)]
pub(super) struct Stream {
    /// Unfinished events, in order.
    pub(super) events: VecDeque<RecordedEvent>,
    pub(super) delivery: Option<InFlight>,
    /// The member that got the last delivery.
    pub(super) last: Option<MemberName>,
    /// Failed attempts of the first event.
    pub(super) attempts: u32,
    /// Failures of the first event, counted or not, for the pause.
    pub(super) failures: u32,
    /// Nothing is delivered before this time.
    pub(super) ready: Duration,
    /// The first event failed: events come alone until it has passed.
    pub(super) alone: bool,
    /// The first expiry and the first giving again wait for nothing.
    pub(super) forgiven: bool,
    pub(super) parked: Option<Parked>,
}

#[derive(Clone)]
pub(super) struct InFlight {
    pub(super) id: DeliveryId,
    pub(super) member: MemberName,
    pub(super) events: usize,
    pub(super) deadline: Duration,
    pub(super) expired: bool,
}

/// A failure of the first event.
pub(super) struct Failed<'a> {
    pub(super) counts: bool,
    pub(super) waits: bool,
    pub(super) pause: Duration,
    pub(super) attempts_max: Option<u32>,
    pub(super) error: Option<&'a str>,
    pub(super) by: &'a str,
    pub(super) at: Timestamp,
}

impl Stream {
    /// The first events were handled or skipped.
    pub(super) fn pass(&mut self, count: usize) {
        if count > 0 {
            self.events.drain(..count);
            (self.attempts, self.failures, self.alone, self.forgiven) = (0, 0, false, false);
            self.ready = Duration::ZERO;
        }
    }

    /// Returns true if the event is poison now.
    pub(super) fn fail(&mut self, now: Duration, failed: &Failed<'_>, bug: Option<GroupBug>) -> bool {
        self.failures += 1;
        if (failed.counts && bug != Some(GroupBug::CountsNoAttempts)) || bug == Some(GroupBug::CountsReleases)
        {
            self.attempts += 1;
        }
        self.alone = bug != Some(GroupBug::KeepsRunsAfterAFailure);
        if failed.waits && bug != Some(GroupBug::RetriesAtOnce) {
            self.ready = now + failed.pause;
        }
        failed.counts && failed.attempts_max.is_some_and(|max| self.attempts >= max)
    }

    pub(super) fn park(&mut self, failed: &Failed<'_>, bug: Option<GroupBug>) {
        let Some(first) = self.events.front() else { return };
        self.parked = Some(Parked {
            stream: first.stream().parse().expect("a stream"),
            version: first.version(),
            position: first.position(),
            attempts: self.attempts,
            error: failed.error.map(str::to_owned).filter(|_| bug != Some(GroupBug::ForgetsErrors)),
            by: Some(failed.by.to_owned()),
            since: Some(failed.at),
        });
    }

    /// It may go on, from its first event.
    pub(super) fn release(&mut self) {
        let was_parked = self.parked.take().is_some();
        (self.attempts, self.failures, self.ready) = (0, 0, Duration::ZERO);
        self.alone = was_parked || self.alone;
    }

    pub(super) fn is_free(&self, now: Duration) -> bool {
        let in_hand = self.delivery.as_ref().is_some_and(|delivery| !delivery.expired);
        !in_hand && self.parked.is_none() && self.ready <= now && !self.events.is_empty()
    }
}

/// True if a fate counts an attempt.
pub(super) fn counts(then: &Then) -> bool {
    matches!(then, Then::Retry { .. } | Then::Park)
}
