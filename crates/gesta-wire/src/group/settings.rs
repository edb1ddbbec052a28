//! The settings of a group in JSON.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use gesta_consumer::group::limits::{ACK_TIME_MAX, ACK_TIME_MIN, BACK_OFF_MAX, IN_FLIGHT_MAX, RUN_MAX};
use gesta_consumer::group::{BackOff, GroupSettings, OnPoison, Order};
use gesta_core::Place;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{GroupJsonError, millis};
use crate::query::QueryJson;
use crate::schema::{about, between, named, nullable, one_of, request};

/// The body of `PUT /groups/{group}`. What is left out has its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupSettingsJson<'a> {
    #[serde(borrow)]
    query: QueryJson<'a>,
    #[serde(borrow, default)]
    from: Option<Cow<'a, str>>,
    #[serde(default)]
    ack_ms: Option<u64>,
    /// `null` means that events are tried for ever.
    #[serde(default, deserialize_with = "present")]
    attempts_max: Option<Option<NonZeroU32>>,
    #[serde(default)]
    back_off_ms: Option<[u64; 2]>,
    #[serde(default)]
    run_max: Option<NonZeroU32>,
    #[serde(default)]
    in_flight_max: Option<NonZeroU32>,
    #[serde(default)]
    on_poison: Option<OnPoisonJson>,
    #[serde(default)]
    order: Option<OrderJson>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OnPoisonJson {
    Park,
    Stop,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OrderJson {
    Stream,
    Log,
}

/// A member that is there, also as `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl GroupSettingsJson<'_> {
    /// The settings. Their ranges are not checked.
    ///
    /// # Errors
    /// [`GroupJsonError`] names what is malformed.
    pub fn to_settings(&self) -> Result<GroupSettings, GroupJsonError> {
        let mut settings = GroupSettings::new(self.query.to_query()?);
        if let Some(from) = self.from.as_deref() {
            settings.from = place("from", from)?;
        }
        if let Some(ack) = self.ack_ms {
            settings.ack_time = Duration::from_millis(ack);
        }
        if let Some(attempts) = self.attempts_max {
            settings.attempts_max = attempts;
        }
        if let Some([first, max]) = self.back_off_ms.map(|pauses| pauses.map(Duration::from_millis)) {
            settings.back_off = BackOff { first, max };
        }
        settings.run_max = self.run_max.unwrap_or(settings.run_max);
        settings.in_flight_max = self.in_flight_max.unwrap_or(settings.in_flight_max);
        settings.order = match self.order {
            Some(OrderJson::Log) => Order::Log,
            Some(OrderJson::Stream) | None => Order::Stream,
        };
        settings.on_poison = match (self.on_poison, settings.order) {
            (Some(OnPoisonJson::Stop), _) | (None, Order::Log) => OnPoison::Stop,
            (Some(OnPoisonJson::Park), _) | (None, Order::Stream) => OnPoison::Park,
        };
        Ok(settings)
    }
}

/// Reads a place of a group: `start`, `now`, or a checkpoint.
pub(super) fn place(member: &'static str, text: &str) -> Result<Place, GroupJsonError> {
    match text {
        "start" => Ok(Place::Start),
        "now" => Ok(Place::End),
        token => token.parse().map(Place::At).map_err(|source| GroupJsonError::Place { member, source }),
    }
}

pub(crate) fn group_settings_schema() -> Value {
    let millis = |min: Duration, max: Duration| between(millis(min), millis(max));
    let pause = || millis(Duration::ZERO, BACK_OFF_MAX);
    let from = json!({"anyOf": [one_of(&["start", "now"]), named("Checkpoint")]});
    let pauses = json!({"type": "array", "prefixItems": [pause(), pause()], "items": false, "minItems": 2});
    let attempts = nullable(between(1, u32::MAX.into()));
    request(vec![
        ("query", named("Query")),
        ("from?", nullable(about(from, "Where a new group begins; the default is `start`."))),
        (
            "ackMs?",
            nullable(about(millis(ACK_TIME_MIN, ACK_TIME_MAX), "The time to settle or renew a delivery.")),
        ),
        (
            "attemptsMax?",
            about(attempts, "The attempts after which an event is poison; `null`: it is tried for ever."),
        ),
        ("backOffMs?", nullable(about(pauses, "The first and the longest pause between attempts."))),
        ("runMax?", nullable(about(between(1, RUN_MAX.into()), "The most events in one delivery."))),
        (
            "inFlightMax?",
            nullable(about(between(1, IN_FLIGHT_MAX.into()), "The most events that are not settled.")),
        ),
        ("onPoison?", nullable(about(one_of(&["park", "stop"]), "Parks the stream, or stops the group."))),
        (
            "order?",
            nullable(about(
                one_of(&["stream", "log"]),
                "The events of each stream, or of each partition, come in order.",
            )),
        ),
    ])
}

/// Returns the JSON of settings. Times are in milliseconds, rounded up.
#[must_use]
pub fn group_settings_json(settings: &GroupSettings) -> Value {
    let from = match &settings.from {
        Place::Start => "start".to_owned(),
        Place::End => "now".to_owned(),
        Place::At(checkpoint) => checkpoint.to_string(),
    };
    json!({
        "query": QueryJson::of(&settings.query),
        "from": from,
        "ackMs": millis(settings.ack_time),
        "attemptsMax": settings.attempts_max,
        "backOffMs": [millis(settings.back_off.first), millis(settings.back_off.max)],
        "runMax": settings.run_max,
        "inFlightMax": settings.in_flight_max,
        "onPoison": match settings.on_poison {
            OnPoison::Park => "park",
            OnPoison::Stop => "stop",
        },
        "order": match settings.order {
            Order::Stream => "stream",
            Order::Log => "log",
        },
    })
}
