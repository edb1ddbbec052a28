//! The address of a store, as people write it.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use gesta_jetstream::{JetStreamUrl, JetStreamUrlParseError};
use gesta_postgres::{PostgresUrl, PostgresUrlParseError};

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// The folder of a log: `file:DIR`, or the bare path.
    File(PathBuf),
    /// A store in memory, which ends with the process: `memory:`.
    Memory,
    /// The store of a server: `http://HOST:PORT`.
    Http(String),
    /// A store in PostgreSQL: `postgres://USER@HOST/DATABASE?schema=NAME`. Its text has no password.
    Postgres(PostgresUrl),
    /// A store on a cluster of NATS JetStream: `nats://HOST,HOST,HOST/NAME?copy=FOLDER`. Its text has the servers and the name.
    JetStream(JetStreamUrl),
}

/// The text is not the address of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the address of a store: {help}")]
pub struct StoreUrlParseError {
    /// The text, cut to its first 80 characters. That of a database or a cluster is left out: it may hold a password.
    pub text: String,
    /// What helps.
    pub help: Cow<'static, str>,
}

const FORMS: &str = "write a folder, `file:` with a folder, `memory:`, `http://` with the host and port of a server, \
                     `postgres://USER@HOST/DATABASE`, or `nats://HOST,HOST,HOST/NAME?copy=FOLDER`";

impl FromStr for StoreUrl {
    type Err = StoreUrlParseError;

    fn from_str(text: &str) -> Result<Self, StoreUrlParseError> {
        let wrong = |help: &'static str| StoreUrlParseError {
            text: text.chars().take(80).collect(),
            help: help.into(),
        };
        if text.is_empty() {
            return Err(wrong(FORMS));
        }
        if text.starts_with("http://") {
            return Ok(Self::Http(text.to_owned()));
        }
        if PostgresUrl::is_begun_by(text) {
            return text.parse().map(Self::Postgres).map_err(|error: PostgresUrlParseError| {
                StoreUrlParseError { text: "postgres://…".to_owned(), help: error.reason.into() }
            });
        }
        if JetStreamUrl::is_begun_by(text) {
            return text.parse().map(Self::JetStream).map_err(|error: JetStreamUrlParseError| {
                StoreUrlParseError { text: "nats://…".to_owned(), help: error.reason.into() }
            });
        }
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("file:") {
            return folder(path).ok_or_else(|| wrong("write `file:` with a folder, such as `file:data`"));
        }
        if text.starts_with("https://") {
            return Err(wrong("this program has no TLS: use `http://`, and a tunnel or proxy that encrypts"));
        }
        if text.contains("://") || text.starts_with("memory:") {
            return Err(wrong(FORMS));
        }
        Ok(Self::File(text.into()))
    }
}

/// The folder of a `file:` address. Two slashes begin a host, which must be empty.
fn folder(path: &str) -> Option<StoreUrl> {
    let path = match path.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') => rest,
        Some(_) => return None,
        None => path,
    };
    (!path.is_empty()).then(|| StoreUrl::File(path.into()))
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(folder) => write!(f, "file:{}", folder.display()),
            Self::Memory => f.write_str("memory:"),
            Self::Http(url) => f.write_str(url),
            Self::Postgres(url) => url.fmt(f),
            Self::JetStream(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_folder_memory_or_a_server() {
        let file = |path: &str| StoreUrl::File(path.into());
        for (text, url) in [
            ("data", file("data")),
            ("./a:b/c", file("./a:b/c")),
            ("/srv/log", file("/srv/log")),
            ("file:data", file("data")),
            ("file:/srv/log", file("/srv/log")),
            ("file:///srv/log", file("/srv/log")),
            ("memory:", StoreUrl::Memory),
            ("http://127.0.0.1:2114", StoreUrl::Http("http://127.0.0.1:2114".to_owned())),
            (
                "postgres://ann@db/shop?schema=log",
                StoreUrl::Postgres("postgres://ann@db/shop?schema=log".parse().unwrap()),
            ),
            ("nats://a:4222,b/shop", StoreUrl::JetStream("nats://a:4222,b/shop".parse().unwrap())),
        ] {
            assert_eq!(text.parse(), Ok(url.clone()), "{text}");
            assert_eq!(url.to_string().parse(), Ok(url), "{text}");
        }
    }

    #[test]
    fn an_address_of_another_kind_is_refused_with_the_forms_that_there_are() {
        for (text, part) in [
            ("", "a folder"),
            ("file:", "`file:data`"),
            ("file://host/log", "`file:data`"),
            ("memory:x", "`memory:`"),
            ("https://gesta.example", "no TLS"),
            ("mysql://localhost/log", "`postgres://USER@HOST/DATABASE`"),
            ("redis://localhost/log", "`nats://HOST,HOST,HOST/NAME?copy=FOLDER`"),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn the_password_of_a_database_is_in_no_text() {
        let url = "postgres://ann:secret@db/shop".parse::<StoreUrl>().unwrap();
        assert_eq!(url.to_string(), "postgres://ann@db/shop?schema=gesta");
        assert!(!format!("{url:?}").contains("secret"));
        let error = "postgres://ann:secret@db".parse::<StoreUrl>().unwrap_err().to_string();
        assert!(error.contains("names no database") && !error.contains("secret"), "{error}");
        let url = "nats://ann:secret@a,b/shop?copy=c".parse::<StoreUrl>().unwrap();
        assert!(!url.to_string().contains("secret") && !format!("{url:?}").contains("secret"));
        let error = "nats://ann:secret@a,b".parse::<StoreUrl>().unwrap_err().to_string();
        assert!(error.contains("the name of the store") && !error.contains("secret"), "{error}");
    }
}
