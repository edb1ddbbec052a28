//! What operators do to the versions of a view: roll back to the one before, and drop it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use event_listener::Listener;
use gesta_core::{Checkpoint, ReadError, Retry};

use crate::hosted::Hosted;
use crate::kept::{Roles, Rollback, roles};
use crate::limits::ROLL_BACK_TIME_MAX;
use crate::run_error::RunError;
use crate::status::State;
use crate::views::UnknownView;

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// The first 8 digits of the hash of the version that was wanted before.
    pub from: String,
    /// Those of the version that is wanted now.
    pub to: String,
    /// It is the definition that the host gives: an earlier rollback was taken back.
    pub is_given: bool,
    /// It answers queries already. Otherwise it does once it has caught up.
    pub is_serving: bool,
}

impl Hosted {
    /// Makes the version before the wanted one.
    pub(crate) fn roll_back(&self, head: &Checkpoint) -> Result<RolledBack, RollBackError> {
        let operating = self.operating();
        self.check_is_runner()?;
        let name = || self.view.name.clone();
        if let Some((old, State::Stopped { error })) =
            self.old().and_then(|old| Some((old.version, old.state?)))
        {
            return Err(RollBackError::OldStopped { name: name(), version: old, error });
        }
        let chosen = self.standing_still(|| self.choose_other(head))?;
        drop(operating);
        let (from, to, is_given) = chosen?;
        let is_serving = self.serves_soon(&to);
        tracing::info!(view = name(), from, to, is_serving, "the view is rolled back");
        Ok(RolledBack { from, to, is_given, is_serving })
    }

    /// Records the other version as the wanted one. Gives the short hashes of both.
    fn choose_other(&self, head: &Checkpoint) -> Result<(String, String, bool), RollBackError> {
        let given = self.view.given();
        let kept = self.versions.survey(&given, head)?;
        let Roles { instead, old, .. } = roles(&given.hash(), &kept);
        if let Some(instead) = instead {
            self.versions.roll_back(&given, None, head)?;
            return Ok((instead.hash[..8].to_owned(), given.short_hash(), true));
        }
        let Some(old) = old else { return Err(RollBackError::NothingKept { name: self.view.name.clone() }) };
        if old.source.is_none() {
            return Err(RollBackError::NoDefinition { name: self.view.name.clone() });
        }
        let since = kept.iter().map(|version| version.served).max().unwrap_or(0);
        let rollback = Rollback { instead_of: given.hash(), since };
        self.versions.roll_back(&given, Some((&old.hash, &rollback)), head)?;
        Ok((given.short_hash(), old.hash[..8].to_owned(), false))
    }

    /// Waits a while until a version serves. Gives false if it does not yet.
    fn serves_soon(&self, version: &str) -> bool {
        let deadline = Instant::now() + ROLL_BACK_TIME_MAX;
        loop {
            // Listen first, look second: a change in between is not missed.
            let listener = self.view.changed.listen();
            let state = self.state();
            if self.view.serves_wanted(version) {
                return true;
            }
            let will_not = matches!(state, State::Stopped { .. } | State::Paused { .. });
            if will_not || listener.wait_deadline(deadline).is_none() {
                return false;
            }
        }
    }

    /// Removes all versions but the wanted one. Gives the short hash of the one before.
    pub(crate) fn drop_old(&self, head: &Checkpoint) -> Result<String, DropOldError> {
        let _operating = self.operating();
        self.check_is_runner()?;
        self.standing_still(|| self.remove_old(head))?
    }

    fn remove_old(&self, head: &Checkpoint) -> Result<String, DropOldError> {
        let given = self.view.given();
        let kept = self.versions.survey(&given, head)?;
        let Roles { instead, old, serves } = roles(&given.hash(), &kept);
        let name = self.view.name.clone();
        let Some(old) = old else { return Err(DropOldError::NothingKept { name }) };
        if !serves {
            return Err(DropOldError::Serves { name });
        }
        let wanted = instead.map_or_else(|| given.hash(), |instead| instead.hash);
        // A switch that was just made may not have removed an older one yet.
        for version in kept.iter().filter(|version| version.hash != wanted) {
            self.versions.remove(&given, &version.hash, head)?;
        }
        Ok(old.hash[..8].to_owned())
    }

    /// Another process runs the view in PostgreSQL: it would not notice a change.
    fn check_is_runner(&self) -> Result<(), RunError> {
        match self.state() {
            State::Retrying { error } if matches!(*error, RunError::StandsBy { .. }) => {
                Err(RunError::StandsBy { view: self.view.name.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// Why a view could not be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum RollBackError {
    /// No view has this name.
    #[error(transparent)]
    UnknownView(#[from] UnknownView),
    /// No version before is kept.
    #[error("no version before the present one is kept of the view `{name}`")]
    NothingKept {
        /// The view.
        name: String,
    },
    /// The definition of the version before is not text, so its database does not have it.
    #[error(
        "the version of the view `{name}` before the present one was defined in a program: start that program again"
    )]
    NoDefinition {
        /// The view.
        name: String,
    },
    /// The version before has stopped, so its rows are not those of now.
    #[error("the version {version} of the view `{name}` has stopped, so its rows are old: {error}")]
    OldStopped {
        /// The view.
        name: String,
        /// The version.
        version: String,
        /// Why it stopped.
        error: Arc<RunError>,
    },
    /// The database could not be read or written.
    #[error(transparent)]
    Database(#[from] RunError),
    /// The log could not be read.
    #[error("cannot read the log: {0}")]
    Read(#[from] ReadError),
    /// The system could not start a thread.
    #[error("cannot start a thread for the view")]
    Thread(#[from] io::Error),
}

impl RollBackError {
    /// Whether, and when, it helps to try again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Database(error) => error.retry(),
            Self::Read(error) => error.retry(),
            Self::Thread(_) => Retry::AfterPause,
            _ => Retry::Never,
        }
    }
}

/// Why the version before could not be dropped.
#[derive(Debug, thiserror::Error)]
pub enum DropOldError {
    /// No view has this name.
    #[error(transparent)]
    UnknownView(#[from] UnknownView),
    /// No version before is kept.
    #[error("no version before the present one is kept of the view `{name}`")]
    NothingKept {
        /// The view.
        name: String,
    },
    /// It answers queries until the wanted version has caught up.
    #[error("the older version of the view `{name}` answers queries until the new one has caught up")]
    Serves {
        /// The view.
        name: String,
    },
    /// The database could not be read or written.
    #[error(transparent)]
    Database(#[from] RunError),
    /// The log could not be read.
    #[error("cannot read the log: {0}")]
    Read(#[from] ReadError),
    /// The system could not start a thread.
    #[error("cannot start a thread for the view")]
    Thread(#[from] io::Error),
}

impl DropOldError {
    /// Whether, and when, it helps to try again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Serves { .. } | Self::Thread(_) => Retry::AfterPause,
            Self::Database(error) => error.retry(),
            Self::Read(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}
