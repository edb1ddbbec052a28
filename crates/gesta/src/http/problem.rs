//! Problem Details (RFC 9457): the form of every error over HTTP.

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gesta_consumer::group::{ChangeError, LookError, PutError, SettingsError, TakeError, TakeFormError};
use gesta_core::{AppendError, NameError, ReadError, Retry, Version};
use gesta_wire::{
    BatchJsonError, GroupJsonError, HalfPair, Kind, LogReadJsonError, PROBLEM_MEDIA_TYPE,
    Problem as WireProblem, QueryJsonError, SystemName, kinds,
};
use serde_json::Value;

use super::{etag, expected_json, position_json};
use crate::app::AppError;
use crate::error::{EncodeError, LoadError};
use crate::key::KeyError;
use crate::words::explain_json;

/// An error as an answer: `application/problem+json`.
///
/// `type` is stable and is what programs decide by. `title` describes the type, `detail` this case. `retry` says whether it helps to
/// send the request again: `never`, `now`, `after-pause` or `unknown`. Further members hold the data of the case.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    problem: Box<WireProblem>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this kind. Its `type` is `urn:gesta:problem:` followed by the kind, its `retry` is `never`.
    #[must_use]
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self::of(Kind::new(status.as_u16(), kind, title), detail)
    }

    /// A problem of a kind that clients know too.
    #[must_use]
    pub fn of(kind: Kind, detail: impl Into<String>) -> Self {
        WireProblem::new(kind, detail).into()
    }

    /// A malformed request: 400 `invalid-request`.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::of(kinds::INVALID_REQUEST, detail)
    }

    /// An entity without events: 404 `no-stream`.
    #[must_use]
    pub fn nothing_happened(category: &str, id: &str) -> Self {
        let detail = format!("stream `{category}-{id}` has no event, or had none then");
        Self::of(kinds::NO_STREAM, detail).with("stream", format!("{category}-{id}"))
    }

    /// A bug of the program: 500 `internal`.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::of(kinds::INTERNAL, detail)
    }

    /// The same problem under another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.problem.status = status.as_u16();
        self
    }

    /// The same problem with another detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.problem.detail = detail.into();
        self
    }

    /// The same problem with one more member. It replaces a member of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.problem.members.insert(name.to_owned(), value.into());
        self
    }

    /// The same problem with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same problem with another `retry`. `after-pause` adds the header `Retry-After`.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.problem.retry = retry;
        self.with_pause()
    }

    /// Adds the header `Retry-After` if a pause is advised.
    fn with_pause(mut self) -> Self {
        if self.problem.retry == Retry::AfterPause {
            // One second: a queue of appends is written in less.
            self.headers.push((header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The kind: the last part of `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.problem.kind
    }

    /// The body of the answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.problem.to_json()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json().to_string();
        let mut response =
            (self.status(), [(header::CONTENT_TYPE, PROBLEM_MEDIA_TYPE)], body).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<PathRejection> for Problem {
    /// Names in paths are texts, so the only error is a name that is not UTF-8.
    fn from(_: PathRejection) -> Self {
        Self::invalid("a name in the address is not UTF-8: percent-encode the UTF-8 bytes of the name")
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::of(kinds::TOO_LARGE, "the body is longer than this server accepts")
            }
            _ => Self::invalid("the body broke off"),
        }
    }
}

impl From<WireProblem> for Problem {
    fn from(problem: WireProblem) -> Self {
        Self { problem: Box::new(problem), headers: Vec::new() }.with_pause()
    }
}

macro_rules! from_wire {
    ($($error:ty),*) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                WireProblem::from(error).into()
            }
        })*
    };
}
from_wire!(
    AppendError,
    ReadError,
    NameError,
    SystemName,
    HalfPair,
    QueryJsonError,
    BatchJsonError,
    LogReadJsonError,
    GroupJsonError,
    SettingsError,
    TakeFormError,
    PutError,
    LookError,
    TakeError,
    ChangeError
);

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        let (retry, is_newer) = (error.retry(), error.is_of_newer_program());
        let detail = error.to_string();
        match error {
            LoadError::Read(error) => error.into(),
            LoadError::Name(error) => error.into(),
            LoadError::Key(error) => Self::bad_id(&error),
            LoadError::EmptyBoundary { .. } => Self::invalid(detail),
            LoadError::NoSuchVersion { stream, last, .. } => Self::of(kinds::NO_VERSION, detail)
                .with("stream", stream.as_str())
                .with("actual", last.map(Version::get)),
            LoadError::UnknownType { stream, version, event_type } => {
                Self::unreadable(kinds::UNREADABLE_HISTORY, detail, stream, version, event_type)
            }
            LoadError::UnknownSchemaVersion { stream, version, event_type, found, newest } => {
                let kind = if is_newer { kinds::NEWER_EVENT } else { kinds::UNREADABLE_HISTORY };
                Self::unreadable(kind, detail, stream, version, event_type)
                    .with("found", found)
                    .with("newest", newest)
                    .retry(retry)
            }
            LoadError::Undecodable { stream, version, event_type, source } => {
                let detail = format!("{detail}: {}", explain_json(&source));
                Self::unreadable(kinds::UNREADABLE_HISTORY, detail, stream, version, event_type)
            }
        }
    }
}

impl Problem {
    fn bad_id(error: &KeyError) -> Self {
        Self::of(kinds::INVALID_ID, error.to_string()).with("category", error.kind)
    }

    fn unreadable(kind: Kind, detail: String, stream: String, version: Version, event_type: String) -> Self {
        Self::of(kind, detail)
            .with("stream", stream)
            .with("version", version.get())
            .with("eventType", event_type)
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let (detail, retry) = (error.to_string(), error.retry());
        match error {
            AppError::UnknownDecider { known, .. }
            | AppError::UnknownCommand { known, .. }
            | AppError::UnknownDecision { known, .. } => {
                Self::of(kinds::NOT_HOSTED, detail).with("known", known)
            }
            AppError::BadId(error) => Self::bad_id(&error),
            AppError::BadInput(error) => Self::of(kinds::INVALID_INPUT, detail).with("field", error.field),
            AppError::Refused { code, .. } => Self::of(kinds::REFUSED, detail).with("code", code),
            AppError::VersionMismatch { stream, expected, actual } => {
                let problem = Self::of(kinds::VERSION_MISMATCH, detail)
                    .with("stream", stream.as_str())
                    .with("expected", expected_json(expected))
                    .with("actual", actual.map(Version::get));
                actual
                    .into_iter()
                    .fold(problem, |problem, version| problem.with_header(header::ETAG, etag(version)))
            }
            AppError::Contended { attempts } => {
                Self::of(kinds::CONTENDED, detail).retry(retry).with("attempts", attempts)
            }
            AppError::AlreadyCompensated { event, by } => Self::of(kinds::ALREADY_COMPENSATED, detail)
                .with("stream", event.stream.as_str())
                .with("id", event.id.to_string())
                .with("by", position_json(by)),
            AppError::Invalid { .. } => Self::invalid(detail),
            AppError::Load(error) => error.into(),
            AppError::Encode(EncodeError::Name(error)) => error.into(),
            AppError::Encode(EncodeError::Key(error)) => Self::bad_id(&error),
            AppError::Encode(
                EncodeError::Json { .. } | EncodeError::NotAnObject { .. } | EncodeError::NoStream,
            )
            | AppError::Unprintable { .. } => Self::internal(detail),
            AppError::InDoubt { .. } => Self::of(kinds::IN_DOUBT, detail).retry(retry),
            AppError::Append(error) => error.into(),
        }
    }
}
