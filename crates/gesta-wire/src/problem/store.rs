//! The errors of a store as problems, and back: each error comes back as itself.

use std::borrow::Cow;

use gesta_core::{AppendError, Checkpoint, Diverged, Position, ReadError, Timestamp, Version};
use serde_json::Value;

use super::kinds;
use super::{Kind, Problem};
use crate::scalar::{expected_from_json, expected_json, position_from_json, position_json};
use crate::time::{format_time, parse_time};

/// The member that marks [`AppendError::Denied`] and holds its reason. Any kind may carry it.
pub(super) const DENIED: &str = "denied";

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let problem = Self::new(append_kind(&error), error.to_string()).retry(error.retry());
        match error {
            AppendError::TooLarge { what, actual, limit } => problem.too_large(&what, actual, limit),
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
            AppendError::ForeignCheckpoint { checkpoint } => {
                problem.with("checkpoint", checkpoint.to_string())
            }
            AppendError::CheckpointAhead { checkpoint, head } => problem.ahead(&checkpoint, &head),
            AppendError::Diverged { checkpoint, found } => problem.diverged(&checkpoint, &found),
            AppendError::Unsupported { capability } => problem.with("capability", &*capability),
            AppendError::Denied { code, reason } => problem.denied(code, reason),
            AppendError::Invalid { reason }
            | AppendError::ReadOnly { reason }
            | AppendError::StorageFull { reason }
            | AppendError::Unavailable { reason }
            | AppendError::InDoubt { reason } => problem.with("reason", reason),
            _ => problem,
        }
    }
}

const fn append_kind(error: &AppendError) -> Kind {
    match error {
        AppendError::Invalid { .. } => kinds::INVALID_BATCH,
        AppendError::TooLarge { .. } => kinds::TOO_LARGE,
        AppendError::Conflict { .. } => kinds::CONFLICT,
        AppendError::ConditionFailed { .. } => kinds::CONDITION_FAILED,
        AppendError::IdTaken { .. } => kinds::ID_TAKEN,
        AppendError::KeyReused => kinds::KEY_REUSED,
        AppendError::ForeignCheckpoint { .. } => kinds::FOREIGN_CHECKPOINT,
        AppendError::CheckpointAhead { .. } => kinds::CHECKPOINT_AHEAD,
        AppendError::Diverged { .. } => kinds::DIVERGED,
        AppendError::Unsupported { .. } => kinds::UNSUPPORTED,
        AppendError::Denied { .. } => kinds::DENIED,
        AppendError::ReadOnly { .. } => kinds::READ_ONLY,
        AppendError::StorageFull { .. } => kinds::STORAGE_FULL,
        AppendError::Overloaded => kinds::OVERLOADED,
        AppendError::Unavailable { .. } => kinds::UNAVAILABLE,
        AppendError::InDoubt { .. } => kinds::IN_DOUBT,
        AppendError::Closed => kinds::CLOSED,
        _ => kinds::FAILED,
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let problem = Self::new(read_kind(&error), error.to_string()).retry(error.retry());
        match error {
            ReadError::TooLarge { what, actual, limit } => problem.too_large(&what, actual, limit),
            ReadError::ForeignCheckpoint { checkpoint } => problem.with("checkpoint", checkpoint.to_string()),
            ReadError::CheckpointAhead { checkpoint, head } => problem.ahead(&checkpoint, &head),
            ReadError::Diverged { checkpoint, found } => problem.diverged(&checkpoint, &found),
            ReadError::Unsupported { capability } => problem.with("capability", &*capability),
            ReadError::DataLoss { location, from, to, resume } => problem
                .with("location", location)
                .with("from", position_json(from))
                .with("to", position_json(to))
                .with("resume", resume.to_string()),
            ReadError::NotYet { now } => problem.not_yet(now),
            ReadError::Invalid { reason } | ReadError::Unavailable { reason } => {
                problem.with("reason", reason)
            }
            _ => problem,
        }
    }
}

const fn read_kind(error: &ReadError) -> Kind {
    match error {
        ReadError::Invalid { .. } => kinds::INVALID_READ,
        ReadError::TooLarge { .. } => kinds::TOO_LARGE,
        ReadError::ForeignCheckpoint { .. } => kinds::FOREIGN_CHECKPOINT,
        ReadError::CheckpointAhead { .. } => kinds::CHECKPOINT_AHEAD,
        ReadError::Diverged { .. } => kinds::DIVERGED,
        ReadError::Unsupported { .. } => kinds::UNSUPPORTED,
        ReadError::DataLoss { .. } => kinds::DATA_LOSS,
        ReadError::NotYet { .. } => kinds::NOT_YET,
        ReadError::Overloaded => kinds::OVERLOADED,
        ReadError::Unavailable { .. } => kinds::UNAVAILABLE,
        ReadError::Closed => kinds::CLOSED,
        _ => kinds::FAILED,
    }
}

impl Problem {
    fn too_large(self, what: &str, actual: usize, limit: usize) -> Self {
        self.with("what", what).with("actual", actual).with("limit", limit)
    }

    fn ahead(self, checkpoint: &Checkpoint, head: &Checkpoint) -> Self {
        self.with("checkpoint", checkpoint.to_string()).with("head", head.to_string())
    }

    fn diverged(self, checkpoint: &Checkpoint, found: &Checkpoint) -> Self {
        self.with("checkpoint", checkpoint.to_string()).with("found", found.to_string())
    }

    /// Says the time by the store's clock as people read it.
    fn not_yet(mut self, now: Timestamp) -> Self {
        let now = format_time(now);
        self.detail = format!(
            "the time cannot be closed yet: the store's clock shows {now}, so ask again when that is later than the time"
        );
        self.with("now", now)
    }

    /// Makes this the problem of [`AppendError::Denied`]: the code is the kind.
    fn denied(mut self, code: Cow<'static, str>, reason: String) -> Self {
        if code == kinds::HOSTED_CATEGORY.name {
            self.status = kinds::HOSTED_CATEGORY.status;
            self.title = kinds::HOSTED_CATEGORY.title.into();
        }
        self.kind = code;
        self.detail.clone_from(&reason);
        self.with(DENIED, reason)
    }

    /// Returns the error of an append that this problem was made from; `None` if it was made from something else.
    #[must_use]
    pub fn as_append_error(&self) -> Option<AppendError> {
        if let Some(reason) = self.text(DENIED) {
            return Some(AppendError::Denied { code: self.kind.clone(), reason });
        }
        Some(match &*self.kind {
            "invalid-batch" => AppendError::Invalid { reason: self.text("reason")? },
            "too-large" => AppendError::TooLarge {
                what: self.text("what")?.into(),
                actual: self.count("actual")?,
                limit: self.count("limit")?,
            },
            "conflict" => self.as_conflict()?,
            "condition-failed" => {
                AppendError::ConditionFailed { index: self.count("index")?, at: self.position("position")? }
            }
            "id-taken" => AppendError::IdTaken {
                stream: self.text("stream")?.parse().ok()?,
                id: self.text("id")?.parse().ok()?,
                version: Version::new(self.members.get("version")?.as_u64()?),
                index: self.count("index")?,
            },
            "key-reused" => AppendError::KeyReused,
            "foreign-checkpoint" => {
                AppendError::ForeignCheckpoint { checkpoint: self.checkpoint("checkpoint")? }
            }
            "checkpoint-ahead" => AppendError::CheckpointAhead {
                checkpoint: self.checkpoint("checkpoint")?,
                head: self.checkpoint("head")?,
            },
            "diverged" => self.as_diverged()?.into(),
            "unsupported" => AppendError::Unsupported { capability: self.text("capability")?.into() },
            "read-only" => AppendError::ReadOnly { reason: self.text("reason")? },
            "storage-full" => AppendError::StorageFull { reason: self.text("reason")? },
            "overloaded" => AppendError::Overloaded,
            "unavailable" => AppendError::Unavailable { reason: self.text("reason")? },
            "in-doubt" => AppendError::InDoubt { reason: self.text("reason")? },
            "closed" => AppendError::Closed,
            _ => return None,
        })
    }

    /// Returns the error of a read that this problem was made from; `None` if it was made from something else.
    #[must_use]
    pub fn as_read_error(&self) -> Option<ReadError> {
        Some(match &*self.kind {
            "invalid-read" => ReadError::Invalid { reason: self.text("reason")? },
            "too-large" => ReadError::TooLarge {
                what: self.text("what")?.into(),
                actual: self.count("actual")?,
                limit: self.count("limit")?,
            },
            "foreign-checkpoint" => {
                ReadError::ForeignCheckpoint { checkpoint: self.checkpoint("checkpoint")? }
            }
            "checkpoint-ahead" => ReadError::CheckpointAhead {
                checkpoint: self.checkpoint("checkpoint")?,
                head: self.checkpoint("head")?,
            },
            "diverged" => self.as_diverged()?.into(),
            "unsupported" => ReadError::Unsupported { capability: self.text("capability")?.into() },
            "data-loss" => ReadError::DataLoss {
                location: self.text("location")?,
                from: self.position("from")?,
                to: self.position("to")?,
                resume: self.checkpoint("resume")?,
            },
            "not-yet" => ReadError::NotYet { now: parse_time(&self.text("now")?).ok()? },
            "overloaded" => ReadError::Overloaded,
            "unavailable" => ReadError::Unavailable { reason: self.text("reason")? },
            "closed" => ReadError::Closed,
            _ => return None,
        })
    }

    fn as_conflict(&self) -> Option<AppendError> {
        let actual = match self.members.get("actual")? {
            Value::Null => None,
            number => Some(Version::new(number.as_u64()?)),
        };
        Some(AppendError::Conflict {
            stream: self.text("stream")?.parse().ok()?,
            expected: expected_from_json(self.members.get("expected")?)?,
            actual,
        })
    }

    fn as_diverged(&self) -> Option<Diverged> {
        Some(Diverged { checkpoint: self.checkpoint("checkpoint")?, found: self.checkpoint("found")? })
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.members.get(name)?.as_str().map(str::to_owned)
    }

    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        usize::try_from(self.members.get(name)?.as_u64()?).ok()
    }

    fn position(&self, name: &str) -> Option<Position> {
        position_from_json(self.members.get(name)?)
    }

    fn checkpoint(&self, name: &str) -> Option<Checkpoint> {
        self.members.get(name)?.as_str()?.parse().ok()
    }
}
