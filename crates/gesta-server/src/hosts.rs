//! Checks the host of a request: a server on loopback answers only under the names of this machine.
//!
//! A web page can make its own name resolve to `127.0.0.1`. A browser then treats the server as the page's own site and lets the page
//! read and write. `Host` still has the page's name, and pages cannot forge it, so the request is refused by that.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gesta::http::{Problem, refuse_cross_site};
use gesta_wire::kinds;

/// Refuses requests whose host is not this machine.
pub(crate) async fn only_local(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match foreign_host(&parts) {
        Some(host) => misdirected(&host).into_response(),
        None => next.run(Request::from_parts(parts, body)).await,
    }
}

/// Refuses requests that write and come from a page of another site.
pub(crate) async fn only_own_site(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match refuse_cross_site(&parts) {
        Err(problem) => problem.into_response(),
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
    }
}

/// The first host in a request that is not this machine. No browser sends a request without a host, which HTTP/1.0 allows.
fn foreign_host(parts: &Parts) -> Option<String> {
    let named = parts.headers.get_all(header::HOST).iter();
    let named = named.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let addressed = parts.uri.authority().map(|authority| authority.as_str().to_owned());
    named.chain(addressed).find(|host| !is_local(host))
}

fn is_local(host: &str) -> bool {
    let host = host.trim();
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if is_port(port) => address,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn misdirected(host: &str) -> Problem {
    let host = host.chars().take(255).collect::<String>();
    let detail = format!(
        "the request names host `{host}`, but this server listens on loopback and answers only to names of this machine: \
         use `localhost` or `127.0.0.1`; a proxy in front of it must send `Host: localhost`"
    );
    Problem::of(kinds::FOREIGN_HOST, detail).with("host", host)
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_the_names_of_this_machine_are_local() {
        for own in [
            "localhost",
            "LOCALHOST:2114",
            "localhost.:80",
            "bank.localhost:1",
            "127.0.0.1",
            "127.0.0.1:2114",
            "127.1.2.3:9",
            "[::1]",
            "[::1]:2114",
        ] {
            assert!(is_local(own), "{own}");
        }
        for foreign in [
            "",
            "x",
            "evil.example",
            "evil.example:2114",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "192.168.0.1:2114",
            "0.0.0.0:2114",
            "[::2]:2114",
            "[::1]evil.example",
            "localhost:80@evil.example",
            "user@localhost",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }
}
