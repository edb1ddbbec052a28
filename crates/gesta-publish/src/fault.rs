//! Why a message was not confirmed, and the fate of its event: for all brokers the same.

use std::time::Duration;

use gesta_consumer::Failed;
use gesta_consumer::group::Then;

use crate::limits::RECONNECT_PAUSE;

/// A message was not confirmed. It may have arrived all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The target is down or slow: the event comes again after the pause, or after the group's.
    Away {
        /// The pause that the target asks for.
        after: Option<Duration>,
        /// The cause.
        reason: String,
    },
    /// The connection is of no use any more: the event comes again, on another one.
    Broken {
        /// The cause.
        reason: String,
    },
    /// The target can never take this event, and takes others: its stream is parked.
    Unfit {
        /// The cause.
        reason: String,
    },
    /// The target takes no event until somebody changes something: the group stops.
    Misdirected {
        /// The cause, and what helps.
        reason: String,
    },
}

impl Fault {
    /// The cause, for people.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Away { reason, .. }
            | Self::Broken { reason }
            | Self::Unfit { reason }
            | Self::Misdirected { reason } => reason,
        }
    }

    /// The end of a delivery whose first `handled` events were confirmed, and the next one was not.
    pub(crate) fn after(self, handled: usize) -> Failed {
        let (then, error) = match self {
            Self::Away { after, reason } => (Then::Release { after }, reason),
            Self::Broken { reason } => (Then::Release { after: Some(RECONNECT_PAUSE) }, reason),
            Self::Unfit { reason } => (Then::Park, reason),
            Self::Misdirected { reason } => (Then::Stop, reason),
        };
        Failed { handled, then, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_one_fate() {
        let reason = || "why".to_owned();
        let second = Duration::from_secs(1);
        let cases = [
            (Fault::Away { after: None, reason: reason() }, Then::Release { after: None }),
            (Fault::Away { after: Some(second), reason: reason() }, Then::Release { after: Some(second) }),
            (Fault::Broken { reason: reason() }, Then::Release { after: Some(RECONNECT_PAUSE) }),
            (Fault::Unfit { reason: reason() }, Then::Park),
            (Fault::Misdirected { reason: reason() }, Then::Stop),
        ];
        for (fault, then) in cases {
            assert_eq!(fault.after(3), Failed { handled: 3, then, error: reason() });
        }
    }
}
