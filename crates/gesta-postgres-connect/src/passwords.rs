//! Passwords of connections: that of the address, of the environment, or of a file in the form of `.pgpass`.

use std::path::Path;

use tokio_postgres::Config;

use crate::files::{Candidate, FileError, environment};
use crate::hosts::Host;

/// The passwords for the hosts of an address.
pub(crate) enum Passwords {
    /// One for each host.
    One(Vec<u8>),
    /// What a file says. It may be empty.
    File(String),
}

impl Passwords {
    /// The password of the environment.
    pub(crate) fn of_environment() -> Option<Self> {
        environment("PGPASSWORD").map(|password| Self::One(password.into_encoded_bytes()))
    }

    /// Reads the file of passwords, if there is one.
    pub(crate) fn read(passfile: Option<&Path>) -> Result<Self, FileError> {
        let none = Self::File(String::new());
        let file = Candidate::find("the file of passwords", passfile, "PGPASSFILE", ".pgpass");
        let Some(file) = file else { return Ok(none) };
        let Some(bytes) = file.read_secret()? else { return Ok(none) };
        String::from_utf8(bytes).map(Self::File).map_err(|_| file.error("it is not UTF-8"))
    }

    /// The password for a host, with the user and the database of the settings.
    pub(crate) fn of(&self, host: &Host, settings: &Config) -> Option<Vec<u8>> {
        match self {
            Self::One(password) => Some(password.clone()),
            Self::File(text) => in_text(text, host, settings),
        }
    }
}

/// The password of the first line that fits: `host:port:database:user:password`, where `*` fits all.
fn in_text(text: &str, host: &Host, settings: &Config) -> Option<Vec<u8>> {
    let (own_host, own_port) = host.in_passwords();
    let (own_port, own_database) = (own_port.to_string(), settings.get_dbname().unwrap_or_default());
    let own_user = settings.get_user().map(str::to_owned).or_else(|| std::env::var("USER").ok());
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [host, port, database, user, password] = fields.as_slice() else { return None };
        let fits = |field: &str, own: &str| field == "*" || field == own;
        let is_it = fits(host, own_host)
            && fits(port, &own_port)
            && fits(database, own_database)
            && fits(user, own_user.as_deref().unwrap_or_default());
        is_it.then(|| password.clone().into_bytes())
    })
}

/// The fields of a line. A backslash takes the next character as it is.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        match character {
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields[last].extend(characters.next()),
            _ => fields[last].push(character),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(text: &str, url: &str) -> Vec<Option<String>> {
        let settings = url.parse::<Config>().unwrap();
        let hosts = Host::all(&settings).unwrap();
        let passwords = hosts.iter().map(|host| in_text(text, host, &settings));
        passwords.map(|password| password.map(|bytes| String::from_utf8(bytes).unwrap())).collect()
    }

    fn password(text: &str, url: &str) -> Option<String> {
        passwords(text, url).remove(0)
    }

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        let file = "# comment\nother:5432:*:*:no\ndb:5432:shop:ann:a\\:b\\\\c\n*:*:*:ann:any:with:colons\n";
        assert_eq!(password(file, "postgres://ann@db/shop").as_deref(), Some("a:b\\c"));
        assert_eq!(password(file, "postgres://ann@db:5433/shop").as_deref(), Some("any:with:colons"));
        assert_eq!(password(file, "postgres://bob@db/shop"), None);
        assert_eq!(password("nonsense\n", "postgres://bob@db/shop"), None);
        assert_eq!(password("localhost:*:*:*:x\n", "postgres:///shop?host=/run").as_deref(), Some("x"));
    }

    #[test]
    fn no_host_gets_the_password_of_another() {
        let file = "a:1:*:*:of a\nb:2:*:*:of b\na:2:*:*:of none\n";
        let of = |passwords: [&str; 2]| passwords.map(|password| Some(password.to_owned())).to_vec();
        assert_eq!(passwords(file, "postgres://ann@a:1,b:2/shop"), of(["of a", "of b"]));
        assert_eq!(
            passwords("b:2:*:*:of b\n", "postgres://ann@a:1,b:2/shop"),
            [None, Some("of b".to_owned())]
        );
    }
}
