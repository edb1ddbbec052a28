//! What a request says besides its body: in headers and parameters.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use gesta_core::{Timestamp, Version};

use super::correlation::Correlation;
use super::{
    Caller, Params, Problem, expected, header_text, media_type, refuse_cross_site, refuse_encoded,
    tag_of_header, unsupported_type,
};
use crate::app::CommandOptions;
use crate::load::AsOf;
use crate::meta::Meta;
use gesta_wire::parse_time;

/// The options of a command: its key, the expected version, and the metadata of its events.
pub(super) fn options(parts: &Parts, route: &str, body: &[u8]) -> Result<CommandOptions, Problem> {
    let headers = &parts.headers;
    refuse_cross_site(parts)?;
    refuse_encoded(headers)?;
    check_content_type(headers)?;
    let caller = Caller::of(parts);
    let actor = header_text(headers, "X-Actor")?;
    // The layer has taken it from these headers, or made it. Here a malformed one is refused.
    header_text(headers, "X-Correlation-Id")?;
    let correlation = parts.extensions.get::<Correlation>().map(|Correlation(id)| id.as_str());
    let causation = header_text(headers, "X-Causation-Id")?;
    let mut meta = Meta::new();
    for (name, key, value) in [
        ("X-Actor", "$actor", caller.principal().or(actor)),
        ("X-Correlation-Id", "$correlation", correlation),
        ("X-Causation-Id", "$causation", causation),
    ] {
        value.map_or(Ok(()), |value| tag_of_header(name, key, value).map(drop))?;
    }
    for (value, add) in [
        (caller.principal().or(actor), Meta::actor as fn(Meta, String) -> Meta),
        (correlation, Meta::correlation),
        (causation, Meta::causation),
        (header_text(headers, "X-Reason")?, Meta::reason),
        (header_text(headers, "Traceparent")?, Meta::traceparent),
    ] {
        if let Some(value) = value {
            meta = add(meta, value.to_owned());
        }
    }
    Ok(CommandOptions { key: caller.command_key(parts, route, body)?, expected: expected(headers)?, meta })
}

/// Refuses the content types of an HTML form, which a page of another site can post without asking.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers)?.as_str() {
        "" | "application/json" => Ok(()),
        other if other.ends_with("+json") => Ok(()),
        other => Err(unsupported_type(other, &["application/json"])),
    }
}

/// The moment at which a state is asked for; `None` is now.
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
