//! The version that an append expects of its stream: `If-Match`, `If-None-Match`, or the parameter `expect`.

use axum::http::{HeaderMap, StatusCode, header};
use gesta::http::{Params, Problem, etag, expected};
use gesta_core::{AppendError, Expected};
use gesta_wire::expected_from_text;

/// The expected version, and how its failure is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Precondition {
    pub(crate) expected: Expected,
    /// Given by a header, whose failure is 412. The failure of the parameter is a conflict, 409.
    by_header: bool,
}

impl Precondition {
    pub(crate) fn of(headers: &HeaderMap, params: &mut Params) -> Result<Self, Problem> {
        match (expected(headers)?, expect(params)?) {
            (Some(_), Some(_)) => {
                Err(Problem::invalid("a conditional header and the parameter `expect` are given: give one"))
            }
            (Some(expected), None) => Ok(Self { expected, by_header: true }),
            (None, expected) => Ok(Self { expected: expected.unwrap_or(Expected::Any), by_header: false }),
        }
    }

    /// The answer to an append that failed.
    pub(crate) fn answer(self, error: AppendError) -> Problem {
        let failed = match &error {
            AppendError::Conflict { actual, .. } if self.by_header => Some(*actual),
            _ => None,
        };
        let problem = Problem::from(error);
        match failed {
            None => problem,
            Some(actual) => {
                let problem = problem.with_status(StatusCode::PRECONDITION_FAILED);
                match actual {
                    None => problem,
                    Some(version) => problem.with_header(header::ETAG, etag(version)),
                }
            }
        }
    }
}

fn expect(params: &mut Params) -> Result<Option<Expected>, Problem> {
    let Some(text) = params.one("expect")? else { return Ok(None) };
    let expected = expected_from_text(&text);
    expected.map(Some).ok_or_else(|| {
        Problem::invalid(format!("parameter `expect`: `{text}` is not `any`, `none`, `exists` or a version"))
    })
}
