//! The address of a store: `nats://USER:PASSWORD@HOST:4222,HOST:4222/NAME?copy=FOLDER&monitor=HOST:8222,HOST:8222&partitions=3`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use async_nats::ServerAddr;

use crate::limits::PARTITIONS_MAX;

/// Bytes of the name of a store. It is part of the names of streams and subjects.
const NAME_BYTES_MAX: usize = 32;

const SCHEMES: [&str; 2] = ["nats", "tls"];

/// The address of a store on a cluster. Its text has the servers and the name, and never the password.
#[derive(Clone, PartialEq, Eq)]
pub struct JetStreamUrl {
    servers: Vec<String>,
    name: String,
    monitors: Vec<String>,
    copy: Option<PathBuf>,
    partitions: Option<u16>,
}

/// The text is not the address of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not the address of a store on JetStream: {reason}")]
pub struct JetStreamUrlParseError {
    /// What is wrong, and what helps. It does not repeat the address, which may hold a password.
    pub reason: String,
}

impl JetStreamUrl {
    /// Returns the name of the store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the folder for the copy of this process, if the address names one.
    #[must_use]
    pub fn copy(&self) -> Option<&Path> {
        self.copy.as_deref()
    }

    /// Returns the number of partitions, if the address names it: that of a new store, and the one that a store must have.
    #[must_use]
    pub const fn partitions(&self) -> Option<u16> {
        self.partitions
    }

    /// Returns true if a text begins as an address of this kind does.
    #[must_use]
    pub fn is_begun_by(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")))
    }

    /// The servers, each with its scheme and login.
    pub(crate) fn servers(&self) -> Vec<ServerAddr> {
        self.servers.iter().map(|server| server.parse().expect("it was parsed before")).collect()
    }

    /// The monitors of servers, each as `HOST:PORT`.
    pub(crate) fn monitors(&self) -> &[String] {
        &self.monitors
    }

    /// The name of the stream of a partition.
    pub(crate) fn stream(&self, partition: u16) -> String {
        format!("ES_{}_{partition}", self.name)
    }

    /// The subject of the stream of a partition.
    pub(crate) fn subject(&self, partition: u16) -> String {
        format!("es.{}.{partition}", self.name)
    }
}

impl FromStr for JetStreamUrl {
    type Err = JetStreamUrlParseError;

    fn from_str(text: &str) -> Result<Self, JetStreamUrlParseError> {
        let wrong = |reason: &str| JetStreamUrlParseError { reason: reason.to_owned() };
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("it begins with `nats://` or `tls://`"))?;
        if !SCHEMES.contains(&scheme) {
            return Err(wrong("it begins with `nats://` or `tls://`"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut monitors, mut copy, mut partitions) = (Vec::new(), None, None);
        for parameter in query.split('&').filter(|_| !query.is_empty()) {
            match parameter.split_once('=') {
                Some(("monitor", hosts)) => monitors = hosts.split(',').map(str::to_owned).collect(),
                Some(("copy", folder)) if !folder.is_empty() => copy = Some(PathBuf::from(folder)),
                Some(("partitions", number)) => {
                    let number = number.parse().ok().filter(|number| (1..=PARTITIONS_MAX).contains(number));
                    partitions = Some(number.ok_or_else(|| wrong("a store has 1 to 64 `partitions`"))?);
                }
                _ => {
                    return Err(wrong(
                        "its parameters are `copy=FOLDER`, `monitor=HOST:8222,HOST:8222` and `partitions=NUMBER`",
                    ));
                }
            }
        }
        if !monitors.iter().all(|monitor| is_monitor(monitor)) {
            return Err(wrong("the monitors are written as `monitor=HOST:8222,HOST:8222`"));
        }
        let (hosts, name) = rest.split_once('/').unwrap_or((rest, ""));
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_part) {
            return Err(wrong(
                "the name of the store stands after the hosts, as in `nats://localhost:4222/shop`: 1 to 32 letters, digits and `-`",
            ));
        }
        // A login stands before the first host, and holds for all.
        let (login, hosts) = hosts.rsplit_once('@').map_or(("", hosts), |(login, hosts)| (login, hosts));
        let at = if login.is_empty() { "" } else { "@" };
        let servers = hosts.split(',').map(|host| format!("{scheme}://{login}{at}{host}"));
        let servers = servers.collect::<Vec<_>>();
        let is_server = |server: &String| server.parse::<ServerAddr>().is_ok();
        if hosts.is_empty() || !servers.iter().all(is_server) {
            return Err(wrong("the hosts are written as `HOST:4222,HOST:4222`"));
        }
        Ok(Self { servers, name: name.to_owned(), monitors, copy, partitions })
    }
}

/// True for `HOST:PORT`.
fn is_monitor(text: &str) -> bool {
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '@', '=', '&']);
    text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
}

impl fmt::Display for JetStreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |server: &String| {
            let (scheme, rest) = server.split_once("://").expect("it was made with a scheme");
            let (_, host) = rest.rsplit_once('@').unwrap_or(("", rest));
            (scheme.to_owned(), host.to_owned())
        };
        let hosts = self.servers.iter().map(host).collect::<Vec<_>>();
        let names = hosts.iter().map(|(_, host)| host.as_str()).collect::<Vec<_>>().join(",");
        write!(f, "{}://{names}/{}", hosts[0].0, self.name)
    }
}

impl fmt::Debug for JetStreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JetStreamUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_servers_and_a_store_and_hides_the_password() {
        let url = "nats://me:secret@a:4222,b:4223/shop-1".parse::<JetStreamUrl>().unwrap();
        assert_eq!(url.to_string(), "nats://a:4222,b:4223/shop-1");
        assert_eq!(url.servers, ["nats://me:secret@a:4222", "nats://me:secret@b:4223"]);
        assert_eq!((url.stream(2), url.subject(2)), ("ES_shop-1_2".to_owned(), "es.shop-1.2".to_owned()));
        assert_eq!(url.servers().len(), 2);
        assert_eq!(url.monitors(), [""; 0]);
        let url = "nats://a/shop?monitor=a:8222,[::1]:8223".parse::<JetStreamUrl>().unwrap();
        assert_eq!(url.monitors(), ["a:8222", "[::1]:8223"]);
        let url = "nats://a/shop?copy=/srv/copy&monitor=a:8222".parse::<JetStreamUrl>().unwrap();
        assert_eq!((url.copy(), url.monitors().len()), (Some(Path::new("/srv/copy")), 1));
        assert_eq!(url.partitions(), None);
        let numbers = [1, 64].map(|number| format!("nats://a/shop?partitions={number}"));
        let numbers = numbers.map(|url| url.parse::<JetStreamUrl>().unwrap().partitions());
        assert_eq!(numbers, [Some(1), Some(64)]);
        assert!(JetStreamUrl::is_begun_by("nats://") && !JetStreamUrl::is_begun_by("nats:shop"));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_address() {
        for text in [
            "http://a/shop",
            "a:4222/shop",
            "nats://a:4222",
            "nats://a:4222/",
            "nats://a/s.h",
            "nats:///shop",
            "nats://a:x/shop",
            "nats://a/shop?monitor",
            "nats://a/shop?monitor=",
            "nats://a/shop?monitor=a",
            "nats://a/shop?monitor=http://a:8222",
            "nats://a/shop?partitions=0",
            "nats://a/shop?partitions=65",
            "nats://a/shop?partitions=",
            "nats://a/shop?copy=",
            "nats://a/shop?copy=a&",
        ] {
            let error = text.parse::<JetStreamUrl>().unwrap_err().to_string();
            assert!(!error.contains(text), "{error}");
        }
    }
}
