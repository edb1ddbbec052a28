//! TLS to RabbitMQ: the client library runs on a runtime whose sockets are encrypted, since its own TLS brings 60 crates.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_compat::Compat;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use gesta_tls::Client;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The runtime of this thread, with encrypted sockets to a host. A socket is given to the library once the host has shown a good
/// certificate.
pub(super) fn runtime(client: &Client, host: &str) -> io::Result<Runtime<RuntimeParts<Tokio, Encrypted>>> {
    let tokio = Tokio::current();
    let host = Client::server_name(host)?;
    let encrypted = Encrypted { tokio: tokio.clone(), client: client.clone(), host };
    Ok(Runtime::new(RuntimeParts::new(tokio, encrypted)))
}

/// The sockets and timers of tokio, where each socket is encrypted.
#[derive(Debug, Clone)]
pub(super) struct Encrypted {
    tokio: Tokio,
    client: Client,
    host: ServerName<'static>,
}

impl Reactor for Encrypted {
    type TcpStream = Compat<TlsStream<TcpStream>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.tokio.register(socket)
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.tokio.sleep(time)
    }

    fn interval(&self, period: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(period)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connector = TlsConnector::from(Arc::clone(self.client.config()));
        let (socket, host) = (self.tokio.tcp_connect_addr(address), self.host.clone());
        async move {
            let socket = socket.await?.into_inner();
            Ok(Compat::new(connector.connect(host, socket).await?))
        }
    }
}
