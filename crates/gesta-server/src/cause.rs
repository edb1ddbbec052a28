//! The cause of a raw append: `X-Causation-Id`, and with it `X-Correlation-Id`.
//!
//! Raw appends are stored as they are. Only a consumer that says what caused its events gets the tags that a command would get.
//! Without `X-Causation-Id`, `X-Correlation-Id` is ignored: proxies add it to requests of others, such as imports.

use axum::http::HeaderMap;
use gesta::http::{Problem, header_text, tag_of_header};
use gesta_core::NewEvent;

/// Adds the tags `$causation` and `$correlation` to events that do not have them.
pub(crate) fn add_cause(headers: &HeaderMap, events: &mut [NewEvent]) -> Result<(), Problem> {
    let Some(causation) = header_text(headers, "X-Causation-Id")? else { return Ok(()) };
    let correlation = header_text(headers, "X-Correlation-Id")?;
    let given = [
        ("X-Causation-Id", "$causation", Some(causation)),
        ("X-Correlation-Id", "$correlation", correlation),
    ];
    for (header, key, value) in given {
        let Some(value) = value else { continue };
        let tag = tag_of_header(header, key, value)?;
        let has_one = |event: &NewEvent| event.tags.iter().any(|tag| tag.key() == key);
        events.iter_mut().filter(|event| !has_one(event)).for_each(|event| event.tags.push(tag.clone()));
    }
    Ok(())
}
