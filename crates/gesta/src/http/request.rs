//! What a request says besides its body: in headers and parameters.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use gesta_core::{CommandKey, Expected, Timestamp, Version};

use super::time::parse_time;
use super::{Params, Problem, refuse_cross_site};
use crate::app::CommandOptions;
use crate::idempotency::Idempotency;
use crate::load::AsOf;
use crate::meta::Meta;

/// The longest `Idempotency-Key`, in bytes: a few times a UUID.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const ACTOR: HeaderName = HeaderName::from_static("x-actor");
const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
const CAUSATION: HeaderName = HeaderName::from_static("x-causation-id");
const REASON: HeaderName = HeaderName::from_static("x-reason");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Who sent the request, as an extension that the host's authentication puts on it. It is then the actor, whatever the
/// headers say, and the scope of idempotency keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(pub String);

/// What to send a command with.
pub(super) fn options(parts: &Parts, route: &str, body: &[u8]) -> Result<CommandOptions, Problem> {
    let headers = &parts.headers;
    refuse_cross_site(parts)?;
    check_content_type(headers)?;
    let principal = match parts.extensions.get::<Principal>() {
        Some(Principal(name)) => Some(name.as_str()),
        None => text(headers, ACTOR)?,
    };
    let mut meta = Meta::new();
    for (value, say) in [
        (principal, Meta::actor as fn(Meta, String) -> Meta),
        (text(headers, CORRELATION)?, Meta::correlation),
        (text(headers, CAUSATION)?, Meta::causation),
        (text(headers, REASON)?, Meta::reason),
        (text(headers, TRACEPARENT)?, Meta::traceparent),
    ] {
        if let Some(value) = value {
            meta = say(meta, value.to_owned());
        }
    }
    let key = command_key(parts, principal.unwrap_or("anonymous"), route, body)?;
    Ok(CommandOptions { key, expected: expected(headers)?, meta })
}

/// A form that another site's page can post on its own is not taken for a command.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = text(headers, header::CONTENT_TYPE)? else { return Ok(()) };
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    let title = "The body is not JSON";
    let detail = format!("`{given}` was sent: send `Content-Type: application/json`");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", title, detail))
}

fn command_key(
    parts: &Parts,
    principal: &str,
    route: &str,
    body: &[u8],
) -> Result<Option<CommandKey>, Problem> {
    let Some(given) = text(&parts.headers, IDEMPOTENCY_KEY)? else { return Ok(None) };
    // The draft standard has it as a quoted string, most clients send it bare: both name the same.
    let key = given.trim_matches('"');
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        let detail = format!("header `Idempotency-Key` has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
        return Err(Problem::invalid(detail));
    }
    let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
    let request = [parts.method.as_str().as_bytes(), address.as_bytes(), body];
    Ok(Some(Idempotency::new(principal, route).command_key(key, request)))
}

fn expected(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    match (text(headers, header::IF_MATCH)?, text(headers, header::IF_NONE_MATCH)?) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Expected::Exists)),
        (Some(tag), None) => {
            from_etag(tag).map(|version| Some(Expected::Exactly(version))).ok_or_else(|| {
                Problem::invalid(
                    "header `If-Match` is neither `*` nor one version in quotes, such as `\"7\"`",
                )
            })
        }
        (None, Some("*")) => Ok(Some(Expected::None)),
        (None, Some(_)) => Err(Problem::invalid("header `If-None-Match` of a command is `*` or left out")),
        (Some(_), Some(_)) => {
            Err(Problem::invalid("both `If-Match` and `If-None-Match` are given: give one"))
        }
    }
}

/// The version that the client holds already.
pub(super) fn known_version(headers: &HeaderMap) -> Option<Version> {
    from_etag(headers.get(header::IF_NONE_MATCH)?.to_str().ok()?)
}

fn from_etag(tag: &str) -> Option<Version> {
    let digits = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok().map(Version::new))?
}

fn text(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid(format!("header `{name}` is given more than once")));
    }
    let text =
        value.to_str().map_err(|_| Problem::invalid(format!("header `{name}` is not visible ASCII")))?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}

/// The moment that a state is asked for.
pub(super) fn as_of(mut params: Params) -> Result<Option<AsOf>, Problem> {
    let invalid =
        |name: &str, error: &dyn std::fmt::Display| Problem::invalid(format!("parameter `{name}`: {error}"));
    let version = params.one("version")?.map(|text| match text.parse() {
        Ok(version) => Ok(AsOf::Version(Version::new(version))),
        Err(_) => {
            let reason = format!("`{text}` is not a version: give a whole number from 0");
            Err(invalid("version", &reason))
        }
    });
    let checkpoint = params.read("checkpoint")?.map(|checkpoint| Ok(AsOf::Checkpoint(checkpoint)));
    let mut time = |name: &'static str, at: fn(Timestamp) -> AsOf| {
        let text = params.one(name)?;
        Ok::<_, Problem>(text.map(|text| parse_time(&text).map(at).map_err(|error| invalid(name, &error))))
    };
    let asked = [version, checkpoint, time("recorded_at", AsOf::RecordedAt)?, time("time", AsOf::Time)?];
    params.finish()?;
    let mut asked = asked.into_iter().flatten();
    let first = asked.next().transpose()?;
    if asked.next().is_some() {
        let detail = "more than one of `version`, `checkpoint`, `recorded_at` and `time` is given: give one";
        return Err(Problem::invalid(detail));
    }
    Ok(first)
}
