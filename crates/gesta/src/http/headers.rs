//! Request headers: one rule for every header that a route reads.

use std::fmt::Display;

use axum::http::header::AsHeaderName;
use axum::http::{HeaderMap, HeaderValue, header};
use gesta_core::{NameError, Tag};
use gesta_wire::kinds;

use super::Problem;

/// The value of a header, without the space around it; `None` if the header is not there.
///
/// Handlers read every header through this function, so that an empty or a repeated header never means "not given" on one
/// route and something else on another. `name` is written in messages as it is given.
///
/// # Errors
/// A [`Problem`], 400, if the header is empty, is given more than once, or is not visible ASCII.
pub fn header_text<N>(headers: &HeaderMap, name: N) -> Result<Option<&str>, Problem>
where
    N: AsHeaderName + Display + Copy,
{
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid(format!("header `{name}` is given more than once: give it once")));
    }
    let not_visible = || Problem::invalid(format!("header `{name}` is not visible ASCII"));
    match value.to_str().map_err(|_| not_visible())?.trim() {
        "" => Err(Problem::invalid(format!("header `{name}` is empty: give it a value or leave it out"))),
        // A header may have tabs, and what is kept of it may not.
        text if text.contains('\t') => Err(not_visible()),
        text => Ok(Some(text)),
    }
}

/// The tag that a header names with its value, such as `$correlation` for `X-Correlation-Id`.
///
/// # Errors
/// A [`Problem`], 400, that names the header, if the value is too long for a tag.
pub fn tag_of_header(name: &str, key: &str, value: &str) -> Result<Tag, Problem> {
    Tag::from_parts(key, value).map_err(|error| {
        let reason = match error {
            NameError::TooLong { bytes_max, .. } => {
                // The key and the `:` after it are a part of the tag.
                let most = bytes_max.saturating_sub(key.len() + 1);
                format!("it is {} bytes long: give at most {most}", value.len())
            }
            other => other.to_string(),
        };
        Problem::of(kinds::INVALID_NAME, format!("header `{name}`: {reason}"))
    })
}

/// The media type of the request's body, in lower case and without parameters; empty if the request names none.
///
/// # Errors
/// A [`Problem`], 400, if `Content-Type` is given more than once.
pub fn media_type(headers: &HeaderMap) -> Result<String, Problem> {
    let is_empty = |value: &HeaderValue| value.as_bytes().trim_ascii().is_empty();
    if headers.get(header::CONTENT_TYPE).is_some_and(is_empty) {
        return Ok(String::new());
    }
    let text = header_text(headers, "Content-Type")?.unwrap_or_default();
    Ok(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Refuses a body of a media type that the route does not take.
#[must_use]
pub fn unsupported_type(given: &str, taken: &[&str]) -> Problem {
    let taken = taken.join("`, `");
    let detail = match given {
        "" => format!("the request has no content type: send `{taken}`"),
        given => format!("the content type `{given}` is not supported here: send `{taken}`"),
    };
    Problem::of(kinds::UNSUPPORTED_TYPE, detail)
}

/// Refuses a compressed body: bodies are taken as they are.
///
/// # Errors
/// A [`Problem`], 415, if `Content-Encoding` names any coding but `identity`.
pub fn refuse_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(coding) = header_text(headers, "Content-Encoding")? else { return Ok(()) };
    if coding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let detail = format!("the body has the content encoding `{coding}`: send it uncompressed");
    Err(Problem::of(kinds::UNSUPPORTED_ENCODING, detail)
        .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("wait-for", value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_header_is_absent_or_given_once_with_a_value() {
        let read =
            |values: &[&str]| header_text(&headers(values), "Wait-For").map(|text| text.map(str::to_owned));
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[" a b "]).unwrap().as_deref(), Some("a b"));
        for (values, said) in [
            (&[""][..], "header `Wait-For` is empty"),
            (&["  "], "header `Wait-For` is empty"),
            (&["a", "a"], "header `Wait-For` is given more than once"),
            (&["", "a"], "header `Wait-For` is given more than once"),
            (&["é"], "header `Wait-For` is not visible ASCII"),
            (&["a\tb"], "header `Wait-For` is not visible ASCII"),
        ] {
            let refused = read(values).unwrap_err().to_json()["detail"].to_string();
            assert!(refused.contains(said), "{values:?}: {refused}");
        }
    }
}
