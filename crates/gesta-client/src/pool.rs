//! Connections to the server: made when they are needed, kept for a while, and closed when a request on them is dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::address::Address;
use crate::limits::IDLE_TIME_MAX;

/// The connections of one client, at most a fixed number at once.
pub(crate) struct Pool {
    address: Arc<Address>,
    connect_time: Duration,
    slots: Arc<Semaphore>,
    /// The newest last.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    link: Link,
    since: Instant,
}

/// An open connection. Dropped, it is closed, whatever is under way on it.
struct Link {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A connection that one request has for itself. Dropped, it is closed.
pub(crate) struct Connection {
    link: Link,
    /// True if it has had a request before. The server may have closed it since.
    pub(crate) was_kept: bool,
    _slot: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(address: Arc<Address>, connect_time: Duration, connections_max: usize) -> Self {
        let slots = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
        Self { address, connect_time, slots, idle: Mutex::default() }
    }

    /// Takes a connection, a kept one if there is one. Waits until one is free. The error says why none can be made.
    pub(crate) async fn take(&self) -> Result<Connection, String> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the slots are never closed");
        let kept = self.take_idle();
        let was_kept = kept.is_some();
        let link = match kept {
            Some(link) => link,
            None => self.connect().await?,
        };
        Ok(Connection { link, was_kept, _slot: slot })
    }

    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn give_back(&self, connection: Connection) {
        let Connection { link, _slot, .. } = connection;
        if !link.sender.is_closed() {
            self.lock().push(Idle { link, since: Instant::now() });
        }
    }

    /// Closes the kept connections: one has broken, so the others may be broken too.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    fn take_idle(&self) -> Option<Link> {
        let mut idle = self.lock();
        idle.retain(|idle| idle.since.elapsed() < IDLE_TIME_MAX && !idle.link.sender.is_closed());
        idle.pop().map(|idle| idle.link)
    }

    async fn connect(&self) -> Result<Link, String> {
        let Address { host, port, authority, .. } = &*self.address;
        let cannot = |reason: &dyn std::fmt::Display| format!("cannot connect to `{authority}`: {reason}");
        let connecting = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| cannot(&error))?;
            // Requests are whole: waiting for a full packet only adds latency.
            let _ = stream.set_nodelay(true);
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| cannot(&error))
        };
        let made = timeout(self.connect_time, connecting).await;
        let (sender, driver) = made.map_err(|_| cannot(&"it takes too long"))??;
        let driver = tokio::spawn(async move {
            // The request on the connection gets the error.
            let _ = driver.await;
        });
        Ok(Link { sender, driver })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// The sender of requests.
    pub(crate) fn sender(&mut self) -> &mut SendRequest<Full<Bytes>> {
        &mut self.link.sender
    }
}
