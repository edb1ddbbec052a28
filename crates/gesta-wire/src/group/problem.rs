//! The errors of groups as problems, and back: each error comes back as itself.

use gesta_consumer::group::{
    ChangeError, GroupName, LookError, PutError, SettingsError, SettingsVersion, TakeError, TakeFormError,
};
use gesta_core::{ReadError, Retry, StreamName, Version};

use super::GroupJsonError;
use crate::problem::{Problem, kinds};

/// The member that tells which part of a request an error of the store is about.
const PART: &str = "part";
const QUERY: &str = "query";
const PLACE: &str = "place";

impl From<GroupJsonError> for Problem {
    fn from(error: GroupJsonError) -> Self {
        match error {
            GroupJsonError::Name(error) => error.into(),
            GroupJsonError::Query(error) => error.into(),
            GroupJsonError::Member(error) => Self::new(kinds::INVALID_NAME, error.to_string()),
            other => Self::invalid(other.to_string()),
        }
    }
}

impl From<TakeFormError> for Problem {
    fn from(error: TakeFormError) -> Self {
        Self::new(kinds::INVALID_TAKE, error.to_string())
    }
}

impl From<SettingsError> for Problem {
    fn from(error: SettingsError) -> Self {
        let SettingsError { setting, given, allowed } = &error;
        let member = member_of(setting);
        Self::new(kinds::INVALID_GROUP, format!("`{member}` is {given}: {allowed}"))
            .with("setting", member)
            .with("given", given.as_str())
            .with("allowed", allowed.as_str())
    }
}

/// The member of the JSON that holds a setting.
fn member_of(setting: &'static str) -> &'static str {
    match setting {
        "ack_time" => "ackMs",
        "back_off" => "backOffMs",
        "attempts_max" => "attemptsMax",
        "run_max" => "runMax",
        "in_flight_max" => "inFlightMax",
        "on_poison" => "onPoison",
        other => other,
    }
}

impl From<PutError> for Problem {
    fn from(error: PutError) -> Self {
        let (detail, retry) = (error.to_string(), error.retry());
        let new = |kind| Self::new(kind, detail.clone()).retry(retry);
        match error {
            PutError::Settings(error) => error.into(),
            PutError::Query(error) => Self::from(error).with(PART, QUERY),
            PutError::Place(error) => Self::from(error).with(PART, PLACE),
            PutError::NoGroup { group } => new(kinds::NO_GROUP).of(&group),
            PutError::Exists { group, actual } => {
                new(kinds::GROUP_EXISTS).of(&group).with("actual", actual.get())
            }
            PutError::Changed { group, expected, actual } => new(kinds::GROUP_CHANGED)
                .of(&group)
                .with("expected", expected.get())
                .with("actual", actual.get()),
            PutError::Hosted { group } => new(kinds::HOSTED_GROUP).of(&group),
            PutError::Busy { group, reason } => new(kinds::GROUP_BUSY).of(&group).with("reason", reason),
            PutError::TooMany { groups_max } => new(kinds::TOO_MANY_GROUPS).with("limit", groups_max),
            PutError::Unavailable { reason } => new(kinds::UNAVAILABLE).with("reason", reason),
            PutError::InDoubt { reason } => new(kinds::GROUP_IN_DOUBT).with("reason", reason),
            PutError::Closed => new(kinds::CLOSED),
            _ => new(kinds::FAILED),
        }
    }
}

impl From<LookError> for Problem {
    fn from(error: LookError) -> Self {
        let (detail, retry) = (error.to_string(), error.retry());
        let new = |kind| Self::new(kind, detail.clone()).retry(retry);
        match error {
            LookError::NoGroup { group } => new(kinds::NO_GROUP).of(&group),
            LookError::Read(error) => error.into(),
            LookError::Unavailable { reason } => {
                new(kinds::UNAVAILABLE).with("reason", reason).with(PART, "groups")
            }
            LookError::Closed => new(kinds::CLOSED).with(PART, "groups"),
            _ => new(kinds::FAILED),
        }
    }
}

impl From<TakeError> for Problem {
    fn from(error: TakeError) -> Self {
        let (detail, retry) = (error.to_string(), error.retry());
        let new = |kind| Self::new(kind, detail.clone()).retry(retry);
        match error {
            TakeError::Form(error) => error.into(),
            TakeError::NoGroup { group } => new(kinds::NO_GROUP).of(&group),
            TakeError::Stopped { group, reason } => {
                new(kinds::GROUP_STOPPED).of(&group).with("reason", reason)
            }
            TakeError::Unavailable { reason } => new(kinds::UNAVAILABLE).with("reason", reason),
            TakeError::Closed => new(kinds::CLOSED),
            _ => new(kinds::FAILED),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let (detail, retry) = (error.to_string(), error.retry());
        let new = |kind| Self::new(kind, detail.clone()).retry(retry);
        match error {
            ChangeError::NoGroup { group } => new(kinds::NO_GROUP).of(&group),
            ChangeError::NotParked { group, stream } => {
                new(kinds::NOT_PARKED).of(&group).with("stream", stream.as_str())
            }
            ChangeError::NotReached { stream, through } => {
                new(kinds::NOT_REACHED).with("stream", stream.as_str()).with("through", through.get())
            }
            ChangeError::Hosted { group } => new(kinds::HOSTED_GROUP).of(&group),
            ChangeError::NotHosted { group } => new(kinds::NOT_HOSTED_GROUP).of(&group),
            ChangeError::Busy { group, reason } => new(kinds::GROUP_BUSY).of(&group).with("reason", reason),
            ChangeError::Place(error) => Self::from(error).with(PART, PLACE),
            ChangeError::Unavailable { reason } => new(kinds::UNAVAILABLE).with("reason", reason),
            ChangeError::InDoubt { reason } => new(kinds::GROUP_IN_DOUBT).with("reason", reason),
            ChangeError::Closed => new(kinds::CLOSED),
            _ => new(kinds::FAILED),
        }
    }
}

impl Problem {
    fn of(self, group: &GroupName) -> Self {
        self.with("group", group.as_str())
    }

    /// Returns the problem as the error of a change of a group's settings.
    ///
    /// A malformed request is [`PutError::Query`]; a fault of the server, which does not exclude the change, is [`PutError::InDoubt`].
    #[must_use]
    pub fn to_put_error(&self, group: &GroupName) -> PutError {
        self.as_put_error(group).unwrap_or_else(|| {
            let reason = self.detail.clone();
            match self.fate() {
                Fate::Closed => PutError::Closed,
                Fate::Invalid => PutError::Query(ReadError::Invalid { reason }),
                Fate::NotNow => PutError::Unavailable { reason },
                Fate::Unknown => PutError::InDoubt { reason },
            }
        })
    }

    fn as_put_error(&self, group: &GroupName) -> Option<PutError> {
        let group = group.clone();
        Some(match (&*self.kind, self.part()) {
            (_, Some(QUERY)) => PutError::Query(self.as_read_error()?),
            (_, Some(PLACE)) => PutError::Place(self.as_read_error()?),
            ("no-group", _) => PutError::NoGroup { group },
            ("group-exists", _) => PutError::Exists { group, actual: self.version("actual")? },
            ("group-changed", _) => {
                let (expected, actual) = (self.version("expected")?, self.version("actual")?);
                PutError::Changed { group, expected, actual }
            }
            ("hosted-group", _) => PutError::Hosted { group },
            ("group-busy", _) => PutError::Busy { group, reason: self.text("reason")? },
            ("too-many-groups", _) => PutError::TooMany { groups_max: self.count("limit")? },
            ("unavailable", _) => PutError::Unavailable { reason: self.text("reason")? },
            ("group-in-doubt", _) => PutError::InDoubt { reason: self.text("reason")? },
            _ => return None,
        })
    }

    /// Returns the problem as the error of a look at groups. `group` is the one that was asked for, if it was one.
    #[must_use]
    pub fn to_look_error(&self, group: Option<&GroupName>) -> LookError {
        let reason = || self.text("reason").unwrap_or_else(|| self.detail.clone());
        match (&*self.kind, group, self.part()) {
            ("no-group", Some(group), _) => return LookError::NoGroup { group: group.clone() },
            ("unavailable", _, Some(_)) => return LookError::Unavailable { reason: reason() },
            ("closed", _, Some(_)) => return LookError::Closed,
            _ => {}
        }
        if let Some(error) = self.as_read_error() {
            return LookError::Read(error);
        }
        match self.fate() {
            Fate::Closed => LookError::Closed,
            Fate::Invalid => LookError::Read(ReadError::Invalid { reason: self.detail.clone() }),
            Fate::NotNow | Fate::Unknown => LookError::Unavailable { reason: reason() },
        }
    }

    /// Returns the problem as the error of a member's call.
    ///
    /// Everything that is no error of groups is [`TakeError::Unavailable`]: it is not known whether the settlements count.
    #[must_use]
    pub fn to_take_error(&self, group: &GroupName) -> TakeError {
        let group = group.clone();
        let reason = self.text("reason").unwrap_or_else(|| self.detail.clone());
        match (&*self.kind, self.fate()) {
            ("no-group", _) => TakeError::NoGroup { group },
            ("group-stopped", _) => TakeError::Stopped { group, reason },
            (_, Fate::Closed) => TakeError::Closed,
            _ => TakeError::Unavailable { reason },
        }
    }

    /// Returns the problem as the error of an operator's request.
    ///
    /// A malformed request is [`ChangeError::Place`]; a fault of the server, which does not exclude the change, is
    /// [`ChangeError::InDoubt`].
    #[must_use]
    pub fn to_change_error(&self, group: &GroupName) -> ChangeError {
        self.as_change_error(group).unwrap_or_else(|| {
            let reason = self.detail.clone();
            match self.fate() {
                Fate::Closed => ChangeError::Closed,
                Fate::Invalid => ChangeError::Place(ReadError::Invalid { reason }),
                Fate::NotNow => ChangeError::Unavailable { reason },
                Fate::Unknown => ChangeError::InDoubt { reason },
            }
        })
    }

    fn as_change_error(&self, group: &GroupName) -> Option<ChangeError> {
        let group = group.clone();
        Some(match (&*self.kind, self.part()) {
            (_, Some(PLACE)) => ChangeError::Place(self.as_read_error()?),
            ("no-group", _) => ChangeError::NoGroup { group },
            ("not-parked", _) => ChangeError::NotParked { group, stream: self.stream()? },
            ("not-reached", _) => ChangeError::NotReached {
                stream: self.stream()?,
                through: Version::new(self.members.get("through")?.as_u64()?),
            },
            ("hosted-group", _) => ChangeError::Hosted { group },
            ("not-hosted-group", _) => ChangeError::NotHosted { group },
            ("group-busy", _) => ChangeError::Busy { group, reason: self.text("reason")? },
            ("unavailable", _) => ChangeError::Unavailable { reason: self.text("reason")? },
            ("group-in-doubt", _) => ChangeError::InDoubt { reason: self.text("reason")? },
            _ => return None,
        })
    }

    fn part(&self) -> Option<&str> {
        self.members.get(PART)?.as_str()
    }

    fn version(&self, name: &str) -> Option<SettingsVersion> {
        Some(SettingsVersion::new(self.members.get(name)?.as_u64()?))
    }

    fn stream(&self) -> Option<StreamName> {
        self.members.get("stream")?.as_str()?.parse().ok()
    }

    /// What a problem that no group made means for the request.
    fn fate(&self) -> Fate {
        match (self.status, self.retry) {
            _ if self.kind == kinds::FOREIGN_STORE.name || self.kind == kinds::CLOSED.name => Fate::Closed,
            (408 | 429 | 503, _) | (400..500, Retry::AfterPause | Retry::Now) => Fate::NotNow,
            (400..500, _) => Fate::Invalid,
            _ => Fate::Unknown,
        }
    }
}

/// What became of a request.
enum Fate {
    /// The store cannot be reached any more.
    Closed,
    /// It was not done, and never will be.
    Invalid,
    /// It was not done now.
    NotNow,
    /// It may have been done.
    Unknown,
}
