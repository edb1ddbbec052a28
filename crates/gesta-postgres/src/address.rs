//! The address of a store: `postgres://USER@HOST/DATABASE?schema=gesta`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};

use crate::limits::{CONNECT_TIME, SCHEMA_BYTES_MAX};
use crate::passwords;

/// The address of a store in a database. Its text never shows the password.
///
/// Without a password in the address, `PGPASSWORD` gives it, or else a file in the form of `.pgpass`: the `passfile` of
/// the address, the one that `PGPASSFILE` names, or `~/.pgpass`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// Boxed, as it is large.
    config: Box<Config>,
    schema: String,
    passfile: Option<PathBuf>,
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
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// Returns how to connect, with the password.
    pub(crate) fn config(&self) -> Result<Config, passwords::PasswordError> {
        let mut config = Config::clone(&self.config);
        if config.get_password().is_none()
            && let Some(password) = passwords::find(&self.config, self.passfile.as_deref())?
        {
            config.password(password);
        }
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            // One silent host leaves time for the others.
            let hosts = config.get_hosts().len().max(1);
            config.connect_timeout(CONNECT_TIME / u32::try_from(hosts).unwrap_or(u32::MAX));
        }
        // A host that takes connections and is silent is not the first one each time.
        config.load_balance_hosts(LoadBalanceHosts::Random);
        if config.get_application_name().is_none() {
            config.application_name("gesta");
        }
        Ok(config)
    }

    pub(crate) const fn waits_for(&self) -> WaitsFor {
        self.waits_for
    }

    /// The channel on which the store tells of commits.
    pub(crate) fn channel(&self) -> String {
        format!("gesta_{}", self.schema)
    }
}

const DEFAULT_PORT: u16 = 5432;
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const FORM: &str =
    "write `postgres://USER@HOST/DATABASE`, with `?schema=NAME` for another schema than `gesta`";

impl FromStr for PostgresUrl {
    type Err = PostgresUrlParseError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlParseError> {
        let wrong = |reason: String| PostgresUrlParseError { reason };
        if !Self::is_begun_by(text) {
            return Err(wrong(FORM.to_owned()));
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut url = Self {
            config: Box::new(Config::new()),
            schema: "gesta".to_owned(),
            passfile: None,
            waits_for: WaitsFor::default(),
        };
        let mut others = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            if !url.take(option).map_err(wrong)? {
                others.push(option);
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        *url.config = Config::from_str(&rest).map_err(|error| wrong(format!("{}; {FORM}", words(&error))))?;
        url.check().map_err(|reason| wrong(reason.to_owned()))?;
        Ok(url)
    }
}

impl PostgresUrl {
    /// Takes an option of ours; returns `false` for one of the connection.
    fn take(&mut self, option: &str) -> Result<bool, String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| format!("the value of `{name}` is not UTF-8"))?;
        match name {
            "schema" => self.schema = value.into_owned(),
            "passfile" => self.passfile = Some(Path::new(&*value).to_owned()),
            "synchronous_commit" => {
                self.waits_for = match &*value {
                    "on" => WaitsFor::Disk,
                    "remote_apply" => WaitsFor::Standbys,
                    _ => return Err("`synchronous_commit` is `on` or `remote_apply`".to_owned()),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), &'static str> {
        let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let is_next = |byte: u8| is_first(byte) || byte.is_ascii_digit();
        let schema = self.schema.as_bytes();
        if !schema.first().copied().is_some_and(is_first)
            || !schema.iter().copied().all(is_next)
            || schema.len() > SCHEMA_BYTES_MAX
            || self.schema.starts_with("pg_")
        {
            return Err(
                "the name of a schema has 1 to 50 of `a` to `z`, `0` to `9` and `_`, and no digit first, nor does it begin with `pg_`",
            );
        }
        if self.config.get_hosts().is_empty() && self.config.get_hostaddrs().is_empty() {
            return Err("it names no host");
        }
        if self.config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err("a host has no `@`: write `%40` in a password");
        }
        if self.config.get_dbname().is_none() {
            return Err("it names no database: write one after the host, such as `postgres://HOST/shop`");
        }
        if self.config.get_ssl_mode() == SslMode::Require {
            return Err(
                "this program has no TLS: leave out `sslmode=require`, and use a tunnel or a proxy that encrypts",
            );
        }
        Ok(())
    }
}

/// The words of an error with those of its causes.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl fmt::Display for PostgresUrl {
    /// Writes the address without its password and without options of the connection.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEMES[0])?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            match host {
                Host::Tcp(host) if host.contains(':') => write!(f, "{separator}[{host}]")?,
                Host::Tcp(host) => write!(f, "{separator}{host}")?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{separator}{}", path.display())?,
            }
            if let Some(port) = ports.get(at).or_else(|| ports.first()).filter(|port| **port != DEFAULT_PORT)
            {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}?schema={}", self.config.get_dbname().unwrap_or_default(), self.schema)
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
            ("postgres://ann:secret@/shop", "host"),
            ("postgres://ann:p@secret@localhost/shop", "`%40`"),
            ("postgres://ann:secret@localhost/shop?schema=Log", "name of a schema"),
            ("postgres://ann:secret@localhost/shop?schema=pg_log", "name of a schema"),
            ("postgres://ann:secret@localhost/shop?sslmode=require", "no TLS"),
            ("postgres://ann:secret@localhost/shop?synchronous_commit=off", "`remote_apply`"),
            ("postgres://ann:secret@localhost/shop?sauce=1", "sauce"),
        ] {
            let error = text.parse::<PostgresUrl>().unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }
}
