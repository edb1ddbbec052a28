//! The one call of a member: it settles what it has handled, renews what it holds, and takes more.

use std::time::Duration;

use super::delivery::{Delivery, DeliveryId};
use super::limits::{BACK_OFF_MAX, NAMED_DELIVERIES_MAX, TAKE_WAIT_MAX};
use super::name::MemberName;

/// A call of a member. It settles first, then looks at `holds`, then takes deliveries.
///
/// A member has one open call. A newer one ends the older with an empty answer. A member counts as alive while a call is open, and
/// for `ack_time` after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// The caller. A name belongs to one process.
    pub member: MemberName,
    /// The most events to take. With 0 the call only settles and renews, and answers at once.
    pub max: u32,
    /// The time to wait for a delivery, at most 60 s.
    pub wait: Duration,
    /// The deliveries that the member has in hand and does not settle in this call. They are renewed.
    ///
    /// What was delivered to this member and is not listed was lost on its way, and is delivered again under a new id. Without a list,
    /// which is allowed only if `max` is 0, every delivery of the member is renewed.
    pub holds: Option<Vec<DeliveryId>>,
    /// The deliveries that the member has finished with.
    pub settle: Vec<Settlement>,
}

/// The end of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The delivery.
    pub id: DeliveryId,
    /// The number of events that were handled, from the front; `None` means all.
    pub handled: Option<usize>,
    /// The fate of the first event that was not handled. It needs `handled`. Without it, the rest is delivered again at once.
    pub then: Option<Then>,
    /// The reason why that event was not handled, for people.
    pub error: Option<String>,
}

/// The fate of the first event of a delivery that was not handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It failed. It is tried again after a pause, and counts as poison after `attempts_max` attempts.
    Retry {
        /// The pause, at most 24 h; `None` means the back-off of the group.
        after: Option<Duration>,
    },
    /// It cannot be handled here and now. It is delivered again after a pause, and no attempt is counted.
    ///
    /// For a member that leaves, for a target that is down, and for events of an unknown type or of a newer schema version.
    Release {
        /// The pause, at most 24 h; `None` means the back-off of the group.
        after: Option<Duration>,
    },
    /// It can never be handled: its stream is parked at once.
    Park,
    /// It is passed for good.
    Skip {
        /// The reason, for people.
        reason: String,
    },
    /// The target is wrong, not the event: the group stops until an operator resumes it.
    Stop,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// The deliveries; none if the wait ended first.
    pub deliveries: Vec<Delivery>,
    /// The deliveries of `settle` and `holds` that had no effect. The member must stop work on them.
    pub refused: Vec<Refused>,
}

/// A delivery that a call named without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The delivery.
    pub id: DeliveryId,
    /// The reason.
    pub why: RefusedWhy,
}

/// The reason why naming a delivery had no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusedWhy {
    /// It is not in the hands of this member: its events were delivered again or settled, or the server started again.
    Stale,
    /// The settlement counts more handled events than the delivery has. The delivery is still in the hands of the member.
    TooMany,
}

/// A call is not well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TakeFormError {
    /// `holds` is missing.
    #[error(
        "`holds` is missing: list the deliveries in hand, or ask for at most 0 events to settle and renew only"
    )]
    NoHolds,
    /// A settlement has a fate for the next event, but does not say which one that is.
    #[error("delivery {id} is settled with `then` but without `handled`: give the number of handled events")]
    ThenWithoutHandled {
        /// The delivery.
        id: DeliveryId,
    },
    /// A delivery is named twice.
    #[error("delivery {id} is named twice: settle it or list it in `holds`, once")]
    NamedTwice {
        /// The delivery.
        id: DeliveryId,
    },
    /// The call names too many deliveries.
    #[error("the call names {named} deliveries: at most {named_max} are allowed")]
    TooMany {
        /// The deliveries in `holds` and `settle`.
        named: usize,
        /// The most that are allowed.
        named_max: usize,
    },
    /// The wait is too long.
    #[error("the wait is {wait:?}: at most {wait_max:?} is allowed")]
    Wait {
        /// The wait.
        wait: Duration,
        /// The longest wait.
        wait_max: Duration,
    },
    /// The pause before another attempt is too long.
    #[error("delivery {id} asks for a pause of {after:?}: at most {after_max:?} is allowed")]
    After {
        /// The delivery.
        id: DeliveryId,
        /// The pause.
        after: Duration,
        /// The longest pause.
        after_max: Duration,
    },
}

impl Settlement {
    /// Settles a delivery whose events were all handled.
    #[must_use]
    pub const fn handled(id: DeliveryId) -> Self {
        Self { id, handled: None, then: None, error: None }
    }

    /// Settles a delivery whose first `handled` events were handled, with the fate of the next one.
    #[must_use]
    pub const fn then(id: DeliveryId, handled: usize, then: Then) -> Self {
        Self { id, handled: Some(handled), then: Some(then), error: None }
    }
}

impl Take {
    /// Takes at most `max` events for a member that holds nothing and waits up to `wait`.
    #[must_use]
    pub const fn new(member: MemberName, max: u32, wait: Duration) -> Self {
        Self { member, max, wait, holds: Some(Vec::new()), settle: Vec::new() }
    }

    /// Checks the form of the call.
    ///
    /// # Errors
    /// [`TakeFormError`] names the first fault.
    pub fn check(&self) -> Result<(), TakeFormError> {
        if self.holds.is_none() && self.max > 0 {
            return Err(TakeFormError::NoHolds);
        }
        let holds = self.holds.as_deref().unwrap_or_default();
        let named = holds.len() + self.settle.len();
        if named > NAMED_DELIVERIES_MAX {
            return Err(TakeFormError::TooMany { named, named_max: NAMED_DELIVERIES_MAX });
        }
        if self.wait > TAKE_WAIT_MAX {
            return Err(TakeFormError::Wait { wait: self.wait, wait_max: TAKE_WAIT_MAX });
        }
        self.settle.iter().try_for_each(check_settlement)?;
        let mut ids =
            holds.iter().copied().chain(self.settle.iter().map(|settled| settled.id)).collect::<Vec<_>>();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(TakeFormError::NamedTwice { id: pair[0] }),
            None => Ok(()),
        }
    }
}

fn check_settlement(settlement: &Settlement) -> Result<(), TakeFormError> {
    let id = settlement.id;
    if settlement.then.is_some() && settlement.handled.is_none() {
        return Err(TakeFormError::ThenWithoutHandled { id });
    }
    match settlement.then {
        Some(Then::Retry { after: Some(after) } | Then::Release { after: Some(after) })
            if after > BACK_OFF_MAX =>
        {
            Err(TakeFormError::After { id, after, after_max: BACK_OFF_MAX })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::StoreId;

    use super::*;

    #[test]
    fn a_call_is_refused_if_it_is_not_well_formed() {
        let id = |counter| DeliveryId::new(StoreId::from_bytes([1; 16]), 1, counter);
        let take = || Take::new("m".parse().unwrap(), 1, Duration::ZERO);
        let settled = |settlement| Take { settle: vec![settlement], ..take() };
        let day = Duration::from_secs(86_400);
        let retry = |after| settled(Settlement::then(id(1), 0, Then::Retry { after: Some(after) }));
        let right = [
            take(),
            Take { max: 0, holds: None, ..take() },
            Take { holds: Some(vec![id(1), id(2)]), ..settled(Settlement::handled(id(3))) },
            Take { wait: Duration::from_secs(60), ..take() },
            retry(day),
        ];
        for take in right {
            assert_eq!(take.check(), Ok(()), "{take:?}");
        }
        let wrong = [
            Take { holds: None, ..take() },
            Take { holds: Some(vec![id(1), id(1)]), ..take() },
            Take { holds: Some(vec![id(1)]), ..settled(Settlement::handled(id(1))) },
            settled(Settlement { handled: None, ..Settlement::then(id(1), 0, Then::Park) }),
            Take { wait: Duration::from_secs(61), ..take() },
            retry(day + Duration::from_nanos(1)),
            Take { holds: Some((0..10_001).map(id).collect()), ..take() },
        ];
        for take in wrong {
            assert!(take.check().is_err(), "{take:?}");
        }
    }
}
