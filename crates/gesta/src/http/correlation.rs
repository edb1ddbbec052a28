//! The correlation of a command: one id for the request, its events, and everything that follows from them.
//!
//! It is `X-Correlation-Id`, else the trace id of `traceparent`, else a new UUIDv7. It is recorded with the events and given in the
//! answer, also of a refusal. The answer to a repeat gives the id that the events were recorded with.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::header_text;
use crate::handle::Gesta;

/// The header of requests and answers.
pub(super) const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");

/// The correlation of a request, as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Correlation(pub(super) String);

/// A layer that gives each request that writes its correlation, and puts it on the answer. [`router`](super::router) has it. A host that
/// refuses requests in layers of its own adds it around them, so that those answers have it too.
///
/// `gesta` gives new ids.
pub async fn correlate(State(gesta): State<Gesta>, mut request: Request, next: Next) -> Response {
    if request.method() != Method::POST || request.extensions().get::<Correlation>().is_some() {
        return next.run(request).await;
    }
    let id = given(request.headers()).unwrap_or_else(|| gesta.environment().event_id().to_string());
    request.extensions_mut().insert(Correlation(id.clone()));
    let mut response = next.run(request).await;
    if !response.headers().contains_key(CORRELATION) {
        put(&mut response, &id);
    }
    response
}

/// Puts the correlation on the answer.
pub(super) fn put(response: &mut Response, id: &str) {
    // A recorded one may hold characters that a header cannot.
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(CORRELATION, value);
    }
}

/// The correlation that the headers give. A malformed `X-Correlation-Id` is refused by the route.
fn given(headers: &HeaderMap) -> Option<String> {
    let id = header_text(headers, "X-Correlation-Id").ok()?;
    let trace = || trace_id(header_text(headers, "Traceparent").ok()??);
    id.or_else(trace).map(str::to_owned)
}

/// The trace id of a W3C `traceparent`: `<version>-<trace id>-<parent id>-<flags>`. Later versions may have more parts.
fn trace_id(traceparent: &str) -> Option<&str> {
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = traceparent.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let has_form = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let is_known = version != "ff" && (version != "00" || parts.next().is_none());
    let is_set = |part: &str| part.bytes().any(|byte| byte != b'0');
    (has_form && is_known && is_set(trace) && is_set(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_id_is_taken_from_a_valid_traceparent_only() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (text, found) in [
            (format!("00-{trace}-00f067aa0ba902b7-01"), true),
            (format!("cc-{trace}-00f067aa0ba902b7-01-what"), true),
            (format!("00-{trace}-00f067aa0ba902b7-01-what"), false),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), false),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            (format!("00-{trace}-{}-01", "0".repeat(16)), false),
            (format!("00-{trace}-00f067aa0ba902b7"), false),
            (trace.to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(trace_id(&text), found.then_some(trace), "{text}");
        }
    }
}
