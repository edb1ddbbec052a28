//! Where views in PostgreSQL are kept: a database, a prefix of its schemas, and two logins.

use std::fmt;
use std::str::FromStr;

use gesta_postgres_connect::Address;

use crate::limits::POSTGRES_PREFIX_BYTES_MAX;

/// The address of the database for views in PostgreSQL: `postgres://RUNNER@HOST/DATABASE?prefix=shop&reader=shop_reader`.
///
/// - The user of the address is the *runner*: it owns the schemas of the views and writes their rows.
/// - `reader` is the login that answers queries. It may only select from versions that serve or did, and from the serving views. Its password is in the file of
///   passwords.
/// - `prefix`, 1 to 20 of `a-z`, `0-9` and `_`, begins the names of all schemas.
///
/// Other parameters, passwords, TLS and times are those of [`Address`]. Its `Display` and `Debug` have no password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// As the runner.
    runner: Address,
    /// The same for queries.
    asker: Address,
    pub(crate) prefix: String,
    pub(crate) reader: String,
}

/// Which of the two logins a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Runner,
    Reader,
}

/// Why a text is not the address of a database for views.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresUrlError {
    /// It is not an address of PostgreSQL.
    #[error("not an address of PostgreSQL: {message}, and add `?prefix=<prefix>&reader=<login>`")]
    Malformed {
        /// What is wrong.
        message: String,
    },
    /// A part is missing.
    #[error("the address of PostgreSQL has no {part}: {remedy}")]
    Missing {
        /// The part.
        part: &'static str,
        /// What helps.
        remedy: &'static str,
    },
    /// The prefix is not allowed.
    #[error(
        "`{prefix}` cannot be a prefix: use 1 to {POSTGRES_PREFIX_BYTES_MAX} of a-z, 0-9 and _, beginning with a letter"
    )]
    Prefix {
        /// The prefix.
        prefix: String,
    },
    /// Both logins are the same.
    #[error("`{login}` is both runner and reader: give queries a login of their own, which may not write")]
    OneLogin {
        /// The login.
        login: String,
    },
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut prefix, mut reader) = (None, None);
        let address = Address::parse(text, |name, value| {
            match name {
                "prefix" => prefix = Some(value.to_owned()),
                "reader" => reader = Some(value.to_owned()),
                _ => return Ok(false),
            }
            Ok(true)
        });
        let address = address.map_err(|error| PostgresUrlError::Malformed { message: error.reason })?;
        let missing = |part, remedy| PostgresUrlError::Missing { part, remedy };
        let runner = address.with_application_name("gesta views");
        let user = runner.user().map(str::to_owned);
        let user = user.ok_or_else(|| missing("user", "write `postgres://<user>@<host>/<database>`"))?;
        let prefix = prefix.ok_or_else(|| {
            missing("prefix", "add `prefix=<name>`, which begins the names of the schemas of these views")
        })?;
        if !is_prefix(&prefix) {
            return Err(PostgresUrlError::Prefix { prefix });
        }
        let reader = reader.ok_or_else(|| {
            missing(
                "reader",
                "add `reader=<login>`, a login that answers queries (`create role <login> login`)",
            )
        })?;
        if user == reader {
            return Err(PostgresUrlError::OneLogin { login: reader });
        }
        // A page may keep the server at work for long, with more statements waiting than its buffers take.
        Ok(Self { asker: runner.for_login(&reader), runner: runner.with_patience(), prefix, reader })
    }
}

fn is_prefix(prefix: &str) -> bool {
    (1..=POSTGRES_PREFIX_BYTES_MAX).contains(&prefix.len())
        && prefix.starts_with(|first: char| first.is_ascii_lowercase())
        && prefix.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

impl PostgresUrl {
    /// The same with another prefix.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self.clone() }
    }

    /// The database for a login.
    pub(crate) const fn address(&self, login: Login) -> &Address {
        match login {
            Login::Runner => &self.runner,
            Login::Reader => &self.asker,
        }
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}?prefix={}&reader={}", self.runner, self.prefix, self.reader)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: &Expect) {
        match text.parse::<PostgresUrl>() {
            Ok(url) => expected.assert_eq(&url.to_string()),
            Err(error) => expected.assert_eq(&error.to_string()),
        }
    }

    #[test]
    fn an_address_names_the_database_the_prefix_and_both_logins() {
        check(
            "postgres://run:se%20cret@db/shop?reader=ask&prefix=shop&connect_timeout=3",
            &expect!["postgres://run@db/shop?prefix=shop&reader=ask"],
        );
        check(
            "mysql://db",
            &expect![
                "not an address of PostgreSQL: it does not begin with `postgres://`; write `postgres://USER@HOST/DATABASE`, and add `?prefix=<prefix>&reader=<login>`"
            ],
        );
        check(
            "postgres://u@db/shop?reader=r",
            &expect![
                "the address of PostgreSQL has no prefix: add `prefix=<name>`, which begins the names of the schemas of these views"
            ],
        );
        check(
            "postgres://u@db/shop?prefix=shop",
            &expect![
                "the address of PostgreSQL has no reader: add `reader=<login>`, a login that answers queries (`create role <login> login`)"
            ],
        );
        check(
            "postgres://u@db/shop?prefix=Shop&reader=r",
            &expect!["`Shop` cannot be a prefix: use 1 to 20 of a-z, 0-9 and _, beginning with a letter"],
        );
        check(
            "postgres://u@db/shop?prefix=shop&reader=u",
            &expect!["`u` is both runner and reader: give queries a login of their own, which may not write"],
        );
        check(
            "postgres://db/shop?prefix=s&reader=r",
            &expect!["the address of PostgreSQL has no user: write `postgres://<user>@<host>/<database>`"],
        );
    }

    #[test]
    fn no_form_of_an_address_shows_a_password() {
        let url = "postgres://run:secret@db/shop?reader=ask&prefix=shop".parse::<PostgresUrl>().unwrap();
        assert!(!format!("{url} {url:?}").contains("secret"));
        let error = "postgres://run:secret@db:x/shop?reader=ask&prefix=shop".parse::<PostgresUrl>();
        assert!(!error.unwrap_err().to_string().contains("secret"));
    }
}
