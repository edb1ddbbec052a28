//! A view in schemas of its own, for a view in the past: `gesta~` and eight digits, as a prefix that no other view can have.
//!
//! Everything in them is as in the schemas of a running view, so a query at a moment runs behind the same walls as one on a live
//! view. A connection holds a lock as long as they are needed. What a crash leaves behind has no lock, and goes when the next one is
//! made in the same database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gesta_consumer::{Reach, Stop};
use gesta_core::{Checkpoint, RecordedEvent};

use crate::as_of::EvaluationLimits;
use crate::definition::Definition;
use crate::parked::Pieces;
use crate::postgres::database::Database;
use crate::postgres::install::install;
use crate::postgres::make::Making;
use crate::postgres::names::Names;
use crate::postgres::pool::{Pool, Served};
use crate::postgres::session::Session;
use crate::postgres::url::{Login, PostgresUrl};
use crate::postgres::version::PostgresVersion;
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::scratch::Scratch;
use crate::target::{Durability, Outcome, PageWrite, Reads, Role, Version as _, Writer as _};

const ACTION: &str = "make a place for the past of the view";

/// How long a drop of schemas may take. It removes files, and waits for queries that read them.
const DROP_TIME_MAX: Duration = Duration::from_secs(10);

/// The names of all schemas, as a pattern.
const PATTERN: &str = "^gesta~[0-9a-f]{8}$";

/// A view and the connection that applies its events.
pub(crate) struct PostgresScratch {
    version: PostgresVersion,
    /// The place that the rows show.
    at: Checkpoint,
    /// Raised when the evaluation has to end.
    stop: Stop,
    schemas: Arc<Schemas>,
}

impl PostgresScratch {
    /// Schemas with the view's tables, which show the start of the log.
    pub(crate) fn make(
        url: &PostgresUrl,
        definition: Definition,
        start: &Checkpoint,
        limits: &EvaluationLimits,
    ) -> Result<Self, RunError> {
        let id = &uuid::Uuid::new_v4().simple().to_string()[..8];
        let name = format!("gesta~{id}");
        let started = Database::start_alone(url.with_prefix(&name));
        let database = Arc::new(started.map_err(|error| RunError::Postgres {
            action: ACTION,
            database: url.address(Login::Runner).database().to_owned(),
            message: format!("no thread could be started: {error}"),
            kind: DatabaseErrorKind::Transient,
        })?);
        let stop = stop_at(limits, &database);
        drop_leftovers(&database, &stop)?;
        let schemas = Arc::new(Schemas::lock(&database, name)?);
        let session = database.connect(&stop)?;
        install(&session, &database.url.prefix, start.store())?;
        let names = Names::alone(&database.url.prefix, &definition);
        let making =
            Making { session: &session, database: &database, names: &names, definition: &definition };
        let fence = making.make(start)?;
        let pool = Arc::new(Pool::new(Arc::clone(&database), names.clone()));
        let (checkpoint, role) = (start.clone(), Role::Wanted);
        let version = PostgresVersion { session, database, definition, names, pool, checkpoint, fence, role };
        Ok(Self { version, at: start.clone(), stop, schemas })
    }

    /// Commits events, and shows a place.
    fn commit(&mut self, events: &[RecordedEvent], pieces: Pieces, to: Checkpoint) -> Result<(), RunError> {
        let (reach, durability) = (Reach::Page, Durability::WithLater);
        let page = PageWrite { events, pieces, from: &self.at, to: &to, reach, parked: &[], durability };
        match self.version.writer()?.commit(&page, &self.stop)? {
            Outcome::Applied => self.at = to,
            Outcome::Interrupted => return Err(RunError::ShutDown),
        }
        Ok(())
    }
}

impl Scratch for PostgresScratch {
    fn apply(&mut self, events: &[RecordedEvent], pieces: Pieces) -> Result<(), RunError> {
        let to = events.last().map_or_else(|| self.at.clone(), |event| self.at.clone().past(event));
        self.commit(events, pieces, to)
    }

    fn show(&mut self, at: &Checkpoint) -> Result<(), RunError> {
        self.commit(&[], Pieces::Whole, at.clone())
    }

    fn reads(&self) -> Result<Box<dyn Reads>, RunError> {
        let served = Served::new(Arc::clone(&self.version.pool), &self.version.definition.short_hash());
        Ok(Box::new(ScratchReads { served, schemas: Arc::clone(&self.schemas) }))
    }
}

/// The connections that read, with the schemas that they need.
struct ScratchReads {
    served: Served,
    schemas: Arc<Schemas>,
}

impl Reads for ScratchReads {
    fn version(&self) -> &str {
        self.served.version()
    }

    fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
        deadline: Instant,
    ) -> Result<Rows, QueryError> {
        self.served.query(sql, parameters, limits, deadline)
    }

    fn is_lost(&self) -> bool {
        self.schemas.session.client.is_closed()
    }
}

/// A signal that is raised when an evaluation is cancelled or its time is over.
fn stop_at(limits: &EvaluationLimits, database: &Database) -> Stop {
    let (stop, EvaluationLimits { time, cancel, .. }) = (Stop::new(), limits.clone());
    let raised = stop.clone();
    database.runtime().spawn(async move {
        drop(tokio::time::timeout(time, cancel.cancelled()).await);
        raised.stop();
    });
    stop
}

/// The schemas of one view in the past. They are dropped with this.
struct Schemas {
    name: String,
    /// Holds the lock. Without it, another process may drop the schemas.
    session: Session,
    /// Runs the connection.
    _database: Arc<Database>,
}

impl Schemas {
    /// Takes the lock of a name.
    fn lock(database: &Arc<Database>, name: String) -> Result<Self, RunError> {
        // A signal of its own: the schemas are dropped also after the evaluation was ended.
        let session = database.connect(&Stop::new())?;
        let locking = format!("select {}", lock("pg_advisory_lock"));
        session.run(ACTION, session.client.execute(&locking, &[&name]))?;
        Ok(Self { name, session, _database: Arc::clone(database) })
    }
}

impl Drop for Schemas {
    fn drop(&mut self) {
        let dropped = self.session.wait_at_most(drop_schemas(&self.session, &self.name), DROP_TIME_MAX);
        if let Some(Err(error)) = dropped {
            tracing::debug!(name = self.name, %error, "the schemas of a view in the past were not dropped");
        }
    }
}

/// Drops what crashes left behind. What cannot be dropped within its time stays, and so do another owner's schemas.
fn drop_leftovers(database: &Database, stop: &Stop) -> Result<(), RunError> {
    let session = database.connect(stop)?;
    let client = &session.client;
    let limits = format!("set statement_timeout = {}; set lock_timeout = '1s'", DROP_TIME_MAX.as_millis());
    session.run(ACTION, client.batch_execute(&limits))?;
    let names =
        "select nspname::text from pg_namespace where nspname ~ $1 and pg_has_role(nspowner, 'member')";
    let locked = format!("select {}", lock("pg_try_advisory_lock"));
    for row in session.run(ACTION, client.query(names, &[&PATTERN]))? {
        let name: String = row.get(0);
        if !session.run(ACTION, client.query_one(&locked, &[&name]))?.get::<_, bool>(0) {
            continue;
        }
        if let Err(error) = session.run(ACTION, drop_schemas(&session, &name)) {
            tracing::warn!(name, %error, "schemas that a crash left behind were not dropped");
        }
    }
    Ok(())
}

/// Drops the schemas of a name.
async fn drop_schemas(session: &Session, name: &str) -> Result<(), tokio_postgres::Error> {
    let schemas = "select coalesce(string_agg(quote_ident(nspname), ', '), '') from pg_namespace
        where nspname = $1 or starts_with(nspname, $1 || '_')";
    let schemas: String = session.client.query_one(schemas, &[&name]).await?.get(0);
    match schemas.is_empty() {
        true => Ok(()),
        false => session.client.batch_execute(&format!("drop schema {schemas} cascade")).await,
    }
}

/// A call of a function for locks, for the name in `$1`.
fn lock(function: &str) -> String {
    format!("{function}(hashtextextended($1, 1))")
}
