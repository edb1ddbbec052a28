//! The address of a database: `postgres://USER@HOST/DATABASE?sslmode=verify-full&…`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};

use crate::files::FileError;
use crate::limits::{
    CONNECT_TIME, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, UNACKNOWLEDGED_TIME,
};
use crate::passwords;
use crate::tls::TlsSettings;

/// The address of a database. `Display` and `Debug` never show the password.
///
/// Parameters have the names and meanings of libpq. The most important ones:
///
/// - **Password.** Without one in the address, `PGPASSWORD` gives it, or else a file in the form of `.pgpass`: that of `passfile=`,
///   the one that `PGPASSFILE` names, or `~/.pgpass`.
/// - **TLS.** `sslmode` is `disable`, `prefer` (the default: encrypt if the server can), `require`, `verify-ca` or `verify-full`.
///   `sslrootcert` is a file with the certificates of authorities, or `system`; `sslcert` and `sslkey` are the files of a client's
///   certificate. Their defaults are the variables `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT` and `PGSSLKEY`, then the files
///   `root.crt`, `postgresql.crt` and `postgresql.key` in `~/.postgresql`. With certificates of authorities, `prefer` and `require`
///   verify too.
/// - **Time.** `connect_timeout` is the number of seconds for each host, by default 5 for all hosts together. A connection ends if the
///   other machine acknowledges nothing for 10 s (`tcp_user_timeout`), or does not answer keepalives.
/// - **Several hosts** are tried in any order, and the one that takes writes is used.
///
/// Passwords and certificates are read for each connection, so they can be changed while a program runs.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Boxed, as it is large.
    pub(crate) config: Box<Config>,
    pub(crate) tls: TlsSettings,
    passfile: Option<PathBuf>,
    /// The environment's password is for the user of the address.
    takes_environment: bool,
}

/// The text is not the address of a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct AddressError {
    /// What is wrong, and what helps. It does not repeat the address, which may hold a password.
    pub reason: String,
}

const DEFAULT_PORT: u16 = 5432;
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const FORM: &str = "write `postgres://USER@HOST/DATABASE`";
/// The parameters of a connection that the client library takes.
const PARAMETERS: [&str; 17] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "tcp_user_timeout",
    "user",
];

impl Address {
    /// Returns true if the text begins like an address of a database.
    #[must_use]
    pub fn is_begun_by(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// Reads an address. `take` gets the name and the value of each parameter first, and returns false for one that is not its own.
    ///
    /// # Errors
    /// [`AddressError`], also with what `take` said.
    pub fn parse(
        text: &str,
        mut take: impl FnMut(&str, &str) -> Result<bool, String>,
    ) -> Result<Self, AddressError> {
        let wrong = |reason: String| AddressError { reason };
        if !Self::is_begun_by(text) {
            return Err(wrong(format!("it does not begin with `postgres://`; {FORM}")));
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut tls, mut passfile) = (TlsSettings::default(), None);
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = parameter(pair).map_err(wrong)?;
            if take(name, &value).map_err(wrong)? || tls.take(name, &value).map_err(wrong)? {
                continue;
            }
            match name {
                "passfile" => passfile = Some(PathBuf::from(value)),
                _ if PARAMETERS.contains(&name) => others.push(pair),
                _ => return Err(wrong(format!("there is no parameter `{name}`"))),
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let config = rest.parse::<Config>();
        let mut config = config.map_err(|error| wrong(format!("{}; {FORM}", crate::error::words(&error))))?;
        check(&config).map_err(|reason| wrong(reason.to_owned()))?;
        settle(&mut config);
        Ok(Self { config: Box::new(config), tls, passfile, takes_environment: true })
    }

    /// Names the program to the server, unless the address does.
    #[must_use]
    pub fn with_application_name(mut self, name: &str) -> Self {
        if self.config.get_application_name().is_none() {
            self.config.application_name(name);
        }
        self
    }

    /// The same database for another login. The password of this one is not its password, nor is that of the environment.
    #[must_use]
    pub fn for_login(&self, login: &str) -> Self {
        let mut other = self.clone();
        other.config = Box::new(without_password(&self.config));
        other.config.user(login);
        other.takes_environment = false;
        other
    }

    /// The login, if the address has one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.config.get_user().filter(|user| !user.is_empty())
    }

    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// The settings of a connection, with its password if there is one.
    pub(crate) fn with_password(&self) -> Result<Config, FileError> {
        let mut config = Config::clone(&self.config);
        let passfile = self.passfile.as_deref();
        if config.get_password().is_none() {
            let password = match self.takes_environment {
                true => passwords::find(&config, passfile)?,
                false => passwords::in_file(&config, passfile)?,
            };
            password.into_iter().for_each(|password| {
                config.password(password);
            });
        }
        Ok(config)
    }

    /// The time in which a connection to any of the hosts must be ready.
    pub(crate) fn connect_time(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(1);
        let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
        self.config.get_connect_timeout().map_or(CONNECT_TIME, |each| each.saturating_mul(hosts))
    }
}

/// A parameter and its value.
fn parameter(pair: &str) -> Result<(&str, String), String> {
    // Such a text may be a part of a password.
    let (name, value) = pair
        .split_once('=')
        .filter(|_| !pair.contains('@'))
        .ok_or("a parameter has no `=`, or has an `@`; write `?` in a password as `%3F`, and `@` as `%40`")?;
    let value = percent_decode_str(value).decode_utf8();
    let value = value.map_err(|_| format!("the value of `{name}` is not UTF-8"))?;
    Ok((name, value.into_owned()))
}

fn check(config: &Config) -> Result<(), &'static str> {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("it names no host");
    }
    if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
        return Err("a host has no `@`: write `%40` in a password");
    }
    if config.get_dbname().is_none_or(str::is_empty) {
        return Err("it names no database: write one after the host, such as `postgres://HOST/shop`");
    }
    Ok(())
}

/// Sets what the address leaves open and must not be left to chance.
fn settle(config: &mut Config) {
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    // A host that takes connections and is silent is not the first one each time.
    config.load_balance_hosts(LoadBalanceHosts::Random);
    if config.get_hosts().is_empty() {
        // TLS needs a name.
        config.get_hostaddrs().to_vec().iter().for_each(|address| {
            config.host(address.to_string());
        });
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED_TIME);
    }
    if config.get_keepalives_idle() == LIBRARY_KEEPALIVE_IDLE {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
}

/// What the client library has where an address says nothing.
const LIBRARY_KEEPALIVE_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// The same settings without a password. The client library cannot take one away.
fn without_password(config: &Config) -> Config {
    let mut bare = Config::new();
    for host in config.get_hosts() {
        match host {
            Host::Tcp(name) => bare.host(name),
            #[cfg(unix)]
            Host::Unix(path) => bare.host_path(path),
        };
    }
    config.get_hostaddrs().iter().for_each(|address| {
        bare.hostaddr(*address);
    });
    config.get_ports().iter().for_each(|port| {
        bare.port(*port);
    });
    config.get_options().into_iter().for_each(|options| {
        bare.options(options);
    });
    config.get_connect_timeout().into_iter().for_each(|time| {
        bare.connect_timeout(*time);
    });
    config.get_tcp_user_timeout().into_iter().for_each(|time| {
        bare.tcp_user_timeout(*time);
    });
    bare.keepalives(config.get_keepalives()).keepalives_idle(config.get_keepalives_idle());
    bare.dbname(config.get_dbname().unwrap_or_default());
    bare.application_name(config.get_application_name().unwrap_or_default());
    bare.channel_binding(config.get_channel_binding()).ssl_negotiation(config.get_ssl_negotiation());
    settle(&mut bare);
    bare
}

impl fmt::Display for Address {
    /// Writes the address without its password and parameters.
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
        write!(f, "/{}", self.database())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, AddressError> {
        Address::parse(text, |name, _| Ok(name == "ours"))
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            ("postgres://localhost/shop?ours=1", "postgres://localhost/shop"),
            ("postgresql://ann:secret@db:5433/shop?connect_timeout=3", "postgres://ann@db:5433/shop"),
            ("postgres://a:1,b:2/shop?sslmode=verify-full&sslrootcert=/ca.crt", "postgres://a:1,b:2/shop"),
            ("postgres:///shop?hostaddr=127.0.0.1", "postgres://127.0.0.1/shop"),
        ] {
            let address = parse(text).unwrap();
            assert_eq!((address.to_string(), format!("{address:?}")), (shown.to_owned(), shown.to_owned()));
        }
    }

    #[test]
    fn a_wrong_address_is_refused_with_what_helps_and_without_its_password() {
        for (text, part) in [
            ("http://localhost/shop", "postgres://USER@HOST/DATABASE"),
            ("postgres://ann:secret@localhost", "names no database"),
            ("postgres://ann:secret@/shop", "host"),
            ("postgres://ann:p@secret@localhost/shop", "`%40`"),
            ("postgres://ann:x?secret=1@localhost/shop", "`%3F`"),
            ("postgres://ann:x?secret@localhost/shop", "`%3F`"),
            ("postgres://ann:secret@localhost/shop?sslmode=allow", "`verify-full`"),
            ("postgres://ann:secret@localhost/shop?sauce=1", "sauce"),
            ("postgres://ann:secret@localhost:x/shop", "USER@HOST"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn each_login_has_its_password_from_the_file_and_none_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        std::fs::write(&path, "# comment\nother:*:*:*:no\ndb:5432:shop:run:a\\:b\n*:*:*:ask:c\n").unwrap();
        let address = |user: &str| parse(&format!("postgres://{user}@db/shop?passfile={}", path.display()));
        let run = address("run").unwrap();
        let said = run.with_password().unwrap_err().to_string();
        assert!(said.contains("`chmod 600` it"), "{said}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert_eq!(run.with_password().unwrap().get_password(), Some(&b"a:b"[..]));
        let ask = address("run:secret").unwrap().for_login("ask");
        let config = ask.with_password().unwrap();
        assert_eq!((config.get_user(), config.get_password()), (Some("ask"), Some(&b"c"[..])));
        assert_eq!(
            address("run:secret").unwrap().for_login("x").with_password().unwrap().get_password(),
            None
        );
        let missing = parse("postgres://db/shop?passfile=/nowhere/passwords").unwrap();
        let said = missing.with_password().unwrap_err().to_string();
        assert!(said.contains("/nowhere/passwords") && said.contains("no such file"), "{said}");
    }

    #[test]
    fn every_connection_notices_a_machine_that_is_gone() {
        let address = parse("postgres://a,b/shop?keepalives_idle=60").unwrap();
        for config in [&address.config, &address.for_login("x").config] {
            assert_eq!(config.get_tcp_user_timeout(), Some(&UNACKNOWLEDGED_TIME));
            assert_eq!(config.get_keepalives_idle(), Duration::from_secs(60));
            assert_eq!(config.get_keepalives_retries(), Some(KEEPALIVE_RETRIES));
        }
        assert_eq!(address.connect_time(), CONNECT_TIME);
        assert_eq!(
            parse("postgres://a,b/s?connect_timeout=3").unwrap().connect_time(),
            Duration::from_secs(6)
        );
    }
}
