//! The address of a server: `http://host:port`, with a path if the server is behind a proxy.

use hyper::http::uri::{Authority, Uri};

/// The port of an address without one.
const HTTP_PORT: u16 = 80;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The host to connect to: a name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of the header `Host`.
    pub(crate) authority: String,
    /// The path before every route. Empty, or with a slash at the start and none at the end.
    pub(crate) prefix: String,
}

impl Address {
    /// Reads an address. The error says what is wrong and what helps.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        let uri = url.parse::<Uri>().map_err(|_| "write it like `http://127.0.0.1:2114`")?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("this client has no TLS: use `http://`, and a tunnel or proxy that encrypts");
            }
            _ => return Err("write it with `http://` at the start, like `http://127.0.0.1:2114`"),
        }
        let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
        if authority.contains('@') {
            return Err("a Gesta server has no users: leave out the part before `@`");
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err("it names no host");
        }
        if uri.query().is_some() {
            return Err("leave out the part from `?` on");
        }
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(HTTP_PORT),
            authority: authority.to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_may_have_a_port_and_a_path() {
        for (url, host, port, authority, prefix) in [
            ("http://127.0.0.1:2114", "127.0.0.1", 2114, "127.0.0.1:2114", ""),
            ("http://localhost/", "localhost", 80, "localhost", ""),
            ("http://[::1]:9", "::1", 9, "[::1]:9", ""),
            ("http://gesta.example/log/", "gesta.example", 80, "gesta.example", "/log"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port), "{url}");
            assert_eq!((address.authority.as_str(), address.prefix.as_str()), (authority, prefix), "{url}");
        }
    }

    #[test]
    fn what_is_not_the_address_of_a_server_is_refused_with_the_reason() {
        for (url, part) in [
            ("", "write it like"),
            ("127.0.0.1:2114", "http://"),
            ("/data/log", "http://"),
            ("https://gesta.example", "no TLS"),
            ("ftp://gesta.example", "http://"),
            ("http://ann:secret@gesta.example", "`@`"),
            ("http://gesta.example/?a=b", "`?`"),
            ("http://", "write it like"),
        ] {
            let reason = Address::parse(url).unwrap_err();
            assert!(reason.contains(part), "{url}: {reason}");
            assert!(!reason.contains("secret"));
        }
    }
}
