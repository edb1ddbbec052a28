//! One version of a view in PostgreSQL: how it takes over, and what it removes.

use std::sync::Arc;

use gesta_core::Checkpoint;

use crate::definition::Definition;
use crate::limits::SWITCH_TRIES;
use crate::parked::ParkedStreams;
use crate::postgres::database::{Database, is_alive};
use crate::postgres::error::{failed, is_missing_object};
use crate::postgres::names::Names;
use crate::postgres::parked::read_parked;
use crate::postgres::pool::{Pool, Served};
use crate::postgres::serve;
use crate::postgres::session::Session;
use crate::postgres::writer::Writer;
use crate::run_error::{DatabaseErrorKind, Remedy, RunError};
use crate::target::{Reads, Role, Version};

const ACTION: &str = "switch the readers' views";

/// A crash of the server must not take a switch back that readers have seen.
const BEGIN: &str = "begin; set local lock_timeout = '300ms'; set local synchronous_commit = on";

/// A version that is open for its runner.
pub(crate) struct PostgresVersion {
    pub(crate) session: Session,
    pub(crate) database: Arc<Database>,
    pub(crate) definition: Definition,
    pub(crate) names: Names,
    pub(crate) pool: Arc<Pool>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) fence: i64,
    pub(crate) role: Role,
}

impl PostgresVersion {
    pub(crate) fn fenced(&self) -> RunError {
        RunError::Fenced { view: self.definition.name().to_owned() }
    }

    /// The error of a page, unless another process took the version over meanwhile: its rows are in the way then, so what failed says
    /// nothing about an event.
    pub(crate) fn unless_taken_over(&self, error: RunError) -> RunError {
        if error.remedy() != Remedy::Stop {
            return error;
        }
        let sql =
            format!("select 1 from {}.view where name = $1 and hash = $2 and fence = $3", self.names.shared);
        let (name, hash, client) = (self.definition.name(), self.definition.hash(), &self.session.client);
        let action = "look for the owner of the view";
        match self.session.run(action, client.query_opt(&sql, &[&name, &hash, &self.fence])) {
            Ok(Some(_)) => error,
            Ok(None) => self.fenced(),
            Err(lost) => lost,
        }
    }

    fn switch(&self, serving: Option<&str>) -> Result<(), RunError> {
        let (session, names) = (&self.session, &self.names);
        let (name, hash) = (self.definition.name(), self.definition.hash());
        session.run(ACTION, session.client.batch_execute(BEGIN))?;
        // The row first: a runner that was taken over from must not touch the readers' views.
        // Nor one whose definition is older than that of a process that serves.
        let marked = format!(
            "update {0}.view as this set fence = fence where name = $1 and hash = $2 and fence = $3
                 and not exists (select 1 from {0}.view v where v.name = $1 and v.serves and v.made > this.made and {1})",
            names.shared,
            is_alive(&names.shared)
        );
        let marked = session.run(ACTION, session.client.execute(&marked, &[&name, &hash, &self.fence]))?;
        if marked != 1 {
            return Err(self.fenced());
        }
        let reader = &self.database.url.reader;
        if serving == Some(hash.as_str()) {
            serve::admit(session, names, (name, &hash), reader)?;
        } else {
            let grants = serve::withdraw(session, names)?;
            serve::publish(session, names, (name, &hash), reader, &grants)?;
        }
        session.run(ACTION, session.client.batch_execute("commit"))
    }
}

impl Version for PostgresVersion {
    type Writer<'v> = Writer<'v>;

    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn reads(&self) -> Arc<dyn Reads> {
        Arc::new(Served::new(Arc::clone(&self.pool), &self.definition.short_hash()))
    }

    /// Makes the readers' views show this version, in one transaction. It waits for queries for a moment, several times: shorter
    /// than the server waits before it looks for a deadlock, which a query that reads several views could run into.
    fn take_over(&self) -> Result<(), RunError> {
        let serving = serve::serving_hash(&self.session, &self.names, self.definition.name())?;
        let mut tries = 1;
        loop {
            let switched = self.switch(serving.as_deref());
            let Err(error) = switched else { return Ok(()) };
            self.session.run(ACTION, self.session.client.batch_execute("rollback"))?;
            let may_pass = matches!(&error, RunError::Postgres { kind: DatabaseErrorKind::Transient, .. });
            if !may_pass || tries == SWITCH_TRIES {
                return Err(error);
            }
            tries += 1;
        }
    }

    fn remove_others(&self, old: Option<&str>) {
        let (name, hash) = (self.definition.name(), self.definition.hash());
        if let Err(error) = serve::drop_others(&self.session, &self.names, (name, &hash), old) {
            tracing::warn!(view = name, %error, "an old version of a view was not removed");
        }
    }

    fn parked(&self) -> Result<ParkedStreams, RunError> {
        read_parked(&self.session, &self.names, (self.definition.name(), &self.definition.hash()))
    }

    fn writer(&self) -> Result<Writer<'_>, RunError> {
        Writer::new(self)
    }
}

impl PostgresVersion {
    /// The error of a statement of the runner.
    pub(crate) fn failed(&self, action: &'static str, error: &tokio_postgres::Error) -> RunError {
        failed(action, &self.session.database, error)
    }

    /// The error of a statement that writes rows.
    pub(crate) fn failed_to_write(&self, error: &tokio_postgres::Error) -> RunError {
        let failed = self.failed("write to the view", error);
        match is_missing_object(error) {
            // Another runner dropped this version: the next try sees that.
            true => failed.of_kind(DatabaseErrorKind::Transient),
            false => failed,
        }
    }

    /// The error of a statement that cannot be prepared any more, though the definition was checked when the version was made.
    pub(crate) fn unusable(&self, error: &tokio_postgres::Error) -> RunError {
        let failed = self.failed("prepare the view", error);
        match is_missing_object(error) {
            true => failed.of_kind(DatabaseErrorKind::Damaged),
            false => failed,
        }
    }
}
