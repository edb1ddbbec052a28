//! Requests to the groups of a server.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::time::Duration;

use gesta_consumer::group::{
    DeliveryId, GroupName, GroupSettings, MemberName, SettingsVersion, Settlement, Take, To,
};
use gesta_core::{StreamName, Version};
use gesta_wire::{group_settings_json, read_taken, replay_json, reset_request_json, skip_json, take_json};
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use serde_json::Value;

use crate::exchange::Answer;
use crate::limits::{HELD_MAX, PARKED_MAX};
use crate::request::{Path, Request, encode};

const ACTOR: HeaderName = HeaderName::from_static("x-actor");

fn path_of(group: &GroupName, rest: impl Display) -> String {
    format!("/groups/{}{rest}", encode(group))
}

fn post(group: &GroupName, rest: &str, body: &Value) -> Request {
    Request::post(&path_of(group, rest), body.to_string().into_bytes())
}

/// A request without a body, such as one to pause.
fn order(group: &GroupName, rest: &str) -> Request {
    Request::post(&path_of(group, rest), Vec::new())
}

impl Request {
    pub(super) fn groups() -> Self {
        Self::get("/groups".to_owned())
    }

    pub(super) fn group(group: &GroupName) -> Self {
        Self::get(path_of(group, ""))
    }

    pub(super) fn put_group(
        group: &GroupName,
        settings: &GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> Self {
        let request = Self { method: Method::PUT, ..post(group, "", &group_settings_json(settings)) };
        match expect {
            None => request.with(IF_NONE_MATCH, HeaderValue::from_static("*")),
            Some(version) => {
                let tag = HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes");
                request.with(IF_MATCH, tag)
            }
        }
    }

    /// Hosts a group at the process that deals, for another one of the same store.
    pub(super) fn host_group(group: &GroupName, settings: &GroupSettings) -> Self {
        post(group, "/host", &group_settings_json(settings))
    }

    /// Says at the process that has begun to deal that a group is hosted.
    pub(super) fn host_group_again(group: &GroupName, settings: &GroupSettings) -> Self {
        post(group, "/host?again=true", &group_settings_json(settings))
    }

    pub(super) fn remove_group(group: &GroupName) -> Self {
        Self { method: Method::DELETE, ..Self::group(group) }
    }

    pub(super) fn take(group: &GroupName, take: &Take) -> Self {
        post(group, "/take", &take_json(take))
    }

    /// Gives back the deliveries of an answer that its member has not taken, without an attempt; `None` if it has none.
    pub(super) fn give_back_answer(group: &GroupName, member: &MemberName, answer: &Answer) -> Option<Self> {
        let taken = answer.status.is_success().then(|| read_taken(&answer.body).ok()).flatten()?;
        Self::give_back(group, member, taken.deliveries.iter().map(|delivery| delivery.id))
    }

    /// Gives back deliveries without an attempt; `None` if there are none.
    pub(super) fn give_back(
        group: &GroupName,
        member: &MemberName,
        ids: impl Iterator<Item = DeliveryId>,
    ) -> Option<Self> {
        let back = |id| Settlement { handled: Some(0), ..Settlement::handled(id) };
        let settle = ids.map(back).collect::<Vec<_>>();
        // The member may hold more from other calls: without a list, all of it stays with it.
        let take = Take { member: member.clone(), max: 0, wait: Duration::ZERO, holds: None, settle };
        (!take.settle.is_empty()).then(|| Self::take(group, &take))
    }

    pub(super) fn parked(group: &GroupName, after: Option<&StreamName>, limit: NonZeroU32) -> Self {
        let path = Path::new(&path_of(group, "/parked")).with("limit", limit.get().min(PARKED_MAX));
        Self::get(after.into_iter().fold(path, |path, after| path.with("after", after)).0)
    }

    pub(super) fn held(group: &GroupName, stream: &StreamName, limit: NonZeroU32) -> Self {
        let path = Path::new(&path_of(group, format_args!("/parked/{}", encode(stream))));
        Self::get(path.with("limit", limit.get().min(HELD_MAX)).0)
    }

    pub(super) fn replay(group: &GroupName, streams: &[StreamName]) -> Self {
        post(group, "/parked/replay", &replay_json(streams))
    }

    pub(super) fn skip(group: &GroupName, stream: &StreamName, through: Version, reason: &str) -> Self {
        post(group, "/parked/skip", &skip_json(stream, through, reason))
    }

    pub(super) fn pause_group(group: &GroupName) -> Self {
        order(group, "/pause")
    }

    pub(super) fn resume_group(group: &GroupName) -> Self {
        order(group, "/resume")
    }

    pub(super) fn narrow_group(group: &GroupName) -> Self {
        order(group, "/narrow")
    }

    pub(super) fn reset_group(group: &GroupName, to: &To) -> Self {
        post(group, "/reset", &reset_request_json(to))
    }

    /// Names the operator. A header takes visible ASCII.
    pub(super) fn by(self, operator: &str) -> Self {
        let visible = |character: char| if matches!(character, ' '..='~') { character } else { '?' };
        let name = operator.chars().map(visible).collect::<String>();
        match HeaderValue::try_from(name.trim()) {
            Ok(name) if !name.is_empty() => self.with(ACTOR, name),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_operator_is_sent_as_far_as_a_header_takes_it() {
        let named = |name: &str| {
            let request = order(&"mail".parse().unwrap(), "/pause").by(name);
            request.headers.first().map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        assert_eq!(named("ops").as_deref(), Some("ops"));
        assert_eq!(named(" Jörg\n").as_deref(), Some("J?rg?"));
        assert_eq!(named("  "), None);
    }

    #[test]
    fn names_in_paths_are_encoded() {
        let (group, stream) = ("a.b".parse().unwrap(), "order/1 é".parse().unwrap());
        let held = Request::held(&group, &stream, NonZeroU32::MIN);
        assert_eq!(held.path, "/groups/a%2Eb/parked/order%2F1%20%C3%A9?limit=1");
        let parked = Request::parked(&group, Some(&stream), NonZeroU32::MAX);
        assert_eq!(parked.path, "/groups/a%2Eb/parked?limit=1024&after=order%2F1%20%C3%A9");
    }
}
