//! The status of a group in JSON.

use std::borrow::Cow;
use std::time::Duration;

use gesta_consumer::group::{GroupState, GroupStatus, MemberStatus, SelectedItem, SettingsVersion, Settled};
use gesta_core::{Checkpoint, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::millis;
use super::settings::{GroupSettingsJson, group_settings_json};
use crate::answer::AnswerError;
use crate::query::QueryJson;
use crate::schema::{about, answer, boolean, count, list, named, nullable, one_of, seconds, text};
use crate::time::{format_time, parse_time};

/// Returns the name of a state, as it stands in statuses and metrics.
#[must_use]
pub const fn group_state_name(state: &GroupState) -> &'static str {
    match state {
        GroupState::Starting => "starting",
        GroupState::Running => "running",
        GroupState::Outage => "outage",
        GroupState::Paused { .. } => "paused",
        GroupState::Stopped { .. } => "stopped",
        GroupState::Unsaved => "unsaved",
        GroupState::Unreadable { .. } => "unreadable",
        GroupState::TakenOver => "taken-over",
        _ => "unknown",
    }
}

/// Returns the JSON of a group.
#[must_use]
pub fn group_json(status: &GroupStatus) -> Value {
    let mut json = json!({
        "group": status.name.as_str(),
        "state": group_state_name(&status.state),
        "settings": group_settings_json(&status.settings),
        "settingsVersion": status.settings_version.get(),
        "hosted": status.is_hosted,
        "items": status.items.iter().map(item_json).collect::<Value>(),
        "members": status.members.iter().map(member_json).collect::<Value>(),
        "scanned": status.scanned.to_string(),
        "head": status.head.to_string(),
        "lagEvents": status.lag_events,
        "lagSeconds": status.lag.map(|lag| lag.as_secs_f64()),
        "parked": status.parked,
        "waiting": status.waiting,
        "inFlight": status.in_flight_events,
        "window": {
            "events": status.window_events,
            "bytes": status.window_bytes,
            "full": status.is_window_full,
        },
        "settled": SettledJson::of(status.settled),
        "puts": status.puts,
        "putsSeconds": status.puts_time.as_secs_f64(),
    });
    match &status.state {
        GroupState::Paused { by, since } => {
            json["by"] = by.as_str().into();
            json["since"] = format_time(*since).into();
        }
        GroupState::Stopped { reason } | GroupState::Unreadable { reason } => {
            json["reason"] = reason.as_str().into();
        }
        _ => {}
    }
    json
}

/// The names of the states.
const STATES: [&str; 9] =
    ["starting", "running", "outage", "paused", "stopped", "unsaved", "unreadable", "taken-over", "unknown"];

pub(crate) fn group_schema() -> Value {
    let settled = ["handled", "retry", "release", "park", "skip", "expired", "again", "unwritten", "stale"];
    let item = answer(vec![("query", named("Query")), ("since", named("Checkpoint"))]);
    let member = answer(vec![("member", text()), ("seenMs", count()), ("inFlight", count())]);
    answer(vec![
        ("group", text()),
        ("state", one_of(&STATES)),
        ("reason?", about(text(), "Why the group is `stopped` or `unreadable`.")),
        ("by?", about(text(), "Who paused the group.")),
        ("since?", named("Time")),
        ("settings", named("GroupSettings")),
        ("settingsVersion", count()),
        ("hosted", about(boolean(), "True if a program owns the settings.")),
        ("items", about(list(item), "The items of the query, each with the place from which on it selects.")),
        ("members", list(member)),
        ("scanned", named("Checkpoint")),
        ("head", named("Checkpoint")),
        ("lagEvents", nullable(count())),
        ("lagSeconds", nullable(seconds())),
        ("parked", count()),
        ("waiting", count()),
        ("inFlight", count()),
        ("window", answer(vec![("events", count()), ("bytes", count()), ("full", boolean())])),
        ("settled", answer(settled.map(|name| (name, count())).into())),
        ("puts", count()),
        ("putsSeconds", seconds()),
    ])
}

pub(crate) fn groups_schema() -> Value {
    answer(vec![("groups", list(named("Group")))])
}

/// Returns the JSON of all groups.
#[must_use]
pub fn groups_json(groups: &[GroupStatus]) -> Value {
    json!({"groups": groups.iter().map(group_json).collect::<Value>()})
}

fn item_json(item: &SelectedItem) -> Value {
    let query = item.item.clone().map_or(Query::All, |item| Query::Any(vec![item]));
    json!({"query": QueryJson::of(&query), "since": item.since.to_string()})
}

fn member_json(member: &MemberStatus) -> Value {
    json!({
        "member": member.name.as_str(),
        "seenMs": millis(member.seen),
        "inFlight": member.in_flight_events,
    })
}

#[derive(Serialize, Deserialize)]
struct SettledJson {
    handled: u64,
    retry: u64,
    release: u64,
    park: u64,
    skip: u64,
    expired: u64,
    again: u64,
    unwritten: u64,
    stale: u64,
}

impl SettledJson {
    fn of(settled: Settled) -> Self {
        let Settled { handled, retry, release, park, skip, expired, again, unwritten, stale } = settled;
        Self { handled, retry, release, park, skip, expired, again, unwritten, stale }
    }

    fn to_settled(&self) -> Settled {
        let &Self { handled, retry, release, park, skip, expired, again, unwritten, stale } = self;
        Settled { handled, retry, release, park, skip, expired, again, unwritten, stale }
    }
}

/// A group, borrowed from its JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupJson<'a> {
    #[serde(borrow)]
    group: Cow<'a, str>,
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    by: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    since: Option<Cow<'a, str>>,
    #[serde(borrow)]
    settings: GroupSettingsJson<'a>,
    settings_version: u64,
    hosted: bool,
    #[serde(borrow)]
    items: Vec<SelectedJson<'a>>,
    #[serde(borrow)]
    members: Vec<MemberJson<'a>>,
    #[serde(borrow)]
    scanned: Cow<'a, str>,
    #[serde(borrow)]
    head: Cow<'a, str>,
    lag_events: Option<u64>,
    lag_seconds: Option<f64>,
    parked: u32,
    waiting: u32,
    in_flight: u32,
    window: WindowJson,
    settled: SettledJson,
    puts: u64,
    puts_seconds: f64,
}

#[derive(Deserialize)]
struct SelectedJson<'a> {
    #[serde(borrow)]
    query: QueryJson<'a>,
    #[serde(borrow)]
    since: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemberJson<'a> {
    #[serde(borrow)]
    member: Cow<'a, str>,
    seen_ms: u64,
    in_flight: u32,
}

#[derive(Deserialize)]
struct WindowJson {
    events: u32,
    bytes: u64,
    full: bool,
}

#[derive(Deserialize)]
struct GroupsJson<'a> {
    #[serde(borrow)]
    groups: Vec<GroupJson<'a>>,
}

/// Reads a group.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`group_json`] writes.
pub fn read_group(bytes: &[u8]) -> Result<GroupStatus, AnswerError> {
    serde_json::from_slice::<GroupJson<'_>>(bytes)?.to_status()
}

/// Reads all groups.
///
/// # Errors
/// [`AnswerError`] if the answer is not what [`groups_json`] writes.
pub fn read_groups(bytes: &[u8]) -> Result<Vec<GroupStatus>, AnswerError> {
    serde_json::from_slice::<GroupsJson<'_>>(bytes)?.groups.iter().map(GroupJson::to_status).collect()
}

impl GroupJson<'_> {
    fn to_status(&self) -> Result<GroupStatus, AnswerError> {
        let wrong = |member| move || AnswerError::Member { member };
        let duration = |member, seconds| Duration::try_from_secs_f64(seconds).map_err(|_| wrong(member)());
        Ok(GroupStatus {
            name: self.group.parse().map_err(|_| wrong("group")())?,
            settings: self.settings.to_settings().map_err(|_| wrong("settings")())?,
            settings_version: SettingsVersion::new(self.settings_version),
            items: self.items.iter().map(SelectedJson::to_item).collect::<Result<_, _>>()?,
            is_hosted: self.hosted,
            state: self.to_state().ok_or_else(wrong("state"))?,
            members: self.members.iter().map(MemberJson::to_member).collect::<Result<_, _>>()?,
            scanned: checkpoint("scanned", &self.scanned)?,
            head: checkpoint("head", &self.head)?,
            lag_events: self.lag_events,
            lag: self.lag_seconds.map(|lag| duration("lagSeconds", lag)).transpose()?,
            parked: self.parked,
            waiting: self.waiting,
            in_flight_events: self.in_flight,
            window_events: self.window.events,
            window_bytes: self.window.bytes,
            is_window_full: self.window.full,
            settled: self.settled.to_settled(),
            puts: self.puts,
            puts_time: duration("putsSeconds", self.puts_seconds)?,
        })
    }

    fn to_state(&self) -> Option<GroupState> {
        let reason = || Some(self.reason.as_deref()?.to_owned());
        Some(match &*self.state {
            "starting" => GroupState::Starting,
            "running" => GroupState::Running,
            "outage" => GroupState::Outage,
            "paused" => GroupState::Paused {
                by: self.by.as_deref()?.to_owned(),
                since: parse_time(self.since.as_deref()?).ok()?,
            },
            "stopped" => GroupState::Stopped { reason: reason()? },
            "unsaved" => GroupState::Unsaved,
            "unreadable" => GroupState::Unreadable { reason: reason()? },
            "taken-over" => GroupState::TakenOver,
            _ => return None,
        })
    }
}

impl SelectedJson<'_> {
    fn to_item(&self) -> Result<SelectedItem, AnswerError> {
        let wrong = AnswerError::Member { member: "items" };
        let item = match self.query.to_query() {
            Ok(Query::All) => None,
            Ok(Query::Any(mut items)) if items.len() == 1 => items.pop(),
            _ => return Err(wrong),
        };
        Ok(SelectedItem { item, since: checkpoint("since", &self.since)? })
    }
}

impl MemberJson<'_> {
    fn to_member(&self) -> Result<MemberStatus, AnswerError> {
        Ok(MemberStatus {
            name: self.member.parse().map_err(|_| AnswerError::Member { member: "member" })?,
            seen: Duration::from_millis(self.seen_ms),
            in_flight_events: self.in_flight,
        })
    }
}

fn checkpoint(member: &'static str, token: &str) -> Result<Checkpoint, AnswerError> {
    token.parse().map_err(|_| AnswerError::Member { member })
}
