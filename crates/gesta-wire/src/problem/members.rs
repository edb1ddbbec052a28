//! The schemas of problems: the members of all, and those that each kind adds.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::{Problem, TYPE_PREFIX};
use crate::schema::{about, answer, between, count, list, named, nullable, one_of, text};

/// The form of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Text,
    TextOrNull,
    Texts,
    Count,
    CountOrNull,
    Position,
    Expected,
}

impl Member {
    fn schema(self) -> Value {
        match self {
            Self::Text => text(),
            Self::TextOrNull => nullable(text()),
            Self::Texts => list(text()),
            Self::Count => count(),
            Self::CountOrNull => nullable(count()),
            Self::Position => named("Position"),
            Self::Expected => named("Expected"),
        }
    }
}

/// The members of every problem.
pub(crate) fn problem_schema() -> Value {
    let retry = one_of(&["never", "now", "after-pause", "unknown"]);
    answer(vec![
        ("type", about(text(), &format!("`{TYPE_PREFIX}` and the kind. Programs decide by it."))),
        ("title", about(text(), "The kind in words.")),
        ("status", between(400, 599)),
        ("detail", about(text(), "This case in words, for people.")),
        (
            "retry",
            about(
                retry,
                "Whether to send the same request again. `unknown`: it may have been done, and the same request settles it.",
            ),
        ),
        ("reason?", about(text(), "The cause, as the store told it.")),
        ("denied?", about(text(), "Why an append is refused by right.")),
        ("event?", about(count(), "The index of the event in the request that the problem is about.")),
        ("part?", about(text(), "The part of a request to a group that the problem is about.")),
    ])
}

impl Kind {
    /// The name of its schema.
    #[must_use]
    pub fn schema_name(&self) -> String {
        format!("problem-{}", self.name)
    }

    /// The value of `type`.
    #[must_use]
    pub fn problem_type(&self) -> String {
        format!("{TYPE_PREFIX}{}", self.name)
    }

    /// The schema of its problems.
    #[must_use]
    pub fn schema(&self) -> Value {
        let of_kind = self.members.iter().map(|(name, member)| ((*name).to_owned(), member.schema()));
        let of_all = [("type".to_owned(), json!({"const": self.problem_type()}))];
        let properties = of_all.into_iter().chain(of_kind).collect::<Map<_, _>>();
        json!({"description": self.title, "allOf": [named("Problem")], "properties": properties})
    }
}

impl Problem {
    /// The names of its members that neither its kind nor every problem has.
    #[cfg(test)]
    pub(super) fn undescribed(&self) -> Vec<&str> {
        let of_all = problem_schema();
        let kind = super::kinds::ALL.iter().find(|kind| kind.name == self.kind);
        let of_kind = kind.map_or(&[][..], |kind| kind.members);
        let is_described = |name: &&str| {
            of_all["properties"].get(name).is_some() || of_kind.iter().any(|(member, _)| member == name)
        };
        self.members.keys().map(String::as_str).filter(|name| !is_described(name)).collect()
    }
}
