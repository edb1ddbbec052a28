//! Refuses requests that write and that a browser sends for a page of another site.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use gesta_wire::kinds;

use super::Problem;

/// Refuses a request that writes and that a browser sends for a page of another site.
///
/// `Sec-Fetch-Site`, which pages cannot forge, decides if it is there. Otherwise `Origin` decides: its host and port must be those
/// that the request was sent to. Programs send neither header and are not affected.
///
/// # Errors
/// A [`Problem`], 403 `cross-site`.
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

/// Whether the origin has the host and port that the request was sent to.
fn is_own(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let origin = origin.split_once("://").map(|(_, host)| host);
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

fn cross_site(said: &str) -> Problem {
    let detail = format!(
        "a page of another site sent this request ({said}): requests that write are accepted from pages of the same \
         origin and from programs, which send neither `Origin` nor `Sec-Fetch-Site`"
    );
    Problem::of(kinds::CROSS_SITE, detail)
}
