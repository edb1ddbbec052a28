//! Makes a version: its schema, its tables, its row, in one transaction that also checks the definition.

use gesta_core::Checkpoint;
use tokio_postgres::Error;
use tokio_postgres::error::ErrorPosition;

use crate::definition::Definition;
use crate::parts::Parts;
use crate::postgres::database::{Database, is_alive};
use crate::postgres::error::{failed, is_race, kind, message};
use crate::postgres::names::Names;
use crate::postgres::pure::{impure_statement, impure_table};
use crate::postgres::serve;
use crate::postgres::session::Session;
use crate::problem::{DefinitionError, DefinitionProblem as Problem};
use crate::run_error::{DatabaseErrorKind, RunError};
use crate::statements::Statement;

/// A version that is being made.
pub(crate) struct Making<'m> {
    pub(crate) session: &'m Session,
    pub(crate) database: &'m Database,
    pub(crate) names: &'m Names,
    pub(crate) definition: &'m Definition,
}

impl Making<'_> {
    /// Makes the version at a place, in place of any that is there, and gives its fence. If no version of the view serves, this
    /// one does from now on.
    pub(crate) fn make(&self, at: &Checkpoint) -> Result<i64, RunError> {
        let made = self.make_within(at);
        if made.is_err() {
            // If the connection is lost, the transaction ends with it.
            drop(self.session.wait(self.session.client.batch_execute("rollback")));
        }
        made
    }

    fn make_within(&self, at: &Checkpoint) -> Result<i64, RunError> {
        let (schema, name, hash) = (&self.names.version, self.definition.name(), self.definition.hash());
        // A crash of the server must not take the version back: its runner would think that another process dropped it.
        self.execute("begin; set local synchronous_commit = on")?;
        if self.is_owned_by_another()? {
            return Err(RunError::StandsBy { view: name.to_owned() });
        }
        let serving = serve::serving_hash(self.session, self.names, name)?;
        let is_shown = serving.is_none() || serving.as_deref() == Some(hash.as_str());
        // Views of readers would go with the tables, and with them what others built on them.
        let grants = if is_shown { serve::withdraw(self.session, self.names)? } else { Vec::new() };
        self.execute(&format!("drop schema if exists {schema} cascade"))?;
        self.create_schema()?;
        self.execute(&format!("set local search_path = {schema}"))?;
        self.create_tables()?;
        self.check_handlers()?;
        let fence = self.insert_row(at, &hash)?;
        self.release_parked(&hash)?;
        if is_shown {
            serve::publish(self.session, self.names, (name, &hash), &self.database.url.reader, &grants)?;
        }
        self.execute("commit")?;
        Ok(fence)
    }

    /// Whether a process that is alive made the version since this one looked.
    fn is_owned_by_another(&self) -> Result<bool, RunError> {
        let sql = format!(
            "select 1 from {shared}.view v where v.name = $1 and v.hash = $2 and v.runner <> $3 and {alive}",
            shared = self.names.shared,
            alive = is_alive(&self.names.shared)
        );
        let (name, hash, runner) = (self.definition.name(), self.definition.hash(), &self.database.runner);
        let client = &self.session.client;
        let found = self.session.run("make the view", client.query_opt(&sql, &[&name, &hash, runner]))?;
        Ok(found.is_some())
    }

    fn execute(&self, sql: &str) -> Result<(), RunError> {
        self.session.run("make the view", self.session.client.batch_execute(sql))
    }

    fn create_schema(&self) -> Result<(), RunError> {
        let sql = format!("create schema {}", self.names.version);
        match self.session.wait(self.session.client.batch_execute(&sql)).ok_or(RunError::ShutDown)? {
            Ok(()) => Ok(()),
            Err(error) => Err(self.transient_if_race(&error)),
        }
    }

    /// Another process that makes the same version is ahead: the next try finds it.
    fn transient_if_race(&self, error: &Error) -> RunError {
        let failed = failed("make the view", &self.session.database, error);
        match is_race(error) {
            true => failed.of_kind(DatabaseErrorKind::Transient),
            false => failed,
        }
    }

    fn create_tables(&self) -> Result<(), RunError> {
        for statement in &self.definition.parts().schema {
            let done = self.session.wait(self.session.client.batch_execute(&statement.sql));
            done.ok_or(RunError::ShutDown)?.map_err(|error| self.refusal(statement, &error))?;
            if let Some(reason) = impure_table(self.session, self.names)? {
                return Err(self.denial(statement, reason));
            }
        }
        Ok(())
    }

    fn check_handlers(&self) -> Result<(), RunError> {
        let handlers = self.definition.parts().handlers();
        for (statement, _) in handlers.iter().flat_map(|handler| &handler.statements) {
            let prepared = self.session.wait(self.session.client.prepare(&statement.sql));
            let prepared =
                prepared.ok_or(RunError::ShutDown)?.map_err(|error| self.refusal(statement, &error))?;
            if !prepared.columns().is_empty() {
                let problem = Problem::ReturnsRows { statement: statement.excerpt() };
                return Err(self.error(statement.line, problem));
            }
            let checked = impure_statement(self.session, self.names, statement, &prepared)?;
            if let Some(reason) = checked.map_err(|error| self.refusal(statement, &error))? {
                return Err(self.denial(statement, reason));
            }
        }
        Ok(())
    }

    /// Writes the version's row. Another process that wrote it at the same time keeps it, and this one finds it at the next try.
    fn insert_row(&self, at: &Checkpoint, hash: &str) -> Result<i64, RunError> {
        let shared = &self.names.shared;
        let sql = format!(
            "insert into {shared}.view as v (name, hash, version, at, fence, runner, made, file, definition)
             values ($1, $2, $3::bigint::int, $4, 1, $5,
                 (select coalesce(max(made), 0) + 1 from {shared}.view where name = $1), $6, $7)
             on conflict (name, hash) do update set at = excluded.at, fence = v.fence + 1, runner = excluded.runner,
                 made = excluded.made, file = excluded.file, definition = excluded.definition
             returning fence"
        );
        let (name, version) = (self.definition.name(), i64::from(self.definition.version()));
        let (at, runner) = (at.to_string(), &self.database.runner);
        let Parts { file, text, .. } = self.definition.parts();
        let client = &self.session.client;
        let inserted =
            self.session.wait(client.query_one(&sql, &[&name, &hash, &version, &at, runner, file, text]));
        let inserted = inserted.ok_or(RunError::ShutDown)?;
        inserted.map(|row| row.get(0)).map_err(|error| self.transient_if_race(&error))
    }

    /// A version that is made begins without parked streams.
    fn release_parked(&self, hash: &str) -> Result<(), RunError> {
        let sql = format!("delete from {}.parked where name = $1 and hash = $2", self.names.shared);
        let (client, name) = (&self.session.client, self.definition.name());
        self.session.run("make the view", client.execute(&sql, &[&name, &hash])).map(|_| ())
    }

    /// The error of a statement: the definition's, unless it may pass.
    fn refusal(&self, statement: &Statement, error: &Error) -> RunError {
        if kind(error) == DatabaseErrorKind::Transient {
            return failed("make the view", &self.session.database, error);
        }
        let offset = match error.as_db_error().and_then(|error| error.position()) {
            Some(ErrorPosition::Original(character)) => *character as usize,
            _ => 0,
        };
        let lines = statement.sql.chars().take(offset.saturating_sub(1)).filter(|c| *c == '\n').count();
        let line = statement.line + u32::try_from(lines).unwrap_or(0);
        let problem = Problem::Postgres { statement: statement.excerpt(), message: message(error) };
        self.error(line, problem)
    }

    fn denial(&self, statement: &Statement, reason: String) -> RunError {
        self.error(statement.line, Problem::Denied { statement: statement.excerpt(), reason })
    }

    fn error(&self, line: u32, problem: Problem) -> RunError {
        RunError::Refused(DefinitionError { file: self.definition.parts().file.clone(), line, problem })
    }
}
