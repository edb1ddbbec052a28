//! What an append expects of its stream, as HTTP says it: `If-Match`, `If-None-Match`, or the parameter `expect`.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use gesta_core::{AppendError, Expected, Version};

use crate::wire::expected_from_text;
use gesta::http::{Params, Problem};

/// What was expected, and how a failure of it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Precondition {
    pub(crate) expected: Expected,
    /// Said by a conditional header, whose failure is 412; otherwise it is a conflict, 409.
    by_header: bool,
}

impl Precondition {
    pub(crate) fn of(headers: &HeaderMap, params: &mut Params) -> Result<Self, Problem> {
        let said = [if_match(headers)?, if_none_match(headers)?, expect(params)?];
        let mut said = said.into_iter().flatten();
        let first = said.next().unwrap_or(Self { expected: Expected::Any, by_header: false });
        if said.next().is_some() {
            return Err(Problem::invalid(
                "more than one of `If-Match`, `If-None-Match` and `expect` is given: give one",
            ));
        }
        Ok(first)
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

/// The version of a stream as an entity tag.
pub(crate) fn etag(version: Version) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes are visible ASCII")
}

/// The version in an entity tag.
pub(crate) fn from_etag(tag: &str) -> Option<Version> {
    let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok().map(Version::new))?
}

fn if_match(headers: &HeaderMap) -> Result<Option<Precondition>, Problem> {
    let Some(text) = text(headers, header::IF_MATCH)? else { return Ok(None) };
    let expected = match text {
        "*" => Expected::Exists,
        tag => from_etag(tag).map(Expected::Exactly).ok_or_else(|| {
            Problem::invalid("header `If-Match` is neither `*` nor one version in quotes, such as `\"7\"`")
        })?,
    };
    Ok(Some(Precondition { expected, by_header: true }))
}

fn if_none_match(headers: &HeaderMap) -> Result<Option<Precondition>, Problem> {
    match text(headers, header::IF_NONE_MATCH)? {
        None => Ok(None),
        Some("*") => Ok(Some(Precondition { expected: Expected::None, by_header: true })),
        Some(_) => Err(Problem::invalid("header `If-None-Match` of an append is `*` or left out")),
    }
}

fn expect(params: &mut Params) -> Result<Option<Precondition>, Problem> {
    let Some(text) = params.one("expect")? else { return Ok(None) };
    let expected = expected_from_text(&text).ok_or_else(|| {
        Problem::invalid(format!("parameter `expect`: `{text}` is not `any`, `none`, `exists` or a version"))
    })?;
    Ok(Some(Precondition { expected, by_header: false }))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(&name) else { return Ok(None) };
    let text =
        value.to_str().map_err(|_| Problem::invalid(format!("header `{name}` is not visible ASCII")))?;
    Ok(Some(text.trim()))
}
