//! Sockets that a caller wraps before the client library gets them.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// A connected socket of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The host that a connection was made to.
#[derive(Debug, Clone)]
pub struct Peer {
    host: Host,
    /// Where the host is, if the address says so beside its name.
    place: Host,
    port: u16,
}

impl Peer {
    /// The hosts of an address, in its order.
    pub(crate) fn all(config: &Config) -> Vec<Self> {
        let (ports, places) = (config.get_ports(), config.get_hostaddrs());
        let peer = |(at, host): (usize, &Host)| Self {
            host: host.clone(),
            place: places.get(at).map_or_else(|| host.clone(), |place| Host::Tcp(place.to_string())),
            port: ports.get(at).or(ports.first()).copied().unwrap_or(5432),
        };
        config.get_hosts().iter().enumerate().map(peer).collect()
    }

    /// The name that a certificate is for.
    pub(crate) fn name(&self) -> &str {
        match &self.host {
            Host::Tcp(name) => name,
            #[cfg(unix)]
            Host::Unix(_) => "",
        }
    }

    /// Connects a socket, in the time of the settings.
    pub(crate) async fn connect(&self, config: &Config, time: Duration) -> io::Result<Box<dyn Stream>> {
        let time = config.get_connect_timeout().copied().unwrap_or(time);
        timeout(time, self.connect_now(config)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn connect_now(&self, config: &Config) -> io::Result<Box<dyn Stream>> {
        match &self.place {
            Host::Tcp(name) => {
                let stream = TcpStream::connect((name.as_str(), self.port)).await?;
                stream.set_nodelay(true)?;
                keep_alive(&stream, config)?;
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{}", self.port));
                Ok(Box::new(UnixStream::connect(path).await?))
            }
        }
    }
}

/// Sets what the client library sets for its own sockets.
fn keep_alive(stream: &TcpStream, config: &Config) -> io::Result<()> {
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    if !config.get_keepalives() {
        return Ok(());
    }
    let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
    if let Some(interval) = config.get_keepalives_interval() {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        keepalive = keepalive.with_retries(retries);
    }
    socket.set_tcp_keepalive(&keepalive)
}
