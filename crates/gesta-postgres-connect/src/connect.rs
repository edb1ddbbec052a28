//! Making connections: host by host, each within its time.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client, Config, Socket};

use crate::address::Address;
use crate::cancel::Canceller;
use crate::error::{ConnectError, Failure};
use crate::hosts::{Host, shuffle};
use crate::passwords::Passwords;
use crate::socket::{Place, Stream};
use crate::times::Times;
use crate::tls::{Connector, Mode, Tls, TlsStream};

/// A connection of the client library, which its owner must drive.
pub type Connection<S = Socket> = tokio_postgres::Connection<S, TlsStream<S>>;

/// What a connection consists of.
pub struct Connected<S = Socket> {
    /// Sends requests.
    pub client: Client,
    /// Must be driven.
    pub connection: Connection<S>,
    /// Ends requests.
    pub canceller: Canceller,
}

/// Wraps sockets before the client library gets them.
pub trait Wrap: Sync {
    /// A wrapped socket.
    type Stream: Stream + 'static;

    /// Wraps a connected socket.
    fn wrap(&self, socket: Box<dyn Stream>) -> Self::Stream;
}

impl Address {
    /// Connects to a host that takes writes, within the time of the address.
    ///
    /// # Errors
    /// [`ConnectError`]: that of the host that was tried last.
    pub async fn connect(&self) -> Result<Connected, ConnectError> {
        self.connect_by(&Direct).await
    }

    /// Connects to a host that is not a standby over a wrapped socket, within the time of the address. Unlike [`Self::connect`], it
    /// takes a login that may not write.
    ///
    /// # Errors
    /// As for [`Self::connect`].
    pub async fn connect_over<W: Wrap>(&self, wrap: &W) -> Result<Connected<W::Stream>, ConnectError> {
        self.connect_by(&Over(wrap)).await
    }

    /// Reads the files that a connection needs, to find a mistake before anything is tried. Blocks.
    ///
    /// # Errors
    /// [`ConnectError::File`] and [`ConnectError::Tls`].
    pub fn check_files(&self) -> Result<(), ConnectError> {
        self.plan().map(drop)
    }

    async fn connect_by<D: Dial>(&self, dial: &D) -> Result<Connected<D::Stream>, ConnectError> {
        let time = self.times.connect_in_all(self.hosts.len());
        let end = Instant::now() + time;
        let connecting = async {
            let address = self.clone();
            // A file may be on a disk that does not answer.
            let planned = tokio::task::spawn_blocking(move || address.plan()).await;
            planned.map_err(|error| ConnectError::Socket(io::Error::other(error)))??.connect(dial, end).await
        };
        timeout(time, connecting).await.unwrap_or(Err(ConnectError::TimedOut { after: time }))
    }

    /// Reads the environment and the files.
    fn plan(&self) -> Result<Plan, ConnectError> {
        let mut hosts = self.hosts.clone();
        if self.shuffles {
            shuffle(&mut hosts);
        }
        let mut settings = Config::clone(&self.settings);
        settings.channel_binding(self.tls.channel_binding()?);
        self.times.apply(&mut settings);
        let passwords = self.passwords()?;
        // There is no TLS on a socket of this machine.
        let tls = if hosts.iter().all(Host::is_local) { Tls::off() } else { self.tls.load()? };
        if tls.mode == Mode::Prefer && settings.get_ssl_negotiation() == SslNegotiation::Direct {
            let reason = "`sslnegotiation=direct` needs `sslmode=require` or more".to_owned();
            return Err(ConnectError::Tls { reason });
        }
        let time = self.times.connect_in_all(hosts.len());
        Ok(Plan { hosts, shuffles: self.shuffles, settings, passwords, tls, times: *self.times, time })
    }
}

/// Everything that a connection needs, read from the environment and the files.
struct Plan {
    /// In the order in which they are tried.
    hosts: Vec<Host>,
    shuffles: bool,
    /// All but host and password.
    settings: Config,
    passwords: Passwords,
    tls: Tls,
    times: Times,
    /// The time for all hosts.
    time: Duration,
}

impl Plan {
    /// Tries the hosts one after the other.
    async fn connect<D: Dial>(&self, dial: &D, end: Instant) -> Result<Connected<D::Stream>, ConnectError> {
        let mut failed = None;
        for (host, hosts) in self.hosts.iter().zip(left(self.hosts.len())) {
            let time = self.times.connect_to_one(end.duration_since(Instant::now()), hosts);
            match self.within(time, self.connect_to(host, dial, Instant::now() + time)).await {
                Ok(connected) => return Ok(connected),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(nowhere))
    }

    /// Tries the places of a host, which share its time.
    async fn connect_to<D: Dial>(
        &self,
        host: &Host,
        dial: &D,
        end: Instant,
    ) -> Result<Connected<D::Stream>, ConnectError> {
        let mut places = host.places().await.map_err(ConnectError::Socket)?;
        if self.shuffles {
            shuffle(&mut places);
        }
        let mut failed = None;
        for (place, places) in places.iter().zip(left(places.len())) {
            let time = end.duration_since(Instant::now()) / places;
            match self.within(time, self.connect_at(host, place, dial)).await {
                Ok(connected) => return Ok(connected),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(nowhere))
    }

    /// Connects to one place, as `sslmode` says.
    async fn connect_at<D: Dial>(
        &self,
        host: &Host,
        place: &Place,
        dial: &D,
    ) -> Result<Connected<D::Stream>, ConnectError> {
        let authorities = self.tls.authorities.as_deref();
        if host.is_local() || self.tls.mode == Mode::Disable {
            let dialled = self.dial(host, place, dial, SslMode::Disable, Connector::off()).await;
            return dialled.map_err(|failure| failure.explain(authorities));
        }
        let mode = if self.tls.mode == Mode::Prefer { SslMode::Prefer } else { SslMode::Require };
        let failure = match self.dial(host, place, dial, mode, self.tls.connector.clone()).await {
            Ok(connected) => return Ok(connected),
            Err(failure) => failure,
        };
        // Nothing but the handshake went to this place. After more than that, the login would be sent again for others to read.
        let falls_back = mode == SslMode::Prefer && failure.is_of_handshake();
        let error = failure.explain(authorities);
        if !falls_back {
            return Err(error);
        }
        tracing::warn!("the connection to the database at `{host}` is not encrypted: {error}");
        let dialled = self.dial(host, place, dial, SslMode::Disable, Connector::off()).await;
        dialled.map_err(|failure| failure.explain(authorities))
    }

    async fn dial<D: Dial>(
        &self,
        host: &Host,
        place: &Place,
        dial: &D,
        mode: SslMode,
        connector: Connector,
    ) -> Result<Connected<D::Stream>, Failure> {
        let mut config = self.settings.clone();
        host.name_in(&mut config, place);
        config.ssl_mode(mode);
        if let Some(password) = self.passwords.of(host, &config) {
            config.password(password);
        }
        let name = host.certified_name().to_owned();
        let (client, connection) = dial.dial(&config, place, &connector, &name).await?;
        let token = client.cancel_token();
        let canceller = Canceller { token, connector, name, place: place.clone(), time: self.time };
        Ok(Connected { client, connection, canceller })
    }

    async fn within<T>(
        &self,
        time: Duration,
        connecting: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        timeout(time, connecting).await.unwrap_or(Err(ConnectError::TimedOut { after: self.time }))
    }
}

/// How many are left at each of `count` steps.
fn left(count: usize) -> impl Iterator<Item = u32> {
    (1..=u32::try_from(count).unwrap_or(u32::MAX)).rev()
}

fn nowhere() -> ConnectError {
    ConnectError::Socket(io::Error::other("no address was found for the host"))
}

/// How a connection to one place is made.
trait Dial: Sync {
    type Stream: Send;

    /// Connects. The settings name this place alone.
    fn dial(
        &self,
        config: &Config,
        place: &Place,
        connector: &Connector,
        name: &str,
    ) -> impl Future<Output = Result<(Client, Connection<Self::Stream>), Failure>> + Send;
}

/// Over a socket of the client library, which checks that the server takes writes.
struct Direct;

impl Dial for Direct {
    type Stream = Socket;

    async fn dial(
        &self,
        config: &Config,
        _: &Place,
        connector: &Connector,
        _: &str,
    ) -> Result<(Client, Connection), Failure> {
        config.connect(connector.clone()).await.map_err(Failure::Server)
    }
}

/// Over a wrapped socket.
struct Over<'a, W>(&'a W);

impl<W: Wrap> Dial for Over<'_, W> {
    type Stream = W::Stream;

    async fn dial(
        &self,
        config: &Config,
        place: &Place,
        connector: &Connector,
        name: &str,
    ) -> Result<(Client, Connection<W::Stream>), Failure> {
        let socket = place.connect_watched(config).await.map_err(Failure::Socket)?;
        let connected = config.connect_raw(self.0.wrap(socket), connector.handshake(name)).await;
        let (client, connection) = connected.map_err(Failure::Server)?;
        match connection.parameter("in_hot_standby") {
            Some("on") => Err(Failure::Socket(io::Error::other("the server is a standby"))),
            _ => Ok((client, connection)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, ConnectError> {
        Address::parse(text, |_, _| Ok(false)).unwrap().plan()
    }

    #[cfg(unix)]
    #[test]
    fn an_address_of_sockets_alone_reads_no_files_of_tls() {
        let files = "sslmode=verify-full&sslrootcert=/nowhere/ca.crt";
        assert_eq!(plan(&format!("postgres:///shop?host=/run&{files}")).unwrap().tls.mode, Mode::Disable);
        assert!(matches!(plan(&format!("postgres://a/shop?host=/run&{files}")), Err(ConnectError::File(_))));
    }

    #[test]
    fn an_encryption_that_is_only_preferred_cannot_begin_at_once() {
        let text = |mode: &str| format!("postgres://a/shop?sslnegotiation=direct&sslmode={mode}");
        assert!(plan(&text("require")).is_ok());
        let error = plan(&text("prefer")).err().unwrap().to_string();
        assert!(error.contains("needs `sslmode=require`"), "{error}");
    }

    #[test]
    fn hosts_are_tried_in_their_order_where_the_address_says_so() {
        let names = |plan: Plan| plan.hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        for _ in 0..20 {
            let ordered = plan("postgres://a,b,c/shop?sslmode=disable&load_balance_hosts=disable").unwrap();
            assert_eq!(names(ordered), ["a", "b", "c"]);
        }
        let shuffled = || names(plan("postgres://a,b,c/shop?sslmode=disable").unwrap())[0] != "a";
        assert!((0..200).any(|_| shuffled()), "1 of 3^200 runs finds the same first host each time");
    }
}
