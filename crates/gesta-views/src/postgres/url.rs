//! Where views in PostgreSQL are kept: a database, a prefix of its schemas, and two logins.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::limits::{CONNECT_TIME_MAX, POSTGRES_PREFIX_BYTES_MAX};

/// The address of the database for views in PostgreSQL: `postgres://RUNNER@HOST/DATABASE?prefix=shop&reader=shop_reader`.
///
/// - The user of the address is the *runner*: it owns the schemas of the views and writes their rows.
/// - `reader` is the login that answers queries. It may only select from the serving views.
/// - `prefix`, 1 to 20 of `a-z`, `0-9` and `_`, begins the names of all schemas.
/// - `passfile` is a file with passwords as libpq has it, `host:port:database:user:password` a line; by default the one that
///   the environment variable `PGPASSFILE` names. A password in the address goes before it, for the runner. The file is read
///   for each connection.
///
/// Other parameters are those of a connection, such as `connect_timeout`. Its `Display` and `Debug` have no password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    config: Config,
    pub(crate) prefix: String,
    pub(crate) reader: String,
    passfile: Option<PathBuf>,
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
    #[error(
        "not an address of PostgreSQL ({message}): write `postgres://<user>@<host>/<database>?prefix=<prefix>&reader=<login>`"
    )]
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
    /// TLS is asked for.
    #[error(
        "`sslmode=require` is asked for, and views have no TLS to PostgreSQL: reach the database over loopback, a socket or a tunnel, and remove `sslmode`"
    )]
    Tls,
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |message: &str| PostgresUrlError::Malformed { message: message.to_owned() };
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(malformed("it does not begin with `postgres://`"));
        }
        let (address, parameters) = text.split_once('?').unwrap_or((text, ""));
        let (mut ours, mut theirs) = (Ours::default(), Vec::new());
        for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
            if !ours.take(pair).map_err(|message| malformed(&message))? {
                theirs.push(pair);
            }
        }
        let rest = if theirs.is_empty() { String::new() } else { format!("?{}", theirs.join("&")) };
        let mut config = format!("{address}{rest}").parse::<Config>().map_err(|error| {
            // Its causes repeat the text, which may have a password.
            malformed(&error.to_string())
        })?;
        settle(&mut config)?;
        let missing = |part, remedy| PostgresUrlError::Missing { part, remedy };
        let prefix = ours.prefix.ok_or_else(|| {
            missing("prefix", "add `prefix=<name>`, which begins the names of the schemas of these views")
        })?;
        if !is_prefix(&prefix) {
            return Err(PostgresUrlError::Prefix { prefix });
        }
        let reader = ours.reader.ok_or_else(|| {
            missing(
                "reader",
                "add `reader=<login>`, a login that answers queries (`create role <login> login`)",
            )
        })?;
        if config.get_user() == Some(reader.as_str()) {
            return Err(PostgresUrlError::OneLogin { login: reader });
        }
        Ok(Self { config, prefix, reader, passfile: ours.passfile })
    }
}

/// The parameters that are not those of a connection.
#[derive(Default)]
struct Ours {
    prefix: Option<String>,
    reader: Option<String>,
    passfile: Option<PathBuf>,
}

impl Ours {
    /// Takes a parameter. Gives false for one of the connection.
    fn take(&mut self, pair: &str) -> Result<bool, String> {
        let (key, value) =
            pair.split_once('=').ok_or("a parameter has no `=`; write `?` in a password as `%3F`")?;
        let value = || {
            let decoded = percent_decode_str(value).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| format!("`{key}` is not UTF-8"))
        };
        match key {
            "prefix" => self.prefix = Some(value()?),
            "reader" => self.reader = Some(value()?),
            "passfile" => self.passfile = Some(value()?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Checks the connection's parts, and sets what must not be left to chance.
fn settle(config: &mut Config) -> Result<(), PostgresUrlError> {
    let missing = |part, remedy| Err(PostgresUrlError::Missing { part, remedy });
    if config.get_hosts().is_empty() {
        return missing("host", "write `postgres://<user>@<host>/<database>`");
    }
    if config.get_user().is_none_or(str::is_empty) {
        return missing("user", "write `postgres://<user>@<host>/<database>`");
    }
    if config.get_dbname().is_none_or(str::is_empty) {
        return missing("database", "write `postgres://<user>@<host>/<database>`");
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err(PostgresUrlError::Tls);
    }
    config.ssl_mode(SslMode::Disable);
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIME_MAX);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(30));
    }
    // A server that is gone after it took a request is noticed within half a minute.
    config
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3);
    if config.get_application_name().is_none() {
        config.application_name("gesta views");
    }
    Ok(())
}

fn is_prefix(prefix: &str) -> bool {
    (1..=POSTGRES_PREFIX_BYTES_MAX).contains(&prefix.len())
        && prefix.starts_with(|first: char| first.is_ascii_lowercase())
        && prefix.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

impl PostgresUrl {
    /// The settings of a connection, with its password if there is one.
    ///
    /// # Errors
    /// The file of passwords cannot be read.
    pub(crate) fn config(&self, login: Login) -> std::io::Result<Config> {
        let mut config = match login {
            Login::Runner => self.config.clone(),
            // The password in the address is the runner's.
            Login::Reader => without_password(&self.config),
        };
        if login == Login::Reader {
            config.user(&self.reader);
        }
        let is_given = login == Login::Runner && config.get_password().is_some();
        let passfile = self.passfile.clone().or_else(|| std::env::var_os("PGPASSFILE").map(PathBuf::from));
        if let Some(path) = passfile.filter(|_| !is_given)
            && let Some(password) = self.password(&path, config.get_user().unwrap_or_default())?
        {
            config.password(password);
        }
        Ok(config)
    }

    fn password(&self, path: &Path, user: &str) -> std::io::Result<Option<String>> {
        let failed = |error: std::io::Error| {
            std::io::Error::new(
                error.kind(),
                format!("cannot read the passwords in `{}`: {error}", path.display()),
            )
        };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let wanted = [&self.host(), &self.port().to_string(), self.database(), user].map(str::to_owned);
        Ok(text.lines().find_map(|line| password_in(line, &wanted)))
    }

    pub(crate) fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    pub(crate) fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    fn host(&self) -> String {
        match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        }
    }

    fn port(&self) -> u16 {
        self.config.get_ports().first().copied().unwrap_or(5432)
    }
}

/// The same connection without the runner's password, which is no password of the reader.
fn without_password(config: &Config) -> Config {
    let mut bare = Config::new();
    config.get_hosts().iter().for_each(|host| match host {
        Host::Tcp(name) => {
            bare.host(name);
        }
        #[cfg(unix)]
        Host::Unix(path) => {
            bare.host_path(path);
        }
    });
    config.get_ports().iter().for_each(|port| {
        bare.port(*port);
    });
    bare.user(config.get_user().unwrap_or_default()).dbname(config.get_dbname().unwrap_or_default());
    bare.application_name(config.get_application_name().unwrap_or_default()).ssl_mode(SslMode::Disable);
    bare
}

/// The password in a line `host:port:database:user:password`, if the line is for this connection. `*` fits everything, and a
/// backslash escapes a colon or a backslash.
fn password_in(line: &str, wanted: &[String; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let (mut fields, mut escaped) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            ':' if !escaped && fields.len() < 5 => fields.push(String::new()),
            _ => {
                fields.last_mut().expect("there is one").push(c);
                escaped = false;
            }
        }
    }
    let password = fields.pop().filter(|_| fields.len() == 4)?;
    let fits = fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted);
    fits.then_some(password)
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, host, port, database) = (self.user(), self.host(), self.port(), self.database());
        write!(f, "postgres://{user}@{host}:{port}/{database}?prefix={}&reader={}", self.prefix, self.reader)
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
            &expect!["postgres://run@db:5432/shop?prefix=shop&reader=ask"],
        );
        check(
            "mysql://db",
            &expect![
                "not an address of PostgreSQL (it does not begin with `postgres://`): write `postgres://<user>@<host>/<database>?prefix=<prefix>&reader=<login>`"
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
        check(
            "postgres://u@db/shop?prefix=s&reader=r&sslmode=require",
            &expect![
                "`sslmode=require` is asked for, and views have no TLS to PostgreSQL: reach the database over loopback, a socket or a tunnel, and remove `sslmode`"
            ],
        );
    }

    #[test]
    fn no_form_of_an_address_shows_a_password() {
        let url = "postgres://run:secret@db/shop?reader=ask&prefix=shop".parse::<PostgresUrl>().unwrap();
        assert!(!format!("{url} {url:?}").contains("secret"));
        let error = "postgres://run:secret@db:x/shop?reader=ask&prefix=shop".parse::<PostgresUrl>();
        assert!(!error.unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn each_login_has_its_password_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        std::fs::write(&path, "# comment\nother:*:*:*:no\ndb:5432:shop:run:a\\:b\n*:*:*:ask:c\n").unwrap();
        let url = format!("postgres://run@db/shop?reader=ask&prefix=shop&passfile={}", path.display());
        let url = url.parse::<PostgresUrl>().unwrap();
        assert_eq!(url.config(Login::Runner).unwrap().get_password(), Some(&b"a:b"[..]));
        let reader = url.config(Login::Reader).unwrap();
        assert_eq!((reader.get_user(), reader.get_password()), (Some("ask"), Some(&b"c"[..])));
    }

    #[test]
    fn the_reader_never_gets_the_password_of_the_runner() {
        let url = "postgres://run:secret@db/shop?reader=ask&prefix=shop".parse::<PostgresUrl>().unwrap();
        assert_eq!(url.config(Login::Runner).unwrap().get_password(), Some(&b"secret"[..]));
        let reader = url.config(Login::Reader).unwrap();
        assert_eq!((reader.get_user(), reader.get_password()), (Some("ask"), None));
    }
}
