//! Problem Details (RFC 9457): the form of every error on the wire, and its JSON.

mod fallback;
pub mod kinds;
mod members;
mod requests;
mod store;

use std::borrow::Cow;

use gesta_core::Retry;
use serde_json::{Map, Value, json};

pub use kinds::Kind;
pub(crate) use members::problem_schema;

/// The media type of a problem.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// What `type` begins with. The kind follows.
const TYPE_PREFIX: &str = "urn:gesta:problem:";

/// An error on the wire.
///
/// `kind` is stable and is what programs decide by. `title` describes the kind, `detail` this case. `members` hold the data
/// of the case: with them, an error of the store comes back as itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The last part of `type`.
    pub kind: Cow<'static, str>,
    /// The kind in words.
    pub title: Cow<'static, str>,
    /// This case in words.
    pub detail: String,
    /// The advice on sending the same request again.
    pub retry: Retry,
    /// The data of the case.
    pub members: Map<String, Value>,
}

/// The bytes are not Problem Details of this server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a problem of a Gesta server: {reason}")]
pub struct ProblemJsonError {
    reason: String,
}

impl Problem {
    /// Creates a problem whose `retry` is `never`.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            status: kind.status,
            kind: Cow::Borrowed(kind.name),
            title: Cow::Borrowed(kind.title),
            detail: detail.into(),
            retry: Retry::Never,
            members: Map::new(),
        }
    }

    /// Adds a member. It replaces a member of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the advice on sending the same request again.
    #[must_use]
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Returns the JSON of the problem.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "type": format!("{TYPE_PREFIX}{}", self.kind),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "retry": retry_name(self.retry),
        });
        for (name, member) in &self.members {
            value[name] = member.clone();
        }
        value
    }

    /// Reads what [`Self::to_json`] writes.
    ///
    /// # Errors
    /// [`ProblemJsonError`] for anything else, for example the error page of a proxy.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ProblemJsonError> {
        let wrong = |reason: String| ProblemJsonError { reason };
        let mut members =
            serde_json::from_slice::<Map<String, Value>>(bytes).map_err(|error| wrong(error.to_string()))?;
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(wrong(format!("it has no text `{name}`"))),
        };
        let kind = text("type")?;
        let kind = kind.strip_prefix(TYPE_PREFIX).ok_or_else(|| wrong(format!("its type is `{kind}`")))?;
        let (title, detail, retry) = (text("title")?, text("detail")?, text("retry")?);
        let status = members.remove("status").as_ref().and_then(Value::as_u64);
        let status = status.and_then(|status| u16::try_from(status).ok());
        Ok(Self {
            status: status.ok_or_else(|| wrong("it has no `status`".to_owned()))?,
            kind: Cow::Owned(kind.to_owned()),
            title: Cow::Owned(title),
            detail,
            retry: retry_named(&retry),
            members,
        })
    }
}

/// The value of the member `retry`.
const fn retry_name(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Now => "now",
        Retry::AfterPause => "after-pause",
        Retry::Unknown => "unknown",
    }
}

/// Reads what [`retry_name`] writes. A name that this version does not know is treated as an unknown outcome.
fn retry_named(name: &str) -> Retry {
    match name {
        "never" => Retry::Never,
        "now" => Retry::Now,
        "after-pause" => Retry::AfterPause,
        _ => Retry::Unknown,
    }
}

#[cfg(test)]
mod tests;
