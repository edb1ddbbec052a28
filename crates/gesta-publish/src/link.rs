//! The connection of a publisher: made when a message needs it, shared by all, and made anew after it broke.
//!
//! *Invariants*
//! - One attempt to connect runs at a time. All that wait for it share its end.
//! - After a failed attempt there is a pause, doubling, before the next one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, Arc, PoisonError};

use gesta_consumer::group::{BackOff, GroupName};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::broker::{Broker, Connection};
use crate::fault::Fault;
use crate::limits::{CONNECT_PAUSE_MAX, CONNECT_PAUSE_MIN, CONNECT_TIME, LOG_PAUSE};
use crate::message::Message;

/// The pauses between attempts.
const PAUSES: BackOff = BackOff { first: CONNECT_PAUSE_MIN, max: CONNECT_PAUSE_MAX };

/// The connection to a broker.
pub(crate) struct Link {
    /// The publisher, for the log.
    name: GroupName,
    broker: Box<dyn Broker>,
    /// When a fault was logged last.
    logged: sync::Mutex<Option<Instant>>,
    /// Attempts that failed.
    failures: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<dyn Connection>>,
    /// Attempts that failed one after the other, the end of the last one, and its fault.
    failed: Option<(u32, Instant, Fault)>,
}

impl Link {
    pub(crate) fn new(name: GroupName, broker: Box<dyn Broker>) -> Self {
        Self {
            name,
            broker,
            logged: sync::Mutex::default(),
            failures: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Sends a message and waits for its confirmation.
    pub(crate) async fn publish(&self, message: &Message<'_>) -> Result<(), Fault> {
        let published = self.try_publish(message).await;
        published.inspect_err(|fault| self.log(fault))
    }

    async fn try_publish(&self, message: &Message<'_>) -> Result<(), Fault> {
        let connection = self.connection().await?;
        let published = connection.publish(message).await;
        if let Err(Fault::Broken { .. } | Fault::Misdirected { .. }) = &published {
            self.drop_connection(&connection).await;
        }
        published
    }

    /// Logs a fault, unless another one was logged just before.
    fn log(&self, fault: &Fault) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() > LOG_PAUSE) {
            *logged = Some(Instant::now());
            tracing::warn!(publisher = self.name.as_str(), reason = fault.reason(), "not published");
        }
    }

    async fn connection(&self) -> Result<Arc<dyn Connection>, Fault> {
        let failures = self.failures.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok(Arc::clone(connection));
        }
        if let Some((_, _, fault)) = &state.failed
            && self.failures.load(Ordering::Acquire) != failures
        {
            return Err(fault.clone());
        }
        if let Some((times, last, Fault::Broken { .. })) = &state.failed {
            sleep_until(*last + PAUSES.pause(*times)).await;
        }
        let connected = timeout(CONNECT_TIME, self.broker.connect()).await;
        let connected = connected.unwrap_or_else(|_| {
            Err(Fault::Broken { reason: format!("no connection within {CONNECT_TIME:?}") })
        });
        match connected {
            Ok(connection) => {
                if state.failed.take().is_some() {
                    tracing::info!(publisher = self.name.as_str(), "the broker answers again");
                }
                state.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(fault) => {
                let times = state.failed.as_ref().map_or(0, |(times, ..)| *times).saturating_add(1);
                state.failed = Some((times, Instant::now(), fault.clone()));
                self.failures.fetch_add(1, Ordering::AcqRel);
                Err(fault)
            }
        }
    }

    /// Lets the next message make a new connection. Those under way end on the old one.
    async fn drop_connection(&self, broken: &Arc<dyn Connection>) {
        let mut state = self.state.lock().await;
        state.connection.take_if(|connection| Arc::ptr_eq(connection, broken));
    }
}
