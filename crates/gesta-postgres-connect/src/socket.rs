//! Sockets, for callers that wrap them before the client library gets them, and to cancel requests.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_postgres::Config;

/// A connected socket of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Where a server takes connections.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    /// The folder of a socket, and its port, which is part of its name.
    #[cfg(unix)]
    Unix(PathBuf, u16),
}

impl Place {
    /// Connects a socket.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        self.connect_with(None).await
    }

    /// Connects a socket that notices a machine that is gone, as the settings say.
    pub(crate) async fn connect_watched(&self, config: &Config) -> io::Result<Box<dyn Stream>> {
        self.connect_with(Some(config)).await
    }

    async fn connect_with(&self, watch: Option<&Config>) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                if let Some(config) = watch {
                    keep_alive(&stream, config)?;
                }
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Self::Unix(folder, port) => {
                Ok(Box::new(UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await?))
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
