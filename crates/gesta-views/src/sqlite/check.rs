//! Checks the SQL of a definition before any view runs: SQLite prepares every statement on an empty database.

use std::time::Instant;

use rusqlite::{Connection, Error};

use crate::limits::{CHECK_TIME_MAX, STEPS_PER_LOOK};
use crate::parts::Parts;
use crate::problem::{DefinitionError, DefinitionProblem as Problem};
use crate::sqlite::authorize::{Gate, Mode};
use crate::sqlite::clock::date_calls;
use crate::sqlite::connection::{harden, message};
use crate::sqlite::purity;
use crate::statements::Statement;

/// Builds the schema in memory and prepares every statement of every handler against it.
pub(crate) fn check(parts: &Parts) -> Result<(), DefinitionError> {
    let check = Check::new(parts).map_err(|error| whole(parts, &error))?;
    check.gate.set(Mode::Schema);
    for statement in &parts.schema {
        check.create(statement)?;
        check.defaults(statement)?;
        check.schema_clock(statement)?;
    }
    check.gate.set(Mode::Handler);
    for (statement, _) in parts.handlers().iter().flat_map(|handler| &handler.statements) {
        check.prepare(statement)?;
        check.clock(statement)?;
    }
    Ok(())
}

struct Check<'p> {
    parts: &'p Parts,
    connection: Connection,
    gate: Gate,
}

impl<'p> Check<'p> {
    fn new(parts: &'p Parts) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        harden(&connection)?;
        purity::install(&connection)?;
        let deadline = Instant::now() + CHECK_TIME_MAX;
        connection.progress_handler(STEPS_PER_LOOK, Some(move || Instant::now() > deadline))?;
        let gate = Gate::install(&mut connection)?;
        Ok(Self { parts, connection, gate })
    }

    fn create(&self, statement: &Statement) -> Result<(), DefinitionError> {
        let refuse = |error| self.refusal(statement, &error);
        let mut prepared = self.connection.prepare(&statement.sql).map_err(refuse)?;
        if prepared.column_count() > 0 {
            return Err(self.error(statement.line, Problem::ReturnsRows { statement: statement.excerpt() }));
        }
        self.check_verb(statement, &["create", "insert", "replace", "update", "delete", "with"])?;
        prepared.raw_execute().map_err(refuse)?;
        Ok(())
    }

    /// SQLite does not ask the authorizer about `vacuum`, and may not about statements of a newer version.
    fn check_verb(&self, statement: &Statement, verbs: &[&str]) -> Result<(), DefinitionError> {
        let verb = statement.normal.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if verbs.iter().any(|allowed| allowed.eq_ignore_ascii_case(verb)) {
            return Ok(());
        }
        let reason = format!("statements here begin with {}", verbs.join(", "));
        Err(self.error(statement.line, Problem::Denied { statement: statement.excerpt(), reason }))
    }

    fn prepare(&self, statement: &Statement) -> Result<(), DefinitionError> {
        let prepared =
            self.connection.prepare(&statement.sql).map_err(|error| self.refusal(statement, &error))?;
        if prepared.column_count() > 0 || prepared.readonly() {
            return Err(self.error(statement.line, Problem::ReturnsRows { statement: statement.excerpt() }));
        }
        self.check_verb(statement, &["insert", "replace", "update", "delete", "with"])?;
        let numbered = (1..=prepared.parameter_count()).map(|index| prepared.parameter_name(index));
        let parsed = statement.parameters.iter().map(|(name, _)| Some(name.as_str()));
        assert!(numbered.eq(parsed), "the parser numbers the parameters of a statement as SQLite does");
        Ok(())
    }

    /// Refuses a call of a date function that reads the clock whatever the event. The others are refused at the event.
    fn clock(&self, statement: &Statement) -> Result<(), DefinitionError> {
        for call in date_calls(&statement.sql) {
            // An argument that is no constant, such as a column or a parameter, is null here.
            let constant = |argument| if self.evaluate(argument).is_ok() { argument } else { "null" };
            let arguments = call.arguments.iter().map(|argument| constant(argument)).collect::<Vec<_>>();
            let evaluated = self.evaluate(&format!("{}({})", call.function, arguments.join(", ")));
            if let Err(error) = evaluated {
                let problem = Problem::Denied { statement: statement.excerpt(), reason: message(&error) };
                return Err(self.error(statement.line + call.line, problem));
            }
        }
        Ok(())
    }

    /// As [`Self::clock`] for a statement of the schema. Queries may use the clock, so a view that reads it is kept from
    /// handlers only.
    fn schema_clock(&self, statement: &Statement) -> Result<(), DefinitionError> {
        let checked = self.clock(statement);
        if checked.is_ok() || !is_create_view(statement) {
            return checked;
        }
        let newest = "select name from sqlite_schema where type = 'view' order by rowid desc limit 1";
        self.gate.set(Mode::Runner);
        let name = self.connection.query_row(newest, [], |row| row.get(0));
        self.gate.set(Mode::Schema);
        self.gate.keep_from_handlers(name.map_err(|error| whole(self.parts, &error))?);
        Ok(())
    }

    fn evaluate(&self, expression: &str) -> rusqlite::Result<()> {
        let evaluated = self.connection.query_row(&format!("select {expression}"), [], |_| Ok(()));
        // The error says enough, and a denial must not be taken for that of a later statement.
        self.gate.take_denial();
        evaluated
    }

    /// Evaluates default values, which SQLite does not show to the authorizer while it creates a table.
    fn defaults(&self, statement: &Statement) -> Result<(), DefinitionError> {
        if !statement.normal.to_ascii_lowercase().contains("default") {
            return Ok(());
        }
        let list = "select t.name, c.name, c.dflt_value from sqlite_schema t, pragma_table_info(t.name) c
             where t.type = 'table' and c.dflt_value is not null";
        self.gate.set(Mode::Runner);
        let read = || {
            let mut statement = self.connection.prepare(list)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<(String, String, String)>>>()
        };
        let defaults = read().map_err(|error| whole(self.parts, &error))?;
        self.gate.set(Mode::Schema);
        for (table, column, default) in defaults {
            let run = self.connection.query_row(&format!("select {default}"), [], |_| Ok(()));
            if let Err(error) = run {
                let problem = self.problem(format!("{table}.{column} default {default}"), &error);
                return Err(self.error(statement.line, problem));
            }
        }
        Ok(())
    }

    fn refusal(&self, statement: &Statement, error: &Error) -> DefinitionError {
        let offset = match error {
            Error::SqlInputError { offset, .. } => usize::try_from(*offset).unwrap_or(0),
            _ => 0,
        };
        self.error(statement.line_at(offset), self.problem(statement.excerpt(), error))
    }

    fn problem(&self, statement: String, error: &Error) -> Problem {
        match self.gate.take_denial() {
            Some(reason) => Problem::Denied { statement, reason },
            None => Problem::Sql { statement, message: message(error) },
        }
    }

    fn error(&self, line: u32, problem: Problem) -> DefinitionError {
        DefinitionError { file: self.parts.file.clone(), line, problem }
    }
}

fn is_create_view(statement: &Statement) -> bool {
    let mut words = statement.normal.split(|c: char| !c.is_ascii_alphabetic());
    let mut is = |word: &str| words.next().is_some_and(|next| next.eq_ignore_ascii_case(word));
    is("create") && is("view")
}

/// SQLite failed before it saw any statement.
fn whole(parts: &Parts, error: &Error) -> DefinitionError {
    let problem = Problem::Sql { statement: "the empty database".to_owned(), message: message(error) };
    DefinitionError { file: parts.file.clone(), line: 1, problem }
}
