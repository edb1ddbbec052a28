//! The consumers of a process, for operators: by name, with pauses that outlive a restart.
//!
//! *Choice: a pause is kept first and applied second, and the end of a pause is a value too, no delete.* So each change has
//! a revision, and of two changes at the same time the one that is kept last is also the one that is applied.

mod kept;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gesta_core::{Entry, KeyName, KeyNameError, KeyValueError, KeyValueStore, Retry, Revision};

use crate::clock::Clock;
use crate::consumer::{AnyConsumer, ConsumerReport, Paused};
use crate::limits::PAUSE_WRITES_MAX;

pub use kept::kept_pause;

/// The consumers of a process.
pub struct Consumers {
    values: Arc<dyn KeyValueStore>,
    clock: Arc<dyn Clock>,
    by_name: RwLock<BTreeMap<String, Arc<Entered>>>,
    keeps_pauses: bool,
}

struct Entered {
    consumer: Arc<dyn AnyConsumer>,
    key: KeyName,
    /// The revision of the pause, or of its end, that was applied last.
    applied: Mutex<Option<Revision>>,
}

impl Consumers {
    /// Creates an empty list. `values` keeps the pauses.
    #[must_use]
    pub fn new(values: Arc<dyn KeyValueStore>, clock: Arc<dyn Clock>) -> Self {
        Self { values, clock, by_name: RwLock::default(), keeps_pauses: true }
    }

    /// Says that `values` ends with the process, and the pauses with it. Operators are told.
    #[must_use]
    pub fn forgetting_pauses(self) -> Self {
        Self { keeps_pauses: false, ..self }
    }

    /// Returns true if a pause outlives a restart of the process.
    #[must_use]
    pub const fn keeps_pauses(&self) -> bool {
        self.keeps_pauses
    }

    /// Adds a consumer. It should have been started with its [`kept_pause`].
    ///
    /// # Errors
    /// [`AddError`].
    pub fn add(&self, consumer: Arc<dyn AnyConsumer>) -> Result<(), AddError> {
        let name = consumer.name().to_owned();
        let key = kept::key(&name).map_err(|source| AddError::Name { name: name.clone(), source })?;
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        if by_name.contains_key(&name) {
            return Err(AddError::Duplicate { name });
        }
        by_name.insert(name, Arc::new(Entered { consumer, key, applied: Mutex::default() }));
        Ok(())
    }

    /// Returns all consumers, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<dyn AnyConsumer>> {
        self.all_entered().into_iter().map(|entered| Arc::clone(&entered.consumer)).collect()
    }

    /// Returns the status of a consumer.
    ///
    /// # Errors
    /// [`UnknownConsumer`].
    pub async fn report(&self, name: &str) -> Result<ConsumerReport, UnknownConsumer> {
        Ok(self.entered(name)?.consumer.report().await)
    }

    /// Pauses a consumer after the page under way. The pause is kept, so a restart of the process does not undo it if
    /// [`Self::keeps_pauses`]. The first of several pauses counts.
    ///
    /// # Errors
    /// [`ControlError`]. If the pause could not be kept, nothing is paused.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open if the pause was kept and applied. Ask again.
    pub async fn pause(&self, name: &str, by: &str) -> Result<ConsumerReport, ControlError> {
        let paused = Paused { by: by.into(), since: self.clock.now() };
        self.keep(name, Some(paused)).await
    }

    /// Ends a pause. Without one, nothing happens.
    ///
    /// # Errors
    /// [`ControlError`]. If the end of the pause could not be kept, the consumer stays paused.
    ///
    /// # Cancel safety
    /// As [`Self::pause`].
    pub async fn resume(&self, name: &str) -> Result<ConsumerReport, ControlError> {
        self.keep(name, None).await
    }

    /// Starts a consumer that has stopped. A running one is left alone, and so is a pause. Blocks its thread.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn restart(&self, name: &str) -> Result<(), ControlError> {
        Ok(self.entered(name)?.consumer.restart()?)
    }

    /// Reads the pauses again, and applies those that other processes have begun or ended. A process that shares the store of pauses with others calls it
    /// now and then.
    ///
    /// # Errors
    /// As [`KeyValueStore::get`]. The consumers that were not reached are left as they are.
    pub async fn follow(&self) -> Result<(), KeyValueError> {
        for entered in self.all_entered() {
            if let Some(Entry { value, revision }) = self.values.get(entered.key.clone()).await? {
                entered.follow(revision, kept::decode(&value));
            }
        }
        Ok(())
    }

    async fn keep(&self, name: &str, wanted: Option<Paused>) -> Result<ConsumerReport, ControlError> {
        let entered = self.entered(name)?;
        let mut refused = None;
        for _ in 0..PAUSE_WRITES_MAX {
            let kept = self.values.get(entered.key.clone()).await?;
            let now = kept.as_ref().and_then(|Entry { value, .. }| kept::decode(value));
            let expect = kept.as_ref().map(|kept| kept.revision);
            if now.is_some() == wanted.is_some() {
                // It is kept already: another caller was first, or a restart lies between.
                entered.apply(expect, now);
                return Ok(entered.consumer.report().await);
            }
            let value = kept::encode(wanted.as_ref());
            match self.values.put(entered.key.clone(), value, expect).await {
                Ok(revision) => {
                    entered.apply(Some(revision), wanted);
                    return Ok(entered.consumer.report().await);
                }
                Err(error @ KeyValueError::Changed { .. }) => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(refused.expect("the loop ran").into())
    }

    fn all_entered(&self) -> Vec<Arc<Entered>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn entered(&self, name: &str) -> Result<Arc<Entered>, UnknownConsumer> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.get(name).cloned().ok_or_else(|| UnknownConsumer { name: name.to_owned() })
    }
}

impl Entered {
    /// Applies a pause, or its end, unless a newer one was applied.
    fn apply(&self, revision: Option<Revision>, paused: Option<Paused>) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if *applied <= revision {
            *applied = revision;
            self.consumer.set_paused(paused);
        }
    }

    /// The same for a value that may have been applied already.
    fn follow(&self, revision: Revision, paused: Option<Paused>) {
        let is_known = *self.applied.lock().unwrap_or_else(PoisonError::into_inner) == Some(revision);
        if !is_known {
            self.apply(Some(revision), paused);
        }
    }
}

/// No consumer has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no consumer `{name}`")]
pub struct UnknownConsumer {
    /// The name in the request.
    pub name: String,
}

/// Why a consumer could not be added to the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// Its name cannot be part of a key, so its pause could not be kept.
    #[error("`{name}` cannot be the name of a consumer: {source}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        source: KeyNameError,
    },
    /// Another one has this name.
    #[error("two consumers are named `{name}`: rename one of them")]
    Duplicate {
        /// The name.
        name: String,
    },
}

/// Why a consumer could not be paused, resumed or restarted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No consumer has this name.
    #[error(transparent)]
    UnknownConsumer(#[from] UnknownConsumer),
    /// The pause, or its end, could not be kept.
    #[error("the change could not be kept: {0}")]
    Values(#[from] KeyValueError),
    /// The system could not start a thread.
    #[error("cannot start a thread for the consumer")]
    Thread(#[from] io::Error),
}

impl ControlError {
    /// Returns the advice on asking again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::UnknownConsumer(_) => Retry::Never,
            // The same request reads first, so it settles a doubt.
            Self::Values(KeyValueError::Changed { .. } | KeyValueError::InDoubt { .. }) => Retry::Now,
            Self::Values(error) => error.retry(),
            Self::Thread(_) => Retry::AfterPause,
        }
    }
}
