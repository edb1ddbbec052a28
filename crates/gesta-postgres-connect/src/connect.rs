//! Making connections, each within its time.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{CancelToken, Client, Config, Socket};

use crate::address::Address;
use crate::error::ConnectError;
use crate::files::FileError;
use crate::socket::{Peer, Stream};
use crate::tls::{Connector, Mode, Tls, TlsStream};

/// A connection of the client library, which its owner must drive.
pub type Connection = tokio_postgres::Connection<Socket, TlsStream<Socket>>;

/// Wraps sockets before the client library gets them.
pub trait Wrap: Sync {
    /// A wrapped socket.
    type Stream: Stream + 'static;

    /// Wraps a connected socket.
    fn wrap(&self, socket: Box<dyn Stream>) -> Self::Stream;
}

/// A connection over a socket that the caller has wrapped.
pub struct OverSocket<S> {
    /// Sends requests.
    pub client: Client,
    /// Must be driven.
    pub connection: tokio_postgres::Connection<S, TlsStream<S>>,
    /// The host, to cancel requests.
    pub peer: Peer,
}

/// Everything that a connection needs, read from the environment and the files.
struct Plan {
    config: Config,
    tls: Tls,
    time: Duration,
}

impl Address {
    /// Connects to the host that takes writes, within the time of the address.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self) -> Result<(Client, Connection), ConnectError> {
        let plan = self.plan()?;
        plan.within(async {
            let connected = plan.config.connect(plan.tls.connector.clone()).await;
            match connected.map_err(|error| plan.explain(error)) {
                Err(error) if plan.falls_back(&error) => {
                    let unencrypted = plan.unencrypted().connect(Connector::off()).await;
                    unencrypted.map_err(|error| plan.explain(error))
                }
                connected => connected,
            }
        })
        .await
    }

    /// Connects to the first host that answers, over a wrapped socket, within the time of the address.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect_over<W: Wrap>(&self, wrap: &W) -> Result<OverSocket<W::Stream>, ConnectError> {
        let plan = self.plan()?;
        plan.within(async {
            match plan.connect_over(&plan.config, &plan.tls.connector, wrap).await {
                Err(error) if plan.falls_back(&error) => {
                    plan.connect_over(&plan.unencrypted(), &Connector::off(), wrap).await
                }
                connected => connected,
            }
        })
        .await
    }

    /// Asks the server to end the request that a connection waits for, within the time of a connection. Nobody learns what became of
    /// it, so its connection should be dropped.
    pub async fn cancel(&self, request: &CancelToken) {
        let Ok(plan) = self.plan() else { return };
        // The outcome does not matter.
        let _ = timeout(plan.time, request.cancel_query(plan.tls.connector.clone())).await;
    }

    /// As [`Self::cancel`], for a connection of [`Self::connect_over`].
    pub async fn cancel_over(&self, request: &CancelToken, peer: &Peer) {
        let Ok(plan) = self.plan() else { return };
        let cancel = async {
            let stream = peer.connect(&plan.config, plan.time).await.ok()?;
            let handshake = plan.tls.connector.handshake(peer.name());
            request.cancel_query_raw(stream, handshake).await.ok()
        };
        // The outcome does not matter.
        let _ = timeout(plan.time, cancel).await;
    }

    /// Reads the files that a connection needs, to find a mistake before anything is tried.
    ///
    /// # Errors
    /// [`ConnectError::File`] and [`ConnectError::Tls`].
    pub fn check_files(&self) -> Result<(), ConnectError> {
        self.plan().map(drop)
    }

    fn plan(&self) -> Result<Plan, ConnectError> {
        let mut config = self.with_password().map_err(|error: FileError| ConnectError::File(error))?;
        let mut tls = self.tls.load()?;
        // There is no TLS on a socket of this machine.
        let is_local = |host: &Host| !matches!(host, Host::Tcp(_));
        if config.get_hosts().iter().all(is_local) {
            tls = Tls { mode: Mode::Disable, connector: Connector::off(), authorities: None };
        }
        config.ssl_mode(match tls.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        let time = self.connect_time();
        if config.get_connect_timeout().is_none() {
            let hosts = u32::try_from(config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
            config.connect_timeout(time / hosts);
        }
        Ok(Plan { config, tls, time })
    }
}

impl Plan {
    async fn within<T>(
        &self,
        connecting: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let late = || Err(ConnectError::TimedOut { after: self.time });
        timeout(self.time, connecting).await.unwrap_or_else(|_| late())
    }

    async fn connect_over<W: Wrap>(
        &self,
        config: &Config,
        connector: &Connector,
        wrap: &W,
    ) -> Result<OverSocket<W::Stream>, ConnectError> {
        let mut failed = None;
        for peer in Peer::all(config) {
            match peer.connect(config, self.time).await {
                Ok(stream) => {
                    let handshake = connector.handshake(peer.name());
                    let connected = config.connect_raw(wrap.wrap(stream), handshake).await;
                    let (client, connection) = connected.map_err(|error| self.explain(error))?;
                    return Ok(OverSocket { client, connection, peer });
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(ConnectError::Socket(
            failed.unwrap_or_else(|| std::io::Error::other("the address names no host")),
        ))
    }

    fn explain(&self, error: tokio_postgres::Error) -> ConnectError {
        ConnectError::of(error, self.tls.authorities.as_deref())
    }

    /// `prefer` takes a connection without TLS where one with TLS cannot be made, as libpq does.
    fn falls_back(&self, error: &ConnectError) -> bool {
        let falls_back = self.tls.mode == Mode::Prefer && matches!(error, ConnectError::Tls { .. });
        if falls_back {
            tracing::info!("the connection to the database is not encrypted: {error}");
        }
        falls_back
    }

    fn unencrypted(&self) -> Config {
        let mut config = self.config.clone();
        config.ssl_mode(SslMode::Disable);
        config
    }
}
