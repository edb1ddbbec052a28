//! The connections for reads.
//!
//! A connection takes several reads at once, one behind the other. A new one is made only while all are in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gesta_core::{Diverged, ReadError};
use tokio::time::Instant;

use crate::fault::Fault;
use crate::limits::{READ_RETRY_TIME, READ_TIME, READERS_MAX, RETRY_PAUSE, STEP_TIME};
use crate::session::{Session, within};
use crate::shared::Shared;

/// The connections for reads.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Held while a connection is made. The last failure, and when it ended.
    connecting: tokio::sync::Mutex<Option<(Instant, Fault)>>,
    /// True if a connection was lost since the last one was made.
    has_lost: Mutex<bool>,
}

/// Why a read has no answer.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The server failed.
    Fault(Fault),
    /// The read was refused.
    Refused(ReadError),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<tokio_postgres::Error> for Unread {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl From<ReadError> for Unread {
    fn from(error: ReadError) -> Self {
        Self::Refused(error)
    }
}

impl From<Unread> for ReadError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Fault(fault) => fault.into(),
            Unread::Refused(error) => error,
        }
    }
}

impl From<Diverged> for Unread {
    fn from(error: Diverged) -> Self {
        Self::Refused(error.into())
    }
}

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>, first: Session) -> Self {
        Self {
            shared,
            sessions: Mutex::new(vec![Arc::new(first)]),
            connecting: tokio::sync::Mutex::default(),
            has_lost: Mutex::new(false),
        }
    }

    /// Runs a read on a connection. After a lost one, the read is tried again on another.
    pub(crate) async fn run<T, F>(&self, read: impl Fn(Arc<Session>) -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, Unread>>,
    {
        let deadline = Instant::now() + READ_RETRY_TIME;
        loop {
            let fault = match self.try_run(&read).await {
                Ok(answer) => return Ok(answer),
                Err(Unread::Refused(error)) => return Err(error),
                Err(Unread::Fault(fault)) => fault,
            };
            let may_pass = matches!(fault, Fault::Lost(_) | Fault::Busy(_));
            if !may_pass || Instant::now() >= deadline {
                return Err(fault.into());
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn try_run<T, F>(&self, read: &impl Fn(Arc<Session>) -> F) -> Result<T, Unread>
    where
        F: Future<Output = Result<T, Unread>>,
    {
        let session = self.session().await?;
        let result = tokio::time::timeout(READ_TIME, read(Arc::clone(&session))).await;
        let result = result.unwrap_or_else(|_| Err(Fault::timeout("a read").into()));
        if let Err(Unread::Fault(Fault::Lost(_) | Fault::Refused(_))) = &result {
            self.discard(&session);
        }
        result
    }

    /// A connection with the fewest reads under way.
    async fn session(&self) -> Result<Arc<Session>, Fault> {
        if let Some(session) = self.free() {
            return Ok(session);
        }
        let asked_at = Instant::now();
        let mut last_failure = self.connecting.lock().await;
        if let Some(session) = self.free() {
            return Ok(session);
        }
        let failed = match &*last_failure {
            // All who waited for a try share its failure: one after the other they would wait for ever longer.
            Some((failed_at, fault)) if *failed_at > asked_at => fault.clone(),
            _ => match Session::connect(&self.shared.target, None).await {
                Ok(session) => return self.add(session).await,
                Err(fault) => {
                    *last_failure = Some((Instant::now(), fault.clone()));
                    fault
                }
            },
        };
        // The server may be out of connections: those that there are go on.
        self.least_used().ok_or(failed)
    }

    /// Adds a new connection.
    async fn add(&self, session: Session) -> Result<Arc<Session>, Fault> {
        if *self.lock_lost() {
            let state = within(STEP_TIME, "a look at the head", session.state()).await?;
            self.shared.start_over(&state)?;
            *self.lock_lost() = false;
        }
        let session = Arc::new(session);
        self.lock().push(Arc::clone(&session));
        Ok(session)
    }

    /// A connection to use now: one that is idle, or the least used if no more may be made.
    fn free(&self) -> Option<Arc<Session>> {
        let session = self.least_used()?;
        // The pool holds one, and this call another.
        let is_idle = Arc::strong_count(&session) <= 2;
        (is_idle || self.lock().len() >= READERS_MAX).then_some(session)
    }

    fn least_used(&self) -> Option<Arc<Session>> {
        let mut sessions = self.lock();
        let before = sessions.len();
        sessions.retain(|session| !session.is_closed());
        if sessions.len() < before {
            self.lose();
        }
        sessions.iter().min_by_key(|session| Arc::strong_count(session)).cloned()
    }

    fn discard(&self, session: &Arc<Session>) {
        self.lock().retain(|own| !Arc::ptr_eq(own, session));
        self.lose();
    }

    fn lose(&self) {
        *self.lock_lost() = true;
    }

    fn lock_lost(&self) -> MutexGuard<'_, bool> {
        self.has_lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
