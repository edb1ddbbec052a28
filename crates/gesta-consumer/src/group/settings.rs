//! The settings of a group.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use gesta_core::{Place, Query};

use super::limits::{ACK_TIME_MAX, ACK_TIME_MIN, BACK_OFF_MAX, IN_FLIGHT_MAX, RUN_MAX};

/// The events of a group and how they are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// The events that the group delivers.
    ///
    /// An item that is added to the query of an existing group selects only events that are appended from then on.
    pub query: Query,
    /// The place after which a new group begins. It has no effect on a group that exists.
    pub from: Place,
    /// The time within which a member settles or renews a delivery, 100 ms to 24 h.
    pub ack_time: Duration,
    /// The attempts after which an event counts as poison; `None`: it is tried for ever.
    pub attempts_max: Option<NonZeroU32>,
    /// The pauses between the attempts of one event.
    pub back_off: BackOff,
    /// The most events in one delivery, at most 1,000.
    pub run_max: NonZeroU32,
    /// The most events in deliveries that are not settled, at most 4,096.
    pub in_flight_max: NonZeroU32,
    /// The effect of an event that counts as poison. With [`Order::Log`] it is always [`OnPoison::Stop`].
    pub on_poison: OnPoison,
    /// The order in which events are delivered.
    pub order: Order,
}

/// Pauses that begin with one duration and double up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// The first pause.
    pub first: Duration,
    /// The longest pause, at most 24 h.
    pub max: Duration,
}

/// The effect of an event that failed too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnPoison {
    /// Its stream is parked. All other streams go on.
    #[default]
    Park,
    /// The group stops until an operator resumes it.
    Stop,
}

/// The order in which the events of a group are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// The events of one stream come in order. Different streams are independent.
    #[default]
    Stream,
    /// The events of one partition come in the order of the log, one delivery at a time.
    Log,
}

/// The number of a change of a group's settings. Each change raises it; progress does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SettingsVersion(u64);

impl SettingsVersion {
    /// The version of the settings that a group is created with.
    pub const FIRST: Self = Self(1);

    /// Creates a version from its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the version after the next change.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for SettingsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A setting is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {given}: {allowed}")]
pub struct SettingsError {
    /// The setting, as its field is named.
    pub setting: &'static str,
    /// The value that was given.
    pub given: String,
    /// The allowed values.
    pub allowed: String,
}

impl GroupSettings {
    /// Creates settings for a query, beginning at the start of the log; the others have their defaults.
    ///
    /// These are: 30 s to acknowledge, 10 attempts, pauses of 1 s to 5 min, runs of 32 events, 1,000 events in flight, poison is parked,
    /// streams are in order.
    #[must_use]
    pub fn new(query: Query) -> Self {
        const {
            assert!(RUN_MAX >= 32 && IN_FLIGHT_MAX >= 1_000, "the defaults are within the limits");
        }
        Self {
            query,
            from: Place::Start,
            ack_time: Duration::from_secs(30),
            attempts_max: NonZeroU32::new(10),
            back_off: BackOff { first: Duration::from_secs(1), max: Duration::from_secs(300) },
            run_max: const { NonZeroU32::new(32).unwrap() },
            in_flight_max: const { NonZeroU32::new(1_000).unwrap() },
            on_poison: OnPoison::Park,
            order: Order::Stream,
        }
    }

    /// Returns these settings with the query of a group: its items, and those of these settings that it lacks.
    #[must_use]
    pub fn added_to(&self, group: &Self) -> Self {
        let query = match (&group.query, &self.query) {
            (Query::All, _) | (_, Query::All) => Query::All,
            (Query::Any(items), Query::Any(own)) => {
                let added = own.iter().filter(|item| !items.contains(item));
                Query::Any(items.iter().chain(added).cloned().collect())
            }
        };
        Self { query, from: group.from.clone(), ..self.clone() }
    }

    /// Checks that every setting is in its range. The store checks the query.
    ///
    /// # Errors
    /// [`SettingsError`] names the first setting that is not.
    pub fn check(&self) -> Result<(), SettingsError> {
        let error = |setting, given: String, allowed: String| Err(SettingsError { setting, given, allowed });
        if !(ACK_TIME_MIN..=ACK_TIME_MAX).contains(&self.ack_time) {
            let allowed = format!("give {ACK_TIME_MIN:?} to {ACK_TIME_MAX:?}");
            return error("ack_time", format!("{:?}", self.ack_time), allowed);
        }
        let BackOff { first, max } = self.back_off;
        if first > max || max > BACK_OFF_MAX {
            let allowed =
                format!("give the first pause and one that is as long or longer, at most {BACK_OFF_MAX:?}");
            return error("back_off", format!("{first:?} to {max:?}"), allowed);
        }
        for (setting, given, limit) in
            [("run_max", self.run_max, RUN_MAX), ("in_flight_max", self.in_flight_max, IN_FLIGHT_MAX)]
        {
            if given.get() > limit {
                return error(setting, given.to_string(), format!("at most {limit} events are allowed"));
            }
        }
        Ok(())
    }
}

impl BackOff {
    /// Returns the pause after a number of failed attempts: `first` after one, doubled for each further one, at most `max`.
    #[must_use]
    pub fn pause(&self, attempts: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let back_off = BackOff { first: Duration::from_secs(1), max: Duration::from_secs(300) };
        let pauses = [0, 1, 2, 3, 9, 10, 33, u32::MAX].map(|attempts| back_off.pause(attempts).as_secs());
        assert_eq!(pauses, [1, 1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn settings_are_refused_outside_their_range() {
        let settings = GroupSettings::new(Query::All);
        assert_eq!(settings.check(), Ok(()));
        let number = |number| NonZeroU32::new(number).unwrap();
        let seconds = Duration::from_secs;
        let wrong = [
            ("ack_time", GroupSettings { ack_time: Duration::from_millis(99), ..settings.clone() }),
            ("ack_time", GroupSettings { ack_time: seconds(86_401), ..settings.clone() }),
            (
                "back_off",
                GroupSettings {
                    back_off: BackOff { first: seconds(2), max: seconds(1) },
                    ..settings.clone()
                },
            ),
            ("run_max", GroupSettings { run_max: number(1_001), ..settings.clone() }),
            ("in_flight_max", GroupSettings { in_flight_max: number(4_097), ..settings.clone() }),
        ];
        for (setting, settings) in wrong {
            assert_eq!(settings.check().map_err(|error| error.setting), Err(setting));
        }
    }
}
