//! The address of a database: `postgres://USER@HOST/DATABASE?sslmode=verify-full&…`.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use crate::files::FileError;
use crate::hosts::Host;
use crate::passwords::Passwords;
use crate::times::Times;
use crate::tls::TlsSettings;

/// The address of a database. `Display` and `Debug` never show the password.
///
/// Parameters have the names and meanings of libpq. The most important ones:
///
/// - **Password.** Without one in the address, `PGPASSWORD` gives it, or else a file in the form of `.pgpass`: that of `passfile=`,
///   the one that `PGPASSFILE` names, or `~/.pgpass`. Each host has its own password in a file.
/// - **TLS.** `sslmode` is `disable`, `prefer` (the default: encrypt if the server can), `require`, `verify-ca` or `verify-full`.
///   `sslrootcert` is a file with the certificates of authorities, or `system`; `sslcert` and `sslkey` are the files of a client's
///   certificate. Their defaults are the variables `PGSSLMODE`, `PGSSLROOTCERT`, `PGSSLCERT` and `PGSSLKEY`, then the files
///   `root.crt`, `postgresql.crt` and `postgresql.key` in `~/.postgresql`. With certificates of authorities, `prefer` and `require`
///   verify too. `prefer` goes on without TLS, with a warning, where the handshake fails: only the others insist.
/// - **Time.** `connect_timeout` is the number of seconds for each host, by default 5 for all hosts together. A connection ends if the
///   other machine acknowledges nothing for 10 s (`tcp_user_timeout`, in milliseconds), or does not answer keepalives.
/// - **Several hosts** are tried in a random order, or in theirs with `load_balance_hosts=disable`. One that takes writes is used, or
///   one that is not a standby for [`Self::connect_over`].
///
/// Passwords and certificates are read for each connection, so they can be changed while a program runs.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) hosts: Vec<Host>,
    /// The hosts are tried in a random order.
    pub(crate) shuffles: bool,
    /// The rest, without a password. It and the next two are boxed, as they are large.
    pub(crate) settings: Box<Config>,
    pub(crate) times: Box<Times>,
    pub(crate) tls: Box<TlsSettings>,
    password: Option<Vec<u8>>,
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

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const FORM: &str = "write `postgres://USER@HOST/DATABASE`";
const ONE_AT: &str = "an address has one `@`, before its host: write `@`, `/` and `?` as `%40`, `%2F` and `%3F` in a password, \
                      and `@` as `%40` in other parts";
/// Parameters that say where the database is and who connects. The client library reads them.
const PLACE: [&str; 6] = ["dbname", "host", "hostaddr", "password", "port", "user"];
/// Other parameters that the client library reads.
const SETTINGS: [&str; 3] = ["application_name", "options", "sslnegotiation"];

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
        take: impl FnMut(&str, &str) -> Result<bool, String>,
    ) -> Result<Self, AddressError> {
        read(text, take).map_err(|reason| AddressError { reason })
    }

    /// Names the program to the server, unless the address does.
    #[must_use]
    pub fn with_application_name(mut self, name: &str) -> Self {
        if self.settings.get_application_name().is_none() {
            self.settings.application_name(name);
        }
        self
    }

    /// Lets a connection live while the other machine is there and takes no bytes, unless the address sets `tcp_user_timeout`: that
    /// time also counts while a server works and its buffers are full. Bytes that nobody acknowledges end the connection when the
    /// system gives up, after about 15 minutes.
    #[must_use]
    pub fn with_patience(mut self) -> Self {
        self.times.be_patient();
        self
    }

    /// The same database for another login. The password of this one is not its password, nor is that of the environment.
    #[must_use]
    pub fn for_login(&self, login: &str) -> Self {
        let mut other = self.clone();
        other.settings.user(login);
        other.password = None;
        other.takes_environment = false;
        other
    }

    /// The login, if the address has one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.settings.get_user().filter(|user| !user.is_empty())
    }

    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.settings.get_dbname().unwrap_or_default()
    }

    /// The passwords of the hosts.
    pub(crate) fn passwords(&self) -> Result<Passwords, FileError> {
        let own = self.password.clone().map(Passwords::One);
        let environment = || if self.takes_environment { Passwords::of_environment() } else { None };
        own.or_else(environment).map_or_else(|| Passwords::read(self.passfile.as_deref()), Ok)
    }
}

fn read(text: &str, mut take: impl FnMut(&str, &str) -> Result<bool, String>) -> Result<Address, String> {
    if !Address::is_begun_by(text) {
        return Err(format!("it does not begin with `postgres://`; {FORM}"));
    }
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    // What follows another one may be a part of a password, and no message may repeat it.
    if query.contains('@') || base.matches('@').count() > 1 {
        return Err(ONE_AT.to_owned());
    }
    let (mut tls, mut times, mut passfile, mut shuffles) =
        (TlsSettings::default(), Times::default(), None, true);
    let (mut place, mut settings) = (Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = parameter(pair)?;
        if take(name, &value)? || tls.take(name, &value)? || times.take(name, &value)? {
            continue;
        }
        match name {
            "passfile" => passfile = Some(PathBuf::from(value)),
            "load_balance_hosts" => shuffles = is_random(&value)?,
            "target_session_attrs" if value == "read-write" => {}
            "target_session_attrs" => {
                return Err("`target_session_attrs` is `read-write`, which is the default".to_owned());
            }
            _ if PLACE.contains(&name) => place.push(pair),
            _ if SETTINGS.contains(&name) => settings.push(pair),
            _ => return Err(format!("there is no parameter `{name}`")),
        }
    }
    let place = config(base, &place)?;
    let mut settings = config("postgres://", &settings)?;
    settings.target_session_attrs(TargetSessionAttrs::ReadWrite);
    let database = place.get_dbname().filter(|name| !name.is_empty());
    settings.dbname(
        database.ok_or("it names no database: write one after the host, such as `postgres://HOST/shop`")?,
    );
    if let Some(user) = place.get_user() {
        settings.user(user);
    }
    Ok(Address {
        hosts: Host::all(&place)?,
        shuffles,
        settings: Box::new(settings),
        times: Box::new(times),
        tls: Box::new(tls),
        password: place.get_password().map(<[u8]>::to_vec),
        passfile,
        takes_environment: true,
    })
}

/// A parameter and its value.
fn parameter(pair: &str) -> Result<(&str, String), String> {
    // Such a text may be a part of a password.
    let (name, value) =
        pair.split_once('=').ok_or("a parameter has no `=`; write `?` in a password as `%3F`")?;
    let value = percent_decode_str(value).decode_utf8();
    let value = value.map_err(|_| format!("the value of `{name}` is not UTF-8"))?;
    Ok((name, value.into_owned()))
}

fn is_random(value: &str) -> Result<bool, String> {
    match value {
        "random" => Ok(true),
        "disable" => Ok(false),
        _ => Err("`load_balance_hosts` is `random`, which is the default, or `disable`".to_owned()),
    }
}

/// Lets the client library read a part of an address.
fn config(base: &str, parameters: &[&str]) -> Result<Config, String> {
    let text = format!("{base}?{}", parameters.join("&"));
    text.parse().map_err(|error| format!("{}; {FORM}", crate::error::words(&error)))
}

impl fmt::Display for Address {
    /// Writes the address without its password and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEMES[0])?;
        if let Some(user) = self.settings.get_user() {
            write!(f, "{user}@")?;
        }
        for (at, host) in self.hosts.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(f, "{separator}{host}")?;
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
            ("postgres://[::1]:5433/shop", "postgres://[::1]:5433/shop"),
            (
                "postgres://a/shop?target_session_attrs=read-write&load_balance_hosts=disable",
                "postgres://a/shop",
            ),
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
            ("postgres://ann:x?secret=1&x=2@localhost/shop", "`%3F`"),
            ("postgres://ann:x@sec/secret@localhost/shop", "`%2F`"),
            ("postgres://ann:secret@localhost/shop?user", "no `=`"),
            ("postgres://ann:secret@%2Frun/shop?hostaddr=127.0.0.1", "the folder of a socket"),
            ("postgres://ann:secret@a,b/shop?hostaddr=127.0.0.1", "as many `hostaddr` as hosts"),
            ("postgres://ann:secret@a,b/shop?port=5433", "as many ports as hosts"),
            ("postgres://ann:secret@a/shop?target_session_attrs=any", "`read-write`"),
            ("postgres://ann:secret@a/shop?load_balance_hosts=no", "`random`"),
            ("postgres://ann:secret@a/shop?channel_binding=no", "`require`"),
            ("postgres://ann:secret@a/shop?tcp_user_timeout=10s", "whole number"),
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
        let password = |address: &Address| {
            let passwords = address.passwords()?;
            Ok::<_, FileError>(passwords.of(&address.hosts[0], &address.settings))
        };
        let run = address("run").unwrap();
        let said = password(&run).unwrap_err().to_string();
        assert!(said.contains("`chmod 600` it"), "{said}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert_eq!(password(&run), Ok(Some(b"a:b".to_vec())));
        let own = address("run:secret").unwrap();
        assert_eq!(password(&own), Ok(Some(b"secret".to_vec())));
        let ask = own.for_login("ask");
        assert_eq!((ask.user(), password(&ask)), (Some("ask"), Ok(Some(b"c".to_vec()))));
        assert_eq!(password(&own.for_login("x")), Ok(None));
        let missing = parse("postgres://db/shop?passfile=/nowhere/passwords").unwrap();
        let said = password(&missing).unwrap_err().to_string();
        assert!(said.contains("/nowhere/passwords") && said.contains("no such file"), "{said}");
    }

    #[test]
    fn another_login_has_all_settings_of_the_address() {
        let text = |user: &str| {
            format!(
                "postgres://{user}@a:1,b:2/shop?keepalives_interval=7&keepalives_count=9&application_name=x&options=-c%20a=b&sslnegotiation=direct&channel_binding=require&load_balance_hosts=disable"
            )
        };
        let other = Address { takes_environment: false, ..parse(&text("other")).unwrap() };
        assert!(parse(&text("ann:secret")).unwrap().for_login("other") == other);
    }
}
