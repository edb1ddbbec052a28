//! How errors of PostgreSQL are read: what they mean for a view, and what helps.

use std::error::Error as _;

use gesta_postgres_connect::ConnectError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::run_error::{DatabaseErrorKind, RunError};

/// What an error means for a view that is running.
pub(crate) fn kind(error: &Error) -> DatabaseErrorKind {
    let Some(code) = error.code() else {
        // No answer of the server: the connection failed, unless a value could not be encoded.
        return match is_of_encoding(error) {
            true => DatabaseErrorKind::Permanent,
            false => DatabaseErrorKind::Transient,
        };
    };
    let code = code.code();
    // Connection, login, missing database, transaction rolled back, resources, operator, system.
    const MAY_PASS: [&str; 9] = ["08", "28", "3D", "40", "53", "55", "57", "58", "0A"];
    // A server that became a standby, objects of others in the way, and rights that an operator can grant.
    let may_pass =
        MAY_PASS.iter().any(|class| code.starts_with(class)) || matches!(code, "25006" | "2BP01" | "42501");
    match code {
        "0A000" => DatabaseErrorKind::Permanent,
        _ if may_pass => DatabaseErrorKind::Transient,
        _ => DatabaseErrorKind::Permanent,
    }
}

/// Whether an object is missing that the runner had made.
pub(crate) fn is_missing_object(error: &Error) -> bool {
    let missing = [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INVALID_SCHEMA_NAME];
    error.code().is_some_and(|code| missing.contains(code))
}

/// Whether another process made the same object at the same time.
pub(crate) fn is_race(error: &Error) -> bool {
    let race = [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_SCHEMA, SqlState::DUPLICATE_TABLE];
    error.code().is_some_and(|code| race.contains(code))
}

/// Whether the connection ended, so that it is not known what the server did.
pub(crate) fn is_lost(error: &Error) -> bool {
    error.code().is_none() && !is_of_encoding(error)
}

fn is_of_encoding(error: &Error) -> bool {
    error.source().is_some_and(|source| source.is::<super::values::DoesNotFit>())
}

/// The server's message with its detail, or the cause of a failed connection.
pub(crate) fn message(error: &Error) -> String {
    match error.as_db_error() {
        Some(error) => match error.detail() {
            Some(detail) => format!("{} ({})", error.message(), detail.trim_end_matches('.')),
            None => error.message().to_owned(),
        },
        None => match error.source() {
            Some(source) if is_of_encoding(error) => source.to_string(),
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// What helps against an error, for its text. Empty if its message is enough.
pub(crate) fn help(error: &Error) -> &'static str {
    let Some(code) = error.code() else { return "; the view tries again until the database answers" };
    match code.code() {
        "28000" | "28P01" => "; check the login, its password and the server's `pg_hba.conf`",
        "3D000" => "; create the database",
        "42501" => "; the runner needs the right to create schemas: `grant create on database … to …`",
        "42704" => "; create the login that answers queries: `create role … login`",
        "53100" => "; make room on the disk of the database",
        "53300" => "; raise `max_connections` of the server, or close other connections",
        "25006" => "; connect to the primary",
        "2BP01" => "; drop what others built on the views, and make it anew after the switch",
        _ => "",
    }
}

impl RunError {
    /// The same error of PostgreSQL with another meaning for the view.
    pub(crate) fn of_kind(self, kind: DatabaseErrorKind) -> Self {
        match self {
            Self::Postgres { action, database, message, .. } => {
                Self::Postgres { action, database, message, kind }
            }
            error => error,
        }
    }
}

/// The error of an action that failed.
pub(crate) fn failed(action: &'static str, database: &str, error: &Error) -> RunError {
    RunError::Postgres {
        action,
        database: database.to_owned(),
        message: format!("{}{}", message(error), help(error)),
        kind: kind(error),
    }
}

/// The error of a connection that was not made.
pub(crate) fn not_connected(database: &str, error: ConnectError) -> RunError {
    match error {
        ConnectError::Server(error) => failed("connect", database, &error),
        // Files, certificates and networks can be mended while the view waits.
        error => RunError::Postgres {
            action: "connect",
            database: database.to_owned(),
            message: error.to_string(),
            kind: DatabaseErrorKind::Transient,
        },
    }
}

/// What a connection that was not made means for a query.
pub(crate) fn connect_message(error: &ConnectError) -> String {
    match error {
        ConnectError::Server(error) => message(error),
        error => error.to_string(),
    }
}

/// The error of an action that found something it cannot go on with.
pub(crate) fn impossible(action: &'static str, database: &str, message: String) -> RunError {
    let kind = DatabaseErrorKind::Permanent;
    RunError::Postgres { action, database: database.to_owned(), message, kind }
}
