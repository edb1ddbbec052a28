//! Malformed requests as problems.

use gesta_core::NameError;

use super::store::DENIED;
use super::{Problem, kinds};
use crate::batch::BatchJsonError;
use crate::log_read::LogReadJsonError;
use crate::names::SystemName;
use crate::query::QueryJsonError;
use crate::surrogates::HalfPair;

impl Problem {
    /// Creates the problem of a malformed request: 400 `invalid-request`.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(kinds::INVALID_REQUEST, detail)
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(kinds::INVALID_NAME, error.to_string())
    }
}

impl From<SystemName> for Problem {
    fn from(error: SystemName) -> Self {
        let kind = match &error {
            SystemName::Stream(_) => kinds::SYSTEM_STREAM,
            SystemName::EventType(_) => kinds::SYSTEM_TYPE,
        };
        let reason = error.to_string();
        Self::new(kind, reason.clone()).with(DENIED, reason)
    }
}

impl From<HalfPair> for Problem {
    fn from(half: HalfPair) -> Self {
        Self::new(kinds::INVALID_JSON, half.to_string()).with("line", half.line).with("column", half.column)
    }
}

impl From<QueryJsonError> for Problem {
    fn from(error: QueryJsonError) -> Self {
        match error {
            QueryJsonError::Name(error) => error.into(),
            QueryJsonError::Id(error) => Self::invalid(error.to_string()),
        }
    }
}

impl From<LogReadJsonError> for Problem {
    fn from(error: LogReadJsonError) -> Self {
        match error {
            LogReadJsonError::Query(error) => error.into(),
            LogReadJsonError::Name(error) => error.into(),
            other => Self::invalid(other.to_string()),
        }
    }
}

impl From<BatchJsonError> for Problem {
    fn from(error: BatchJsonError) -> Self {
        match error {
            BatchJsonError::Name(error) => error.into(),
            BatchJsonError::Query(error) => error.into(),
            other => Self::invalid(other.to_string()),
        }
    }
}
