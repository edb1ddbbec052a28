//! The hosts of an address: which there are, and where each one is.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::{fmt, io};

use tokio_postgres::Config;
use tokio_postgres::config::Host as Name;

use crate::socket::Place;

const DEFAULT_PORT: u16 = 5432;

/// A host of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// A name, a number, or the folder of a socket.
    name: Name,
    /// Where it is, if the address says so beside its name.
    number: Option<IpAddr>,
    port: u16,
}

impl Host {
    /// The hosts that an address names, in its order.
    pub(crate) fn all(config: &Config) -> Result<Vec<Self>, &'static str> {
        let (mut names, numbers) = (config.get_hosts().to_vec(), config.get_hostaddrs());
        if names.is_empty() {
            // TLS needs a name.
            names = numbers.iter().map(|number| Name::Tcp(number.to_string())).collect();
        }
        if names.is_empty() {
            return Err("it names no host");
        }
        if names.iter().any(|name| matches!(name, Name::Tcp(name) if name.contains('@'))) {
            return Err("a host has no `@`: write `%40` in a password");
        }
        let is_folder = |name: &Name| !matches!(name, Name::Tcp(_));
        if !numbers.is_empty() && names.iter().any(is_folder) {
            return Err(
                "`hostaddr` cannot stand beside the folder of a socket: name a host, or leave one out",
            );
        }
        if !numbers.is_empty() && numbers.len() != names.len() {
            return Err("it has not as many `hostaddr` as hosts");
        }
        let ports = config.get_ports();
        if ports.len() > 1 && ports.len() != names.len() {
            return Err("it has not as many ports as hosts");
        }
        let host = |(at, name)| Self {
            name,
            number: numbers.get(at).copied(),
            port: ports.get(at).or(ports.first()).copied().unwrap_or(DEFAULT_PORT),
        };
        Ok(names.into_iter().enumerate().map(host).collect())
    }

    /// It is a socket of this machine.
    pub(crate) const fn is_local(&self) -> bool {
        !matches!(self.name, Name::Tcp(_))
    }

    /// The name that a certificate is for. A socket of this machine has none.
    pub(crate) fn certified_name(&self) -> &str {
        match &self.name {
            Name::Tcp(name) => name,
            #[cfg(unix)]
            Name::Unix(_) => "",
        }
    }

    /// The name and the port under which a file has its password.
    pub(crate) fn in_passwords(&self) -> (&str, u16) {
        match &self.name {
            Name::Tcp(name) => (name, self.port),
            #[cfg(unix)]
            Name::Unix(_) => ("localhost", self.port),
        }
    }

    /// Finds the places where the host is.
    pub(crate) async fn places(&self) -> io::Result<Vec<Place>> {
        match (&self.name, self.number) {
            (_, Some(number)) => Ok(vec![Place::Tcp(SocketAddr::new(number, self.port))]),
            (Name::Tcp(name), None) => {
                let found = tokio::net::lookup_host((name.as_str(), self.port)).await?;
                Ok(found.map(Place::Tcp).collect())
            }
            #[cfg(unix)]
            (Name::Unix(folder), None) => Ok(vec![Place::Unix(folder.clone(), self.port)]),
        }
    }

    /// Names the host and one of its places to the client library.
    pub(crate) fn name_in(&self, config: &mut Config, place: &Place) {
        match &self.name {
            Name::Tcp(name) => config.host(name),
            #[cfg(unix)]
            Name::Unix(folder) => config.host_path(folder),
        };
        if let Place::Tcp(address) = place {
            config.hostaddr(address.ip());
        }
        config.port(self.port);
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Tcp(name) if name.contains(':') => write!(f, "[{name}]")?,
            Name::Tcp(name) => f.write_str(name)?,
            #[cfg(unix)]
            Name::Unix(folder) => write!(f, "{}", folder.display())?,
        }
        if self.port == DEFAULT_PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Puts values in a random order.
pub(crate) fn shuffle<T>(values: &mut [T]) {
    // Each state of the standard library's hash has other random keys.
    values.sort_by_cached_key(|_| RandomState::new().build_hasher().finish());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_shuffle_keeps_the_values_and_changes_their_order() {
        let mut orders = BTreeSet::new();
        // 1 of 2^200 runs finds the same first value each time.
        for _ in 0..200 {
            let mut values = [1, 2];
            shuffle(&mut values);
            assert_eq!(values.iter().sum::<i32>(), 3);
            orders.insert(values);
        }
        assert_eq!(orders.len(), 2);
    }
}
