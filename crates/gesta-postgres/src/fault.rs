//! What an error of the server means for the request under way.

use gesta_core::{AppendError, KeyValueError, ReadError};
use gesta_postgres_connect::{ConnectError, words};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::error::OpenError;

/// Why a request to the server failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is gone, or must not be used any more.
    Lost(String),
    /// The server refused the transaction, and may take it a moment later.
    Busy(String),
    /// The disk of the server is full.
    Full(String),
    /// The server or the role cannot be used: what is wrong, and what helps.
    Refused(String),
    /// A constraint refused rows that had been decided: a bug of this program. It writes no more.
    Broken(String),
}

/// Why a transaction is not known to be written.
#[derive(Debug)]
pub(crate) struct NotWritten {
    pub(crate) fault: Fault,
    /// True if it may have been written all the same.
    pub(crate) is_in_doubt: bool,
}

impl From<Fault> for NotWritten {
    /// A failure before `commit` was sent.
    fn from(fault: Fault) -> Self {
        Self { fault, is_in_doubt: false }
    }
}

/// Returns the result of a transaction, by the answers to its statements and to its `commit`.
///
/// A failed statement makes `commit` a rollback, which the server answers without an error.
pub(crate) fn outcome<T>(
    all: Result<T, Error>,
    committed: Result<(), Error>,
    has_warned: bool,
) -> Result<T, NotWritten> {
    match (all, committed) {
        (Ok(_), Ok(())) if has_warned => {
            let reason =
                "the database stopped waiting for its standby, so the commit may be on one server only";
            Err(NotWritten { fault: Fault::Busy(reason.to_owned()), is_in_doubt: true })
        }
        (Ok(all), Ok(())) => Ok(all),
        // The statement was refused, and `commit` answered: rolled back.
        (Err(error), Ok(())) => Err(NotWritten { fault: error.into(), is_in_doubt: false }),
        (Ok(_), Err(error)) | (Err(error), Err(_)) => {
            Err(NotWritten { fault: error.into(), is_in_doubt: true })
        }
    }
}

/// An error in words, without parameters of statements.
pub(crate) fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(own) => {
            let detail = own.detail().map_or_else(String::new, |detail| format!(" ({detail})"));
            format!("{}{detail}, SQLSTATE {}", own.message(), own.code().code())
        }
        None => words(error),
    }
}

impl Fault {
    /// The fault of a connection that was used beyond its time.
    pub(crate) fn timeout(what: &str) -> Self {
        Self::Lost(format!("{what} took too long"))
    }

    /// The fault of a table that holds what this program never writes.
    pub(crate) fn damaged(table: &str, what: impl std::fmt::Display) -> Self {
        Self::Refused(format!("the table `{table}` is damaged: {what}"))
    }

    /// The reason, without its kind.
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::Lost(reason)
            | Self::Busy(reason)
            | Self::Full(reason)
            | Self::Refused(reason)
            | Self::Broken(reason) => reason,
        }
    }

    /// The fault of the first connection. A server that cannot be trusted may be the wrong one from the start; later it is one whose
    /// certificate is replaced.
    pub(crate) fn at_open(error: ConnectError) -> Self {
        match error {
            ConnectError::Tls { .. } => Self::Refused(error.to_string()),
            error => error.into(),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = describe(&error);
        let Some(code) = error.code() else { return Self::Lost(text) };
        let is = |states: &[&SqlState]| states.contains(&code);
        if is(&[&SqlState::DISK_FULL]) {
            return Self::Full(text);
        }
        // Classes 08 (connection) and 57P (the server stops), and a server that became a standby.
        if code.code().starts_with("08")
            || code.code().starts_with("57P")
            || is(&[
                &SqlState::READ_ONLY_SQL_TRANSACTION,
                &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                &SqlState::TOO_MANY_CONNECTIONS,
            ])
            || code.code() == TRANSACTION_TIMEOUT
        {
            return Self::Lost(text);
        }
        if is(&[&SqlState::INVALID_SQL_STATEMENT_NAME, &SqlState::DUPLICATE_PSTATEMENT]) {
            return Self::Refused(format!("{text}: {POOLER}"));
        }
        // Class 23: integrity constraints.
        if code.code().starts_with("23") {
            return Self::Broken(text);
        }
        let is_passing = is(&[
            &SqlState::LOCK_NOT_AVAILABLE,
            &SqlState::QUERY_CANCELED,
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::T_R_DEADLOCK_DETECTED,
            &SqlState::IN_FAILED_SQL_TRANSACTION,
        ]);
        // Class 53: no memory, no connections, limits of the configuration. Class 58: the system's I/O.
        if is_passing || code.code().starts_with("53") || code.code().starts_with("58") {
            return Self::Busy(text);
        }
        Self::Refused(text)
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        let error = match error {
            ConnectError::Server(error) => error,
            // A file or a certificate may be about to be replaced.
            error => return Self::Lost(error.to_string()),
        };
        let Some(code) = error.code() else { return Self::Lost(describe(&error)) };
        let text = describe(&error);
        match *code {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Self::Refused(
                format!("{text}: check user and password (`PGPASSWORD`, `PGPASSFILE` or `~/.pgpass`)"),
            ),
            SqlState::INVALID_CATALOG_NAME => Self::Refused(format!(
                "{text}: create it with `createdb`, or name another one in the address"
            )),
            _ if code.code().starts_with("57P") || code.code().starts_with("53") => Self::Lost(text),
            _ => Self::Refused(text),
        }
    }
}

/// `transaction_timeout`, of PostgreSQL 17 and later.
const TRANSACTION_TIMEOUT: &str = "25P04";

/// What helps if statements of one session reach several.
pub(crate) const POOLER: &str = "a pooler between this program and the server gives away the session after each \
                                 transaction: connect to the server itself, or set the pooler to session mode";

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable { reason: fault.into_reason() }
    }
}

impl From<Fault> for AppendError {
    /// For a batch that was certainly not written.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Lost(reason) | Fault::Busy(reason) => Self::Unavailable { reason },
            Fault::Full(reason) => Self::StorageFull { reason },
            Fault::Refused(reason) | Fault::Broken(reason) => Self::ReadOnly { reason },
        }
    }
}

impl From<Fault> for KeyValueError {
    /// For a value that was certainly not written.
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Lost(reason) | Fault::Busy(reason) | Fault::Refused(reason) | Fault::Broken(reason) => {
                Self::Unavailable { reason }
            }
            Fault::Full(reason) => Self::StorageFull { reason },
        }
    }
}

impl From<NotWritten> for KeyValueError {
    fn from(NotWritten { fault, is_in_doubt }: NotWritten) -> Self {
        match is_in_doubt {
            true => Self::InDoubt { reason: fault.into_reason() },
            false => fault.into(),
        }
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Lost(reason) | Fault::Busy(reason) | Fault::Full(reason) => Self::Unreachable { reason },
            Fault::Refused(reason) | Fault::Broken(reason) => Self::Refused { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::Retry;

    use super::*;

    #[test]
    fn tls_that_fails_refuses_a_store_and_not_the_appends_of_an_open_one() {
        let error = || ConnectError::Tls { reason: "the server's certificate has expired".to_owned() };
        assert_eq!(OpenError::from(Fault::at_open(error())).retry(), Retry::Never);
        assert_eq!(AppendError::from(Fault::from(error())).retry(), Retry::AfterPause);
    }
}
