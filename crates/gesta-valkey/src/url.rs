//! The address of a server: `redis://[user[:password]@]host[:port][/db][?ttl=SECONDS]`, or `rediss://…[?ca=FILE]` with TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

const PORT: u16 = 6379;

/// The address of a Valkey or Redis server, with the user and the database.
///
/// Printed without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ValkeyUrl {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: u32,
    pub(crate) ttl: Option<Duration>,
    /// For an encrypted connection.
    pub(crate) tls: Option<Authorities>,
}

/// The authorities that a server's certificate may be signed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authorities {
    System,
    File(PathBuf),
}

impl Authorities {
    /// The file; `None` for those of the system.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::System => None,
            Self::File(file) => Some(file),
        }
    }
}

impl ValkeyUrl {
    /// True if the text begins as the address of such a server does.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| {
            ["redis", "valkey", "rediss", "valkeys"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        })
    }

    /// The host and port to connect to.
    pub(crate) fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

/// A host and a port as text. IPv6 gets its brackets.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Why a text is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address of the snapshot store is wrong ({reason}): write `redis://user:password@host:6379/0?ttl=604800`"
)]
pub struct ValkeyUrlError {
    reason: &'static str,
}

impl FromStr for ValkeyUrl {
    type Err = ValkeyUrlError;

    /// Parses `redis://` or `valkey://`, or `rediss://` or `valkeys://` with TLS. Users, passwords and files may be percent-encoded.
    fn from_str(text: &str) -> Result<Self, ValkeyUrlError> {
        parse(text).map_err(|reason| ValkeyUrlError { reason })
    }
}

fn parse(text: &str) -> Result<ValkeyUrl, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    let is_encrypted = match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err("its scheme is neither `redis` nor `valkey`, nor `rediss` nor `valkeys` for TLS"),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (rest, db) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let (host, port) = place_of(place)?;
    if host.is_empty() {
        return Err("it has no host");
    }
    let Parameters { ttl, ca } = Parameters::parse(query)?;
    let tls = match (is_encrypted, ca) {
        (true, Some(file)) => Some(Authorities::File(file)),
        (true, None) => Some(Authorities::System),
        (false, Some(_)) => return Err("`ca` is for TLS: write `rediss://`"),
        (false, None) => None,
    };
    Ok(ValkeyUrl {
        host: host.to_owned(),
        port,
        user: decoded(user)?,
        password: decoded(password)?,
        db: if db.is_empty() { 0 } else { db.parse().map_err(|_| "its database is no number")? },
        ttl,
        tls,
    })
}

fn place_of(place: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let port = if port.is_empty() { PORT } else { port.parse().map_err(|_| "its port is no number")? };
    Ok((host, port))
}

fn decoded(text: &str) -> Result<Option<String>, &'static str> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "its user or password is not UTF-8")?;
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

/// What stands after the `?`.
#[derive(Default)]
struct Parameters {
    ttl: Option<Duration>,
    ca: Option<PathBuf>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, &'static str> {
        let mut parameters = Self::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("ttl", seconds)) => parameters.ttl = Some(ttl_of(seconds)?),
                Some(("ca", file)) => {
                    let file = decoded(file)?.ok_or("`ca` is the name of a file")?;
                    parameters.ca = Some(file.into());
                }
                _ => return Err("its parameters are `ttl` and `ca`"),
            }
        }
        Ok(parameters)
    }
}

fn ttl_of(seconds: &str) -> Result<Duration, &'static str> {
    let seconds = seconds.parse::<u32>().ok().filter(|seconds| *seconds > 0);
    seconds.map(|seconds| Duration::from_secs(seconds.into())).ok_or("`ttl` is a number of seconds")
}

impl fmt::Display for ValkeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}/{}", self.address(), self.db)
    }
}

impl fmt::Debug for ValkeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_host_user_database_and_time_to_live() {
        let url = "redis://me:p%40ss:w@cache.example.com:7000/3?ttl=60".parse::<ValkeyUrl>().unwrap();
        let expected = ValkeyUrl {
            host: "cache.example.com".to_owned(),
            port: 7000,
            user: Some("me".to_owned()),
            password: Some("p@ss:w".to_owned()),
            db: 3,
            ttl: Some(Duration::from_secs(60)),
            tls: None,
        };
        assert_eq!(url, expected);
        for (text, printed) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("valkey://:secret@localhost/", "redis://localhost:6379/0"),
            ("VALKEY://user@[::1]:1/2", "redis://[::1]:1/2"),
            ("redis://[::1]", "redis://[::1]:6379/0"),
            ("rediss://:secret@h", "rediss://h:6379/0"),
            ("valkeys://h/1?ca=/etc/ca.pem&ttl=5", "rediss://h:6379/1"),
        ] {
            let url = text.parse::<ValkeyUrl>().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (printed.to_owned(), printed.to_owned()));
        }
        assert_eq!("redis://:secret@h".parse::<ValkeyUrl>().unwrap().user, None);
        let encrypted = "rediss://h?ca=my%20ca.pem&ttl=5".parse::<ValkeyUrl>().unwrap();
        let file = Authorities::File("my ca.pem".into());
        assert_eq!((encrypted.tls, encrypted.ttl), (Some(file), Some(Duration::from_secs(5))));
        assert_eq!("rediss://h".parse::<ValkeyUrl>().unwrap().tls, Some(Authorities::System));
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_reason_and_without_the_password() {
        for (text, reason) in [
            ("localhost:6379", "no scheme"),
            ("http://localhost", "neither"),
            ("redis://:secret@localhost?ca=f", "`ca` is for TLS"),
            ("rediss://:secret@localhost?ca=", "`ca` is the name"),
            ("redis://", "no host"),
            ("redis://:secret@:6379", "no host"),
            ("redis://:secret@h:port", "its port"),
            ("redis://:secret@h/x", "its database"),
            ("redis://:secret@h/1?ttl=0", "`ttl` is"),
            ("redis://:secret@h/1?tls=1", "its parameters are"),
            ("redis://:%ff@h", "UTF-8"),
        ] {
            let error = text.parse::<ValkeyUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
