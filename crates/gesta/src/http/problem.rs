//! Problem Details (RFC 9457): the form of every error over HTTP.

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gesta_core::{AppendError, NameError, ReadError, Retry, Version};
use serde_json::{Map, Value, json};

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
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    retry: Retry,
    members: Map<String, Value>,
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
        let detail = detail.into();
        Self { status, kind, title, detail, retry: Retry::Never, members: Map::new(), headers: Vec::new() }
    }

    /// A malformed request: 400 `invalid-request`.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", "The request is not well formed", detail)
    }

    /// An entity without events: 404 `no-stream`.
    #[must_use]
    pub fn nothing_happened(category: &str, id: &str) -> Self {
        let detail = format!("stream `{category}-{id}` has no event, or had none then");
        Self::new(StatusCode::NOT_FOUND, "no-stream", "There is no such stream", detail)
            .with("stream", format!("{category}-{id}"))
    }

    /// A bug of the program: 500 `internal`.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The program has a bug", detail)
    }

    /// The same problem under another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same problem with another detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same problem with one more member. It replaces a member of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
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
        if retry == Retry::AfterPause {
            // One second: a queue of appends is written in less.
            self.headers.push((header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        self.retry = retry;
        self
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The kind: the last part of `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The body of the answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "type": format!("urn:gesta:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "retry": retry_name(self.retry),
        });
        for (name, member) in &self.members {
            value[name] = member.clone();
        }
        value
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json().to_string();
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
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
                Self::of(TOO_LARGE, "the body is longer than this server accepts")
            }
            _ => Self::invalid("the body broke off"),
        }
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-name", "A name is not well formed", error.to_string())
    }
}

type Kind = (StatusCode, &'static str, &'static str);

const TOO_LARGE: Kind = (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "A limit is exceeded");
const FOREIGN_CHECKPOINT: Kind =
    (StatusCode::BAD_REQUEST, "foreign-checkpoint", "The checkpoint belongs to another store");
const CHECKPOINT_AHEAD: Kind =
    (StatusCode::CONFLICT, "checkpoint-ahead", "The checkpoint lies beyond the head of the log");
const UNSUPPORTED: Kind = (StatusCode::NOT_IMPLEMENTED, "unsupported", "The store cannot do this");
const OVERLOADED: Kind = (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many requests are waiting");
const UNAVAILABLE: Kind = (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The store is not available");
const CLOSED: Kind = (StatusCode::SERVICE_UNAVAILABLE, "closed", "The store is closed");
const IN_DOUBT: Kind =
    (StatusCode::INTERNAL_SERVER_ERROR, "in-doubt", "The events may or may not have been appended");

const DIVERGED: Kind =
    (StatusCode::CONFLICT, "diverged", "The checkpoint is of another history of this store");
/// An error that this version does not know, of a store that is newer.
const FAILED: Kind = (StatusCode::INTERNAL_SERVER_ERROR, "store-error", "The store failed");

impl Problem {
    fn of((status, kind, title): Kind, detail: impl Into<String>) -> Self {
        Self::new(status, kind, title, detail)
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let problem = Self::of(append_kind(&error), error.to_string()).retry(error.retry());
        match error {
            AppendError::TooLarge { actual, limit, .. } => {
                problem.with("actual", actual).with("limit", limit)
            }
            AppendError::Conflict { stream, expected, actual } => problem
                .with("stream", stream.as_str())
                .with("expected", expected_json(expected))
                .with("actual", actual.map(Version::get)),
            AppendError::ConditionFailed { index, at } => {
                problem.with("index", index).with("position", position_json(at))
            }
            AppendError::IdTaken { stream, id, version, index } => problem
                .with("stream", stream.as_str())
                .with("id", id.to_string())
                .with("version", version.get())
                .with("index", index),
            AppendError::CheckpointAhead { checkpoint, head } => {
                problem.with("checkpoint", checkpoint.to_string()).with("head", head.to_string())
            }
            AppendError::Diverged { checkpoint, found } => {
                problem.with("checkpoint", checkpoint.to_string()).with("found", found.to_string())
            }
            AppendError::ForeignCheckpoint { checkpoint } => {
                problem.with("checkpoint", checkpoint.to_string())
            }
            _ => problem,
        }
    }
}

const fn append_kind(error: &AppendError) -> Kind {
    match error {
        AppendError::Invalid { .. } => {
            (StatusCode::BAD_REQUEST, "invalid-batch", "The batch is not well formed")
        }
        AppendError::TooLarge { .. } => TOO_LARGE,
        AppendError::Conflict { .. } => {
            (StatusCode::CONFLICT, "conflict", "A stream does not have the expected version")
        }
        AppendError::ConditionFailed { .. } => {
            (StatusCode::CONFLICT, "condition-failed", "An event matches a condition of the append")
        }
        AppendError::IdTaken { .. } => (StatusCode::CONFLICT, "id-taken", "An event id is taken"),
        AppendError::KeyReused => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "key-reused",
            "The idempotency key was used with another request",
        ),
        AppendError::ForeignCheckpoint { .. } => FOREIGN_CHECKPOINT,
        AppendError::CheckpointAhead { .. } => CHECKPOINT_AHEAD,
        AppendError::Diverged { .. } => DIVERGED,
        AppendError::Unsupported { .. } => UNSUPPORTED,
        AppendError::ReadOnly { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "read-only", "The store is read-only")
        }
        AppendError::StorageFull { .. } => {
            (StatusCode::INSUFFICIENT_STORAGE, "storage-full", "The disk is full")
        }
        AppendError::Overloaded => OVERLOADED,
        AppendError::Unavailable { .. } => UNAVAILABLE,
        AppendError::InDoubt { .. } => IN_DOUBT,
        AppendError::Closed => CLOSED,
        _ => FAILED,
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Invalid { .. } => {
                (StatusCode::BAD_REQUEST, "invalid-read", "The read is not well formed")
            }
            ReadError::TooLarge { .. } => TOO_LARGE,
            ReadError::ForeignCheckpoint { .. } => FOREIGN_CHECKPOINT,
            ReadError::CheckpointAhead { .. } => CHECKPOINT_AHEAD,
            ReadError::Diverged { .. } => DIVERGED,
            ReadError::Unsupported { .. } => UNSUPPORTED,
            ReadError::DataLoss { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "data-loss", "Stored events are damaged")
            }
            ReadError::Overloaded => OVERLOADED,
            ReadError::Unavailable { .. } => UNAVAILABLE,
            ReadError::Closed => CLOSED,
            _ => FAILED,
        };
        let problem = Self::of(kind, error.to_string()).retry(error.retry());
        match error {
            ReadError::TooLarge { actual, limit, .. } => problem.with("actual", actual).with("limit", limit),
            ReadError::CheckpointAhead { checkpoint, head } => {
                problem.with("checkpoint", checkpoint.to_string()).with("head", head.to_string())
            }
            ReadError::Diverged { checkpoint, found } => {
                problem.with("checkpoint", checkpoint.to_string()).with("found", found.to_string())
            }
            ReadError::ForeignCheckpoint { checkpoint } => problem.with("checkpoint", checkpoint.to_string()),
            ReadError::DataLoss { from, to, resume, .. } => problem
                .with("from", position_json(from))
                .with("to", position_json(to))
                .with("resume", resume.to_string()),
            _ => problem,
        }
    }
}

const UNREADABLE: Kind = (
    StatusCode::INTERNAL_SERVER_ERROR,
    "unreadable-history",
    "The history has an event that this program cannot read",
);

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        let detail = error.to_string();
        match error {
            LoadError::Read(error) => error.into(),
            LoadError::Name(error) => error.into(),
            LoadError::Key(error) => Self::bad_id(&error),
            LoadError::EmptyBoundary { .. } => Self::invalid(detail),
            LoadError::NoSuchVersion { stream, last, .. } => {
                Self::new(StatusCode::NOT_FOUND, "no-version", "The stream has no such version", detail)
                    .with("stream", stream.as_str())
                    .with("actual", last.map(Version::get))
            }
            LoadError::UnknownType { stream, version, event_type } => {
                Self::unreadable(detail, stream, version, event_type)
            }
            LoadError::UnknownSchemaVersion { stream, version, event_type, found, newest } => {
                Self::unreadable(detail, stream, version, event_type)
                    .with("found", found)
                    .with("newest", newest)
            }
            LoadError::Undecodable { stream, version, event_type, source } => {
                Self::unreadable(format!("{detail}: {}", explain_json(&source)), stream, version, event_type)
            }
        }
    }
}

impl Problem {
    fn bad_id(error: &KeyError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-id", "The id is not well formed", error.to_string())
            .with("category", error.kind)
    }

    fn unreadable(detail: String, stream: String, version: Version, event_type: String) -> Self {
        Self::of(UNREADABLE, detail)
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
                Self::new(StatusCode::NOT_FOUND, "not-hosted", "There is no such command", detail)
                    .with("known", known)
            }
            AppError::BadId(error) => Self::bad_id(&error),
            AppError::BadInput(error) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid-input", "The command is not well formed", detail)
                    .with("field", error.field)
            }
            AppError::Refused { code, .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", "The command was refused", detail)
                    .with("code", code)
            }
            AppError::VersionMismatch { stream, expected, actual } => {
                let title = "The entity is not as the request expects";
                let problem = Self::new(StatusCode::PRECONDITION_FAILED, "version-mismatch", title, detail)
                    .with("stream", stream.as_str())
                    .with("expected", expected_json(expected))
                    .with("actual", actual.map(Version::get));
                actual
                    .into_iter()
                    .fold(problem, |problem, version| problem.with_header(header::ETAG, etag(version)))
            }
            AppError::Contended { attempts } => {
                let title = "Others wrote to the same entities in between";
                Self::new(StatusCode::CONFLICT, "contended", title, detail)
                    .retry(retry)
                    .with("attempts", attempts)
            }
            AppError::Invalid { .. } => Self::invalid(detail),
            AppError::Load(error) => error.into(),
            AppError::Encode(EncodeError::Name(error)) => error.into(),
            AppError::Encode(EncodeError::Key(error)) => Self::bad_id(&error),
            AppError::Encode(
                EncodeError::Json { .. } | EncodeError::NotAnObject { .. } | EncodeError::NoStream,
            )
            | AppError::Unprintable { .. } => Self::internal(detail),
            AppError::InDoubt { .. } => Self::of(IN_DOUBT, detail).retry(retry),
            AppError::Append(error) => error.into(),
        }
    }
}
