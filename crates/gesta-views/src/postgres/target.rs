//! The versions of one view in PostgreSQL, as the view's thread opens them.

use std::sync::Arc;

use gesta_consumer::Stop;
use gesta_core::Checkpoint;
use tokio_postgres::types::ToSql;

use crate::damage::Damage;
use crate::definition::Definition;
use crate::kept::{Kept, Rollback};
use crate::parts::Parts;
use crate::postgres::database::{Database, heartbeat, is_alive};
use crate::postgres::error::impossible;
use crate::postgres::install::install;
use crate::postgres::lease::{Claim, Owner, claim};
use crate::postgres::make::Making;
use crate::postgres::names::Names;
use crate::postgres::parked::read_parked;
use crate::postgres::pool::{Pool, Served};
use crate::postgres::serve;
use crate::postgres::session::Session;
use crate::postgres::version::PostgresVersion;
use crate::run_error::RunError;
use crate::target::{Found, Reads, Role, Serving, Target, fitting};

const ACTION: &str = "open the view";

/// The databases of one view during one run.
pub(crate) struct Postgres {
    database: Arc<Database>,
    definition: Definition,
    names: Names,
    pool: Arc<Pool>,
    role: Role,
    /// The connection of the survey, for what follows.
    surveyed: Option<Session>,
    /// The version was open during this run, or stood by as the newest one.
    had_it: bool,
    /// What serves while another process runs the view.
    standing_by: Option<Serving>,
    /// The fence of its last claim.
    claimed: Option<i64>,
}

/// The row of a version.
struct Row {
    at: String,
    owner: Owner,
    made: i64,
    serving_made: Option<i64>,
    has_schema: bool,
}

impl Postgres {
    pub(crate) fn new(database: Arc<Database>, definition: Definition, role: Role) -> Self {
        let names = Names::new(&database.url.prefix, &definition);
        let pool = Arc::new(Pool::new(Arc::clone(&database), names.clone()));
        let (surveyed, had_it, standing_by, claimed) = (None, false, None, None);
        Self { database, definition, names, pool, role, surveyed, had_it, standing_by, claimed }
    }

    /// Connects, with the shared tables and a fresh heartbeat in place.
    fn connect(&mut self, start: &Checkpoint, stop: &Stop) -> Result<Session, RunError> {
        if let Some(session) = self.surveyed.take() {
            return Ok(session);
        }
        let session = self.database.connect(stop)?;
        install(&session, &self.database.url.prefix, start.store())?;
        self.database.installed();
        let beat = heartbeat(&self.names.shared);
        session.run(ACTION, session.client.execute(&beat, &[&self.database.runner]))?;
        Ok(session)
    }

    /// Takes the version over, if there is one and nobody else runs it. Gives its place and fence.
    fn claim(&mut self, session: &Session) -> Result<Found<(String, i64)>, RunError> {
        session.run(ACTION, session.client.batch_execute("begin"))?;
        let claimed = self.claim_within(session);
        let end = if matches!(claimed, Err(_) | Ok(Found::Nothing)) { "rollback" } else { "commit" };
        let ended = session.run(ACTION, session.client.batch_execute(end));
        let claimed = claimed?;
        ended.map(|()| claimed)
    }

    fn claim_within(&mut self, session: &Session) -> Result<Found<(String, i64)>, RunError> {
        let Some(row) = self.row(session)? else {
            // Somebody dropped it while this runner had it open or stood by.
            return if self.had_it { Err(self.superseded()) } else { Ok(Found::Nothing) };
        };
        // An older version is followed, and stays older.
        let is_newest = self.role == Role::Old || row.serving_made.is_none_or(|serving| serving <= row.made);
        let is_revived = match claim(&row.owner, &self.database.runner, self.had_it, is_newest) {
            Claim::StandBy => {
                // A newer version that serves after this is the operator's last word.
                self.had_it |= self.role == Role::Wanted && is_newest;
                return Err(RunError::StandsBy { view: self.definition.name().to_owned() });
            }
            Claim::Superseded => return Err(self.superseded()),
            Claim::TakeOver => false,
            Claim::Revive => true,
        };
        let shared = &self.names.shared;
        let sql = format!(
            "update {shared}.view set fence = fence + 1, runner = $3, file = $5, definition = $6,
                 made = case when $4 then (select max(made) + 1 from {shared}.view where name = $1) else made end
             where name = $1 and hash = $2 returning fence"
        );
        let (name, hash) = (self.definition.name(), self.definition.hash());
        let (client, runner) = (&session.client, &self.database.runner);
        // With the same hash, the text may say something else about events that cannot be applied.
        let Parts { file, text, .. } = self.definition.parts();
        let values: [&(dyn ToSql + Sync); 6] = [&name, &hash, runner, &is_revived, file, text];
        let updated = session.run(ACTION, client.query_one(&sql, &values))?;
        let fence = updated.get(0);
        Ok(match row.has_schema {
            true => Found::Usable((row.at, fence)),
            false => Found::Unusable("its schema is missing".to_owned()),
        })
    }

    /// Reads and locks the version's row.
    fn row(&self, session: &Session) -> Result<Option<Row>, RunError> {
        let shared = &self.names.shared;
        let sql = format!(
            "select at, runner, made, to_regnamespace($3) is not null,
                 (select max(made) from {shared}.view where name = $1 and serves), {alive}
             from {shared}.view v where name = $1 and hash = $2 for update",
            alive = is_alive(shared)
        );
        let (name, hash, schema) = (self.definition.name(), self.definition.hash(), &self.names.version);
        let row = session.run(ACTION, session.client.query_opt(&sql, &[&name, &hash, schema]))?;
        Ok(row.map(|row| Row {
            at: row.get(0),
            owner: Owner { runner: row.get(1), is_alive: row.get(5) },
            made: row.get(2),
            serving_made: row.get(4),
            has_schema: row.get(3),
        }))
    }

    /// The version that serves, with the place that it shows now.
    fn serving(&self, session: &Session) -> Result<Option<Serving>, RunError> {
        let sql = format!("select hash, at from {}.view where name = $1 and serves", self.names.shared);
        let name = self.definition.name();
        let row = session.run(ACTION, session.client.query_opt(&sql, &[&name]))?;
        let Some(row) = row else { return Ok(None) };
        let (hash, at): (String, String) = (row.get(0), row.get(1));
        let Ok(checkpoint) = at.parse() else { return Ok(None) };
        let parked = read_parked(session, &self.names, (name, &hash))?;
        Ok(Some(Serving { reads: self.reads(&hash), checkpoint, parked }))
    }

    fn superseded(&self) -> RunError {
        RunError::Superseded { view: self.definition.name().to_owned() }
    }

    fn version(&mut self, session: Session, checkpoint: Checkpoint, fence: i64) -> PostgresVersion {
        (self.had_it, self.claimed) = (true, Some(fence));
        PostgresVersion {
            session,
            database: Arc::clone(&self.database),
            definition: self.definition.clone(),
            names: self.names.clone(),
            pool: Arc::clone(&self.pool),
            checkpoint,
            fence,
            role: self.role,
        }
    }

    /// Another process serves a newer version: it can follow this one too.
    fn give_up(&self, session: &Session) {
        let sql = format!(
            "update {}.view set runner = null where name = $1 and hash = $2 and runner = $3",
            self.names.shared
        );
        let (name, hash, runner) = (self.definition.name(), self.definition.hash(), &self.database.runner);
        let given_up = session.run(ACTION, session.client.execute(&sql, &[&name, &hash, runner]));
        if let Err(error) = given_up {
            tracing::debug!(view = name, %error, "the older version was not given up");
        }
    }
}

impl Drop for Postgres {
    /// An older version that is not followed any more is given up: the process that wants it again must not wait for this one to end.
    fn drop(&mut self) {
        if let (Role::Old, Some(fence)) = (self.role, self.claimed) {
            self.database.give_up(self.definition.name(), &self.definition.hash(), fence);
        }
    }
}

impl Target for Postgres {
    type Version = PostgresVersion;

    /// They read the version that serves.
    const READS_EVERY_VERSION: bool = false;

    fn survey(&mut self, head: &Checkpoint, stop: &Stop) -> Result<Vec<Kept>, RunError> {
        let session = self.connect(head, stop)?;
        let kept = serve::kept(&session, &self.names, self.definition.name())?;
        self.surveyed = Some(session);
        Ok(kept)
    }

    fn reads(&self, hash: &str) -> Arc<dyn Reads> {
        Arc::new(Served::new(Arc::clone(&self.pool), &hash[..8]))
    }

    fn roll_back(
        &mut self,
        to: Option<(&str, &Rollback)>,
        head: &Checkpoint,
        stop: &Stop,
    ) -> Result<(), RunError> {
        let session = self.connect(head, stop)?;
        serve::roll_back(&session, &self.names, self.definition.name(), to)
    }

    fn remove(&mut self, hash: &str, head: &Checkpoint, stop: &Stop) -> Result<(), RunError> {
        let session = self.connect(head, stop)?;
        serve::drop_version(&session, &self.names, self.definition.name(), hash)
    }

    fn find(
        &mut self,
        head: &Checkpoint,
        _: &Arc<Damage>,
        stop: &Stop,
    ) -> Result<Found<PostgresVersion>, RunError> {
        let session = self.connect(head, stop)?;
        let claimed = self.claim(&session);
        self.standing_by = match claimed {
            Err(RunError::StandsBy { .. }) => self.serving(&session)?,
            Err(RunError::Superseded { .. }) => {
                self.give_up(&session);
                None
            }
            _ => None,
        };
        let (at, fence) = match claimed? {
            Found::Nothing => return Ok(Found::Nothing),
            Found::Unusable(reason) => return Ok(Found::Unusable(reason)),
            Found::Usable(found) => found,
        };
        let checkpoint = at.parse::<Checkpoint>().map_err(|error| {
            let message = format!("the place `{at}` of the view cannot be read ({error})");
            impossible(ACTION, &session.database, message)
        })?;
        Ok(match fitting(checkpoint, head) {
            Ok(checkpoint) => Found::Usable(self.version(session, checkpoint, fence)),
            Err(reason) => Found::Unusable(reason),
        })
    }

    fn standing_by(&mut self) -> Option<Serving> {
        self.standing_by.take()
    }

    fn make(&mut self, start: &Checkpoint, stop: &Stop) -> Result<PostgresVersion, RunError> {
        let session = self.connect(start, stop)?;
        let (database, names, definition) = (&*self.database, &self.names, &self.definition);
        let fence = Making { session: &session, database, names, definition }.make(start)?;
        Ok(self.version(session, start.clone(), fence))
    }
}
