//! Requests that a page of another site makes a browser send: those that change something are refused.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};

use super::Problem;

/// Refuses a request that changes something and that a browser sends for a page of another site. Other clients send none of
/// the headers that tell.
///
/// The first that is there decides: `Sec-Fetch-Site`, which pages cannot forge, and `Origin`, whose host and port must be
/// those that the request was sent to.
///
/// # Errors
/// A [`Problem`] `cross-site`, 403.
pub fn refuse_cross_site(parts: &Parts) -> Result<(), Problem> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];
    if reads.contains(&parts.method) {
        return Ok(());
    }
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    if let Some(site) = parts.headers.get("sec-fetch-site").map(text) {
        return match site.as_str() {
            "same-origin" | "none" => Ok(()),
            other => Err(cross_site(&format!("`Sec-Fetch-Site: {other}`"))),
        };
    }
    match parts.headers.get(header::ORIGIN).map(text) {
        Some(origin) if !is_own(&origin, &parts.uri, &parts.headers) => {
            Err(cross_site(&format!("`Origin: {origin}`")))
        }
        _ => Ok(()),
    }
}

/// Whether an origin names the host and port that the request was sent to.
fn is_own(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    of_origin.zip(host).is_some_and(|(of_origin, host)| of_origin.eq_ignore_ascii_case(host))
}

fn cross_site(said: &str) -> Problem {
    let detail = format!(
        "a page of another site sent this request ({said}): what changes something is taken from pages of the same \
         origin, and from programs, which send neither `Origin` nor `Sec-Fetch-Site`"
    );
    Problem::new(StatusCode::FORBIDDEN, "cross-site", "The request comes from another site", detail)
}
