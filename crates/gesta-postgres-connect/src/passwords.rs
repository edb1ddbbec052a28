//! The password of a connection: from the environment, or from a file in the form of `.pgpass`.

use std::path::Path;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::files::{Candidate, FileError, environment};

/// Finds the password of a connection.
pub(crate) fn find(config: &Config, passfile: Option<&Path>) -> Result<Option<Vec<u8>>, FileError> {
    if let Some(password) = environment("PGPASSWORD") {
        return Ok(Some(password.into_encoded_bytes()));
    }
    in_file(config, passfile)
}

/// Finds the password of a connection in a file.
pub(crate) fn in_file(config: &Config, passfile: Option<&Path>) -> Result<Option<Vec<u8>>, FileError> {
    let file = Candidate::find("the file of passwords", passfile, "PGPASSFILE", ".pgpass");
    let Some(file) = file else { return Ok(None) };
    let Some(bytes) = file.read_secret()? else { return Ok(None) };
    let text = std::str::from_utf8(&bytes).map_err(|_| file.error("it is not UTF-8"))?;
    Ok(in_text(text, config))
}

/// The password of the first line that fits: `host:port:database:user:password`, where `*` fits all.
fn in_text(text: &str, config: &Config) -> Option<Vec<u8>> {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(host) => host.clone(),
        #[cfg(unix)]
        Host::Unix(_) => "localhost".to_owned(),
    });
    let hosts = hosts.collect::<Vec<_>>();
    let ports = config.get_ports().iter().map(u16::to_string).collect::<Vec<_>>();
    let default_port = ["5432".to_owned()];
    let ports = if ports.is_empty() { &default_port[..] } else { &ports[..] };
    let user = config.get_user().map(str::to_owned).or_else(|| std::env::var("USER").ok());
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [host, port, database, name, password] = fields.as_slice() else { return None };
        let fits = |field: &str, value: &str| field == "*" || field == value;
        let is_it = hosts.iter().any(|own| fits(host, own))
            && ports.iter().any(|own| fits(port, own))
            && fits(database, config.get_dbname().unwrap_or_default())
            && fits(name, user.as_deref().unwrap_or_default());
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

    fn password(text: &str, url: &str) -> Option<String> {
        in_text(text, &url.parse().unwrap()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_first_line_that_fits_gives_the_password() {
        let file = "# comment\nother:5432:*:*:no\ndb:5432:shop:ann:a\\:b\\\\c\n*:*:*:ann:any:with:colons\n";
        assert_eq!(password(file, "postgres://ann@db/shop").as_deref(), Some("a:b\\c"));
        assert_eq!(password(file, "postgres://ann@db:5433/shop").as_deref(), Some("any:with:colons"));
        assert_eq!(password(file, "postgres://bob@db/shop"), None);
        assert_eq!(password("nonsense\n", "postgres://bob@db/shop"), None);
    }
}
