//! The one call of a member, and its answer.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use gesta_consumer::group::limits::{MEMBER_NAME_BYTES_MAX, NAMED_DELIVERIES_MAX, TAKE_WAIT_MAX};
use gesta_consumer::group::{Delivery, Refused, RefusedWhy, Settlement, Take, Taken, Then};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{GroupJsonError, millis};
use crate::answer::AnswerError;
use crate::capped::Capped;
use crate::event::{EventJson, write_event};
use crate::schema::{
    about, answer, between, count, list, list_up_to, named, nullable, one_of, request, text,
};

/// The body of `POST /groups/{group}/take`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TakeJson<'a> {
    #[serde(borrow)]
    member: Cow<'a, str>,
    max: u32,
    #[serde(default)]
    wait_ms: u64,
    #[serde(borrow, default)]
    holds: Option<Capped<Cow<'a, str>, NAMED_DELIVERIES_MAX>>,
    #[serde(borrow, default)]
    settle: Capped<SettlementJson<'a>, NAMED_DELIVERIES_MAX>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SettlementJson<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default)]
    handled: Option<usize>,
    #[serde(default)]
    then: Option<ThenJson>,
    #[serde(default)]
    after_ms: Option<u64>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    error: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ThenJson {
    Retry,
    Release,
    Park,
    Skip,
    Stop,
}

impl TakeJson<'_> {
    /// The call. Its form is not checked: see [`Take::check`].
    ///
    /// # Errors
    /// [`GroupJsonError`] names what is malformed.
    pub fn to_take(&self) -> Result<Take, GroupJsonError> {
        let ids = |holds: &Capped<Cow<'_, str>, NAMED_DELIVERIES_MAX>| {
            holds.0.iter().map(|id| Ok(id.parse()?)).collect::<Result<Vec<_>, GroupJsonError>>()
        };
        Ok(Take {
            member: self.member.parse()?,
            max: self.max,
            wait: Duration::from_millis(self.wait_ms),
            holds: self.holds.as_ref().map(ids).transpose()?,
            settle: self.settle.0.iter().map(SettlementJson::to_settlement).collect::<Result<_, _>>()?,
        })
    }
}

impl SettlementJson<'_> {
    fn to_settlement(&self) -> Result<Settlement, GroupJsonError> {
        Ok(Settlement {
            id: self.id.parse()?,
            handled: self.handled,
            then: self.to_then()?,
            error: self.error.as_deref().map(str::to_owned),
        })
    }

    fn to_then(&self) -> Result<Option<Then>, GroupJsonError> {
        let rule = |rule| Err(GroupJsonError::Members { rule });
        let after = self.after_ms.map(Duration::from_millis);
        if after.is_some() && !matches!(self.then, Some(ThenJson::Retry | ThenJson::Release)) {
            return rule("`afterMs` goes with `\"then\": \"retry\"` and `\"then\": \"release\"` only");
        }
        if self.reason.is_some() && !matches!(self.then, Some(ThenJson::Skip)) {
            return rule("`reason` goes with `\"then\": \"skip\"` only: use `error` for the others");
        }
        Ok(Some(match self.then {
            None => return Ok(None),
            Some(ThenJson::Retry) => Then::Retry { after },
            Some(ThenJson::Release) => Then::Release { after },
            Some(ThenJson::Park) => Then::Park,
            Some(ThenJson::Stop) => Then::Stop,
            Some(ThenJson::Skip) => match self.reason.as_deref() {
                Some(reason) => Then::Skip { reason: reason.to_owned() },
                None => return rule("`\"then\": \"skip\"` needs a `reason`, for people"),
            },
        }))
    }
}

/// Returns the body of a call. Times are in milliseconds, rounded up.
#[must_use]
pub fn take_json(take: &Take) -> Value {
    let mut json = json!({
        "member": take.member.as_str(),
        "max": take.max,
        "waitMs": millis(take.wait),
        "settle": take.settle.iter().map(settlement_json).collect::<Value>(),
    });
    if let Some(holds) = &take.holds {
        json["holds"] = holds.iter().map(ToString::to_string).collect();
    }
    json
}

fn settlement_json(settlement: &Settlement) -> Value {
    let mut json = Map::new();
    let mut set = |name: &str, value: Value| json.insert(name.to_owned(), value);
    set("id", settlement.id.to_string().into());
    if let Some(handled) = settlement.handled {
        set("handled", handled.into());
    }
    let (then, after) = match &settlement.then {
        None => (None, &None),
        Some(Then::Retry { after }) => (Some("retry"), after),
        Some(Then::Release { after }) => (Some("release"), after),
        Some(Then::Park) => (Some("park"), &None),
        Some(Then::Skip { .. }) => (Some("skip"), &None),
        Some(Then::Stop) => (Some("stop"), &None),
    };
    if let Some(then) = then {
        set("then", then.into());
    }
    if let Some(after) = after {
        set("afterMs", millis(*after).into());
    }
    if let Some(Then::Skip { reason }) = &settlement.then {
        set("reason", reason.as_str().into());
    }
    if let Some(error) = &settlement.error {
        set("error", error.as_str().into());
    }
    json.into()
}

/// The id of a delivery.
fn delivery_id() -> Value {
    json!({"type": "string", "format": "delivery", "pattern": "^[0-9a-f]{40}$"})
}

pub(crate) fn take_schema() -> Value {
    let member = json!({"type": "string", "minLength": 1, "maxLength": MEMBER_NAME_BYTES_MAX, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"});
    let holds = "The deliveries in hand, which are renewed. It may be left out if `max` is 0: then all are.";
    request(vec![
        ("member", about(member, "The name of the caller: one for each process.")),
        ("max", about(between(0, u32::MAX.into()), "The most events to take. 0 settles and renews only.")),
        ("waitMs?", about(between(0, millis(TAKE_WAIT_MAX)), "How long to wait for a delivery.")),
        ("holds?", nullable(about(list_up_to(NAMED_DELIVERIES_MAX, delivery_id()), holds))),
        ("settle?", list_up_to(NAMED_DELIVERIES_MAX, named("Settlement"))),
    ])
}

pub(crate) fn settlement_schema() -> Value {
    let then = one_of(&["retry", "release", "park", "skip", "stop"]);
    request(vec![
        ("id", delivery_id()),
        (
            "handled?",
            nullable(about(count(), "The events that were handled, from the front; all if it is missing.")),
        ),
        ("then?", nullable(about(then, "The fate of the next event."))),
        (
            "afterMs?",
            nullable(about(count(), "The pause before another attempt, with `retry` and `release`.")),
        ),
        ("reason?", nullable(about(text(), "Required with `skip`."))),
        ("error?", nullable(about(text(), "Why the event was not handled, for people."))),
    ])
}

pub(crate) fn taken_schema() -> Value {
    let refused = answer(vec![("id", delivery_id()), ("why", one_of(&["stale", "too-many"]))]);
    let refused = about(list(refused), "Settlements and holds that had no effect.");
    answer(vec![("deliveries", list(named("Delivery"))), ("refused", refused)])
}

pub(crate) fn delivery_schema() -> Value {
    answer(vec![
        ("id", delivery_id()),
        ("attempt", between(1, u32::MAX.into())),
        ("ackMs", about(count(), "The time to settle or renew it.")),
        ("events", about(list(named("Event")), "Consecutive selected events of one stream.")),
    ])
}

/// Appends the JSON of the answer to a call.
pub fn write_taken(taken: &Taken, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"deliveries\":[");
    for (at, delivery) in taken.deliveries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_delivery(delivery, out);
    }
    let refused = taken.refused.iter().map(|refused| {
        let why = match refused.why {
            RefusedWhy::TooMany => "too-many",
            _ => "stale",
        };
        json!({"id": refused.id.to_string(), "why": why})
    });
    out.extend_from_slice(format!("],\"refused\":{}}}", refused.collect::<Value>()).as_bytes());
}

fn write_delivery(delivery: &Delivery, out: &mut Vec<u8>) {
    let Delivery { id, attempt, ack_time, events } = delivery;
    let head =
        format!("{{\"id\":\"{id}\",\"attempt\":{attempt},\"ackMs\":{},\"events\":[", millis(*ack_time));
    out.extend_from_slice(head.as_bytes());
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_event(event, out);
    }
    out.extend_from_slice(b"]}");
}

#[derive(Deserialize)]
struct TakenJson<'a> {
    #[serde(borrow)]
    deliveries: Vec<DeliveryJson<'a>>,
    #[serde(borrow)]
    refused: Vec<RefusedJson<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryJson<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    attempt: u32,
    ack_ms: u64,
    #[serde(borrow)]
    events: Vec<EventJson<'a>>,
}

#[derive(Deserialize)]
struct RefusedJson<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    why: Cow<'a, str>,
}

/// Reads the answer to a call. The events share the bytes of the answer where they can.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`write_taken`] writes.
pub fn read_taken(bytes: &Bytes) -> Result<Taken, AnswerError> {
    let taken = serde_json::from_slice::<TakenJson<'_>>(bytes)?;
    let refused = taken.refused.iter().map(|refused| {
        let id = refused.id.parse().map_err(|_| AnswerError::Member { member: "refused" })?;
        // An unknown reason of a newer server means what matters to a member: the call had no effect on it.
        let why = if refused.why == "too-many" { RefusedWhy::TooMany } else { RefusedWhy::Stale };
        Ok(Refused { id, why })
    });
    Ok(Taken {
        deliveries: taken
            .deliveries
            .iter()
            .map(|delivery| delivery.to_delivery(bytes))
            .collect::<Result<_, _>>()?,
        refused: refused.collect::<Result<_, AnswerError>>()?,
    })
}

impl DeliveryJson<'_> {
    fn to_delivery(&self, bytes: &Bytes) -> Result<Delivery, AnswerError> {
        let events = self.events.iter().enumerate().map(|(index, event)| {
            event.to_recorded(bytes).map_err(|source| AnswerError::Event { index, source })
        });
        Ok(Delivery {
            id: self.id.parse().map_err(|_| AnswerError::Member { member: "id" })?,
            attempt: self.attempt,
            ack_time: Duration::from_millis(self.ack_ms),
            events: events.collect::<Result<_, _>>()?,
        })
    }
}
