//! The address of a store: `postgres://USER@HOST/DATABASE?schema=gesta`.

use std::fmt;
use std::str::FromStr;

use gesta_postgres_connect::Address;

use crate::limits::SCHEMA_BYTES_MAX;

/// The address of a store in a database. Its text never shows the password.
///
/// Passwords, TLS and times are those of [`Address`].
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    address: Address,
    schema: String,
    waits_for: WaitsFor,
}

/// What a commit waits for. A default of the server or the role cannot weaken it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum WaitsFor {
    /// The disk of the primary, and those of its synchronous standbys if there are any.
    #[default]
    Disk,
    /// Also until the synchronous standbys show the commit to their readers.
    Standbys,
}

impl WaitsFor {
    /// The value of `synchronous_commit`.
    pub(crate) const fn setting(self) -> &'static str {
        match self {
            Self::Disk => "on",
            Self::Standbys => "remote_apply",
        }
    }
}

/// The text is not the address of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not the address of a store in PostgreSQL: {reason}")]
pub struct PostgresUrlParseError {
    /// What is wrong, and what helps. It does not repeat the address, which may hold a password.
    pub reason: String,
}

impl PostgresUrl {
    /// Returns the name of the schema that holds the store.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Returns true if the text begins like an address of a database.
    #[must_use]
    pub fn is_begun_by(text: &str) -> bool {
        Address::is_begun_by(text)
    }

    /// The database.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) const fn waits_for(&self) -> WaitsFor {
        self.waits_for
    }

    /// The channel on which the store tells of commits.
    pub(crate) fn channel(&self) -> String {
        format!("gesta_{}", self.schema)
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlParseError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlParseError> {
        let wrong = |reason: String| PostgresUrlParseError { reason };
        let (mut schema, mut waits_for) = ("gesta".to_owned(), WaitsFor::default());
        let address = Address::parse(text, |name, value| {
            match name {
                "schema" => schema = value.to_owned(),
                "synchronous_commit" => {
                    waits_for = match value {
                        "on" => WaitsFor::Disk,
                        "remote_apply" => WaitsFor::Standbys,
                        _ => return Err("`synchronous_commit` is `on` or `remote_apply`".to_owned()),
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        });
        let address = address.map_err(|error| wrong(error.reason))?.with_application_name("gesta");
        if !is_schema(&schema) {
            return Err(wrong(
                "the name of a schema has 1 to 50 of `a` to `z`, `0` to `9` and `_`, and no digit first, nor does it begin with `pg_`"
                    .to_owned(),
            ));
        }
        Ok(Self { address, schema, waits_for })
    }
}

fn is_schema(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_next = |byte: u8| is_first(byte) || byte.is_ascii_digit();
    name.bytes().next().is_some_and(is_first)
        && name.bytes().all(is_next)
        && name.len() <= SCHEMA_BYTES_MAX
        && !name.starts_with("pg_")
}

impl fmt::Display for PostgresUrl {
    /// Writes the address without its password and without parameters of the connection.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}?schema={}", self.address, self.schema)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            ("postgres://localhost/shop", "postgres://localhost/shop?schema=gesta"),
            (
                "postgresql://ann:secret@db:5433/shop?schema=log&connect_timeout=3",
                "postgres://ann@db:5433/shop?schema=log",
            ),
            ("postgres://a:1,b:2/shop", "postgres://a:1,b:2/shop?schema=gesta"),
        ] {
            let url = text.parse::<PostgresUrl>().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()), "{text}");
            assert_eq!(url.to_string().parse::<PostgresUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_wrong_address_is_refused_with_what_helps_and_without_its_password() {
        for (text, part) in [
            ("http://localhost/shop", "postgres://USER@HOST/DATABASE"),
            ("postgres://ann:secret@localhost", "names no database"),
            ("postgres://ann:secret@localhost/shop?schema=Log", "name of a schema"),
            ("postgres://ann:secret@localhost/shop?schema=pg_log", "name of a schema"),
            ("postgres://ann:secret@localhost/shop?synchronous_commit=off", "`remote_apply`"),
            ("postgres://ann:secret@localhost/shop?sauce=1", "sauce"),
        ] {
            let error = text.parse::<PostgresUrl>().unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }
}
