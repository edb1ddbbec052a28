//! Entity tags: the version of a stream, as HTTP's conditional requests name it.
//!
//! A tag is the version in quotes, `"7"`. A route that answers in several forms gives each form a tag of its own: the version,
//! a `-`, and the name of the form. Weak tags (`W/"7"`, which a compressing proxy makes) mean the same version: what a tag
//! names is the stream and not the bytes of one answer.

use axum::http::{HeaderMap, HeaderValue, header};
use gesta_core::{Expected, Version};

use super::{Problem, header_text};

/// The version of a stream as an entity tag.
#[must_use]
pub fn etag(version: Version) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes are visible ASCII")
}

/// Whether the client already holds the answer with this tag, by `If-None-Match`: a list of tags, weak or strong, or `*`.
///
/// # Errors
/// A [`Problem`], 400, if the header is empty, repeated or not a list of entity tags.
pub fn is_unchanged(headers: &HeaderMap, current: &HeaderValue) -> Result<bool, Problem> {
    let Some(text) = header_text(headers, header_name::IF_NONE_MATCH)? else { return Ok(false) };
    if text == "*" {
        return Ok(true);
    }
    let held = tags(text).ok_or_else(|| {
        Problem::invalid("header `If-None-Match` is not `*` or a list of entity tags, such as `\"7\"`")
    })?;
    let current = current.to_str().unwrap_or_default().trim_matches('"');
    Ok(held.contains(&current))
}

/// What a request that writes expects of the stream, by `If-Match` or `If-None-Match`; `None` if it has neither.
///
/// # Errors
/// A [`Problem`], 400, if a header is empty, repeated or malformed, or if both are given.
pub fn expected(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let if_match = header_text(headers, header_name::IF_MATCH)?;
    let if_none_match = header_text(headers, header_name::IF_NONE_MATCH)?;
    match (if_match, if_none_match) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Expected::Exists)),
        (Some(text), None) => {
            version_in(text).map(|version| Some(Expected::Exactly(version))).ok_or_else(|| {
                Problem::invalid(
                    "header `If-Match` is neither `*` nor one version in quotes, such as `\"7\"`",
                )
            })
        }
        (None, Some("*")) => Ok(Some(Expected::None)),
        (None, Some(_)) => {
            Err(Problem::invalid("header `If-None-Match` of a request that writes takes `*` only"))
        }
        (Some(_), Some(_)) => {
            Err(Problem::invalid("both `If-Match` and `If-None-Match` are given: give one"))
        }
    }
}

mod header_name {
    pub(super) const IF_MATCH: &str = "If-Match";
    pub(super) const IF_NONE_MATCH: &str = "If-None-Match";
}

/// The version in a text that is exactly one tag.
fn version_in(text: &str) -> Option<Version> {
    let [tag] = tags(text)?[..] else { return None };
    let digits = tag.split_once('-').map_or(tag, |(version, _)| version);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number).map(Version::new)
}

/// The tags of a list, without quotes and weakness; `None` if the text is not a list of tags.
fn tags(text: &str) -> Option<Vec<&str>> {
    let mut tags = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let opened = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (tag, after) = opened.split_once('"')?;
        tags.push(tag);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(tags).filter(|tags| !tags.is_empty())
}

/// Says how an answer may be cached, where its route has not: an answer with an entity tag may be kept and must be checked before
/// each use, any other may not be kept. Without this, a cache would guess.
pub async fn never_stale(mut response: axum::response::Response) -> axum::response::Response {
    let policy = if response.headers().contains_key(header::ETAG) { "no-cache" } else { "no-store" };
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(policy));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_client_that_holds_the_tag_in_any_spelling_is_told_that_nothing_changed() {
        let current = etag(Version::new(7));
        let cases = [
            ("\"7\"", Some(true)),
            ("W/\"7\"", Some(true)),
            ("\"6\", W/\"7\"", Some(true)),
            ("\"6\",\"7\",", Some(true)),
            ("*", Some(true)),
            ("\"6\"", Some(false)),
            ("\"77\"", Some(false)),
            ("\"7-cloudevents\"", Some(false)),
            ("\"7, 8\"", Some(false)),
            ("7", None),
            ("\"7", None),
            ("\"7\" \"8\"", None),
            (",", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(is_unchanged(&with("if-none-match", text), &current).ok(), expected, "{text}");
        }
        assert_eq!(is_unchanged(&HeaderMap::new(), &current), Ok(false));
    }

    #[test]
    fn a_write_may_name_the_version_by_the_tag_of_any_form() {
        let seven = Some(Expected::Exactly(Version::new(7)));
        let cases = [
            ("\"7\"", Some(seven)),
            ("W/\"7\"", Some(seven)),
            ("\"7-cloudevents\"", Some(seven)),
            ("*", Some(Some(Expected::Exists))),
            ("\"7\", \"8\"", None),
            ("\"+7\"", None),
            ("\"\"", None),
            ("\"99999999999999999999\"", None),
            ("7", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(expected(&with("if-match", text)).ok(), wanted, "{text}");
        }
        assert_eq!(expected(&with("if-none-match", "*")), Ok(Some(Expected::None)));
        assert!(expected(&with("if-none-match", "\"7\"")).is_err());
    }
}
