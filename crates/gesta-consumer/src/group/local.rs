//! Groups that are dealt in this process, over its store and a key-value store beside it.
//!
//! One thread, `gesta-groups`, steps all dealers. Reads and puts are futures on it, so no dealer waits for another one.

mod call;
mod engine;
mod groups;
mod keys;
mod look;
mod queue;
mod reply;
mod words;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gesta_core::{
    Checkpoint, EventStore, KeyValueError, KeyValueStore, Limit, Place, Query, Read, ReadError, When,
    check_query,
};

use self::engine::Engine;
use self::queue::{Full, Known, Message, Queue};
use self::reply::reply;
use super::dealer::{Change, Changed, Row, check_query_len};
use super::error::{ChangeError, LookError, PutError};
use super::limits::GROUPS_MAX;
use super::name::GroupName;
use super::settings::{GroupSettings, SettingsVersion};
use crate::clock::Clock;

/// What groups need to know of their store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalGroupsOptions {
    /// A number that each opening of the store raises, below 2^23; 0 if it has none.
    ///
    /// With it, ids of deliveries stay unique also if the key-value store is lost.
    pub boot_epoch: u64,
    /// True if no other process can deal groups of this store at the same time, for example because it holds the lock of a folder.
    ///
    /// If false, the queries of hosted groups are not widened: the other process might still deal beyond the place from which a new item
    /// counts.
    pub is_alone: bool,
    /// With `is_alone`: the time of the clock from which that is so. Until then, additions to a query are refused as `Unavailable`.
    pub alone_from: Duration,
}

/// Groups that are dealt in this process. Dropped, they are closed.
pub struct LocalGroups {
    store: Arc<dyn EventStore>,
    values: Arc<dyn KeyValueStore>,
    clock: Arc<dyn Clock>,
    options: LocalGroupsOptions,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    calls: AtomicU64,
    /// The settings that hosts of this process named.
    hosted: Mutex<BTreeMap<GroupName, GroupSettings>>,
    lags: look::Lags,
}

/// The thread of the groups could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the thread `gesta-groups` cannot be started")]
pub struct StartError(#[source] pub(super) std::io::Error);

impl LocalGroups {
    /// Starts the thread and the dealers of all groups in the key-value store.
    ///
    /// It returns before the groups deal. Until the list of groups was read, calls wait, or are refused as `Unavailable`.
    ///
    /// # Errors
    /// [`StartError`] if the system has no thread left.
    pub fn start(
        store: Arc<dyn EventStore>,
        values: Arc<dyn KeyValueStore>,
        clock: Arc<dyn Clock>,
        options: LocalGroupsOptions,
    ) -> Result<Self, StartError> {
        let queue = Arc::new(Queue::default());
        let engine = Engine::new(
            Arc::clone(&store),
            Arc::clone(&values),
            Arc::clone(&clock),
            Arc::clone(&queue),
            options.boot_epoch,
        );
        let thread = std::thread::Builder::new().name("gesta-groups".to_owned());
        let thread = thread.spawn(|| pollster::block_on(engine.run())).map_err(StartError)?;
        Ok(Self {
            store,
            values,
            clock,
            options,
            queue,
            thread: Mutex::new(Some(thread)),
            calls: AtomicU64::new(0),
            hosted: Mutex::default(),
            lags: look::Lags::default(),
        })
    }

    /// Puts the progress of all groups once more, and ends the thread. Later calls are refused.
    ///
    /// It blocks until then. A put that fails is not tried again.
    pub fn close(&self) {
        let _ = self.queue.push(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the consumer groups has panicked");
        }
    }

    /// Deals the groups again that another process took over. This process surely deals.
    pub(super) fn take_back(&self) {
        // Groups that are closed stay closed.
        let _ = self.queue.push(Message::TakeBack);
    }

    /// Asks the thread for something.
    async fn ask<T>(&self, message: impl FnOnce(reply::Reply<T>) -> Message) -> Result<T, Unanswered> {
        let (reply, answer) = reply();
        self.queue.push(message(reply)).map_err(Unanswered::NotAsked)?;
        answer.await.map_err(|_| Unanswered::Lost)
    }

    async fn change(&self, group: GroupName, change: Change) -> Result<Changed, ChangeError> {
        self.ask(|reply| Message::Change { group, change, reply }).await?
    }

    async fn settings(&self, group: GroupName, change: Change) -> Result<SettingsVersion, PutError> {
        self.ask(|reply| Message::Settings { group, change, reply }).await?
    }

    async fn known(&self, group: &GroupName) -> Result<Known, LookError> {
        let name = group.clone();
        match self.ask(|reply| Message::Status { group: name, reply }).await? {
            Known::No => Err(LookError::NoGroup { group: group.clone() }),
            known => Ok(known),
        }
    }

    /// The names of all groups.
    async fn names(&self) -> Result<Vec<GroupName>, LookError> {
        let listed = self.ask(|reply| Message::List { reply }).await?;
        listed.map_err(|reason| LookError::Unavailable { reason })
    }

    /// Checks settings, and returns the place after which a new group of theirs begins.
    async fn check(&self, settings: &GroupSettings) -> Result<Checkpoint, PutError> {
        settings.check()?;
        let fault = check_query(&settings.query, self.store.capabilities());
        fault.map_err(|fault| PutError::Query(ReadError::from(fault)))?;
        let from = self.locate(&settings.from).await.map_err(PutError::Place)?;
        check_query_len(settings, &from)?;
        Ok(from)
    }

    /// Returns the checkpoint of a place. One that this store refuses is an error.
    async fn locate(&self, place: &Place) -> Result<Checkpoint, ReadError> {
        match place {
            Place::Start => self.store.locate(When::Start).await,
            Place::End => self.store.head_now().await,
            Place::At(checkpoint) => {
                let read = Read::log_from(Query::All, Place::At(checkpoint.clone()));
                let one = Limit::events(NonZeroU32::MIN);
                self.store.read(read.limit(one)).await?;
                Ok(checkpoint.clone())
            }
        }
    }

    /// Creates a group, and starts its dealer.
    async fn create(&self, group: GroupName, settings: GroupSettings) -> Result<SettingsVersion, PutError> {
        let from = self.check(&settings).await?;
        let groups = self.names().await?;
        if groups.contains(&group) {
            return Err(self.exists(group).await);
        }
        if groups.len() >= GROUPS_MAX {
            return Err(PutError::TooMany { groups_max: GROUPS_MAX });
        }
        let row = Row::new(settings, &from);
        match self.values.put(keys::row(&group), row.encode(), None).await {
            Ok(_) => {
                self.created(group)?;
                Ok(SettingsVersion::FIRST)
            }
            Err(KeyValueError::Changed { .. }) => {
                self.created(group.clone())?;
                Err(self.exists(group).await)
            }
            Err(KeyValueError::InDoubt { reason }) => {
                self.created(group)?;
                Err(PutError::InDoubt { reason })
            }
            Err(error) => Err(PutError::Unavailable { reason: error.to_string() }),
        }
    }

    fn created(&self, group: GroupName) -> Result<(), PutError> {
        self.queue.push(Message::Created { group }).map_err(|full| match full {
            Full::Closed => PutError::Closed,
            Full::Overloaded => PutError::InDoubt { reason: OVERLOADED.to_owned() },
        })
    }

    async fn exists(&self, group: GroupName) -> PutError {
        match self.values.get(keys::row(&group)).await {
            Ok(Some(entry)) => match Row::decode(&entry.value) {
                Ok(row) => PutError::Exists { group, actual: row.settings_version },
                Err(error) => PutError::Unavailable { reason: error.to_string() },
            },
            Ok(None) => PutError::Unavailable { reason: format!("group `{group}` is being removed") },
            Err(error) => PutError::Unavailable { reason: error.to_string() },
        }
    }

    fn hosted_settings(&self, group: &GroupName) -> Option<GroupSettings> {
        self.hosted.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }
}

/// Why the thread gave no answer.
enum Unanswered {
    /// It was not asked.
    NotAsked(Full),
    /// It ended while it worked on the request.
    Lost,
}

/// The words for too many requests at the same time.
const OVERLOADED: &str = "too many requests wait for the groups";
/// The words for a change whose outcome nobody heard of.
const LOST: &str = "the groups were closed while the change was made";

impl From<Unanswered> for ChangeError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotAsked(Full::Closed) => Self::Closed,
            Unanswered::NotAsked(Full::Overloaded) => Self::Unavailable { reason: OVERLOADED.to_owned() },
            Unanswered::Lost => Self::InDoubt { reason: LOST.to_owned() },
        }
    }
}

impl From<Unanswered> for PutError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotAsked(Full::Closed) => Self::Closed,
            Unanswered::NotAsked(Full::Overloaded) => Self::Unavailable { reason: OVERLOADED.to_owned() },
            Unanswered::Lost => Self::InDoubt { reason: LOST.to_owned() },
        }
    }
}

impl From<Unanswered> for LookError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotAsked(Full::Overloaded) => Self::Unavailable { reason: OVERLOADED.to_owned() },
            Unanswered::NotAsked(Full::Closed) | Unanswered::Lost => Self::Closed,
        }
    }
}

impl Drop for LocalGroups {
    fn drop(&mut self) {
        self.close();
    }
}
