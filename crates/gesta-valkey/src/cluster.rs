//! Commands to one server, or to a cluster: a redirection is followed once, and a connection that broke is made anew once.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use gesta_core::SnapshotError;
use gesta_tls::Client;

use crate::connection::Connection;
use crate::resp::Reply;
use crate::url::{ValkeyUrl, address};

/// The connections of one thread.
pub(crate) struct Cluster {
    url: Arc<ValkeyUrl>,
    client: Option<Client>,
    /// The server of the URL, and those that it redirected to.
    connections: HashMap<String, Connection>,
}

/// Where a cluster sends a command.
#[derive(Debug, PartialEq, Eq)]
struct Redirection {
    address: String,
    /// The slot is on its way: the server wants `ASKING` first.
    is_asking: bool,
}

impl Cluster {
    /// A client encrypts all connections.
    pub(crate) fn new(url: Arc<ValkeyUrl>, client: Option<Client>) -> Self {
        Self { url, client, connections: HashMap::new() }
    }

    pub(crate) fn url(&self) -> &ValkeyUrl {
        &self.url
    }

    /// Sends a command. Every command of this crate may be sent twice.
    pub(crate) fn call(&mut self, command: &[&[u8]]) -> Result<Reply, SnapshotError> {
        let first = self.url.address();
        let reply = self.call_at(&first, command)?;
        let Reply::Error(error) = reply else { return Ok(reply) };
        let Some(redirection) = redirection(&error, &self.url.host) else { return Err(refused(&error)) };
        if redirection.is_asking {
            self.call_at(&redirection.address, &[b"ASKING"])?;
        }
        match self.call_at(&redirection.address, command)? {
            Reply::Error(error) => Err(refused(&error)),
            reply => Ok(reply),
        }
    }

    fn call_at(&mut self, address: &str, command: &[&[u8]]) -> Result<Reply, SnapshotError> {
        let failed = |error: io::Error| SnapshotError::Unavailable {
            reason: format!("`{address}`: {}", words(&error)),
        };
        loop {
            let mut connection = match self.connections.remove(address) {
                Some(connection) => connection,
                None => Connection::open(address, &self.url, self.client.as_ref()).map_err(failed)?,
            };
            let was_used = connection.is_used;
            match connection.call(command) {
                Ok(reply) => {
                    self.connections.insert(address.to_owned(), connection);
                    return Ok(reply);
                }
                // The server was restarted, or closed the connection while it was idle.
                Err(error) if was_used && is_broken(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// True if the other side closed the connection, and does not just keep silent.
fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server does not answer".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// `MOVED 3999 host:port` or `ASK 3999 host:port`. Without a host, the one that was asked.
fn redirection(error: &str, asked: &str) -> Option<Redirection> {
    let mut words = error.split(' ');
    let is_asking = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let (host, port) = words.nth(1)?.rsplit_once(':')?;
    let host = if host.is_empty() { asked } else { host };
    Some(Redirection { address: address(host, port.parse().ok()?), is_asking })
}

fn refused(error: &str) -> SnapshotError {
    let reason = error.to_owned();
    match error.split(' ').next() {
        Some("OOM") => SnapshotError::StorageFull { reason },
        _ => SnapshotError::Unavailable { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_of_a_cluster_are_read() {
        let to = |address: &str, is_asking| Some(Redirection { address: address.to_owned(), is_asking });
        for (error, expected) in [
            ("MOVED 3999 127.0.0.1:6381", to("127.0.0.1:6381", false)),
            ("ASK 3999 node-2:7000", to("node-2:7000", true)),
            ("MOVED 3999 :6381", to("here:6381", false)),
            ("MOVED 3999 ::1:6381", to("[::1]:6381", false)),
            ("MOVED 3999", None),
            ("MOVED 3999 host:port", None),
            ("ERR no", None),
            ("", None),
        ] {
            assert_eq!(redirection(error, "here"), expected, "{error}");
        }
    }

    #[test]
    fn a_full_server_is_named() {
        assert!(matches!(refused("OOM command not allowed"), SnapshotError::StorageFull { .. }));
        assert!(matches!(refused("NOAUTH Authentication required."), SnapshotError::Unavailable { .. }));
    }
}
