//! What every SQLite connection shares: hardening, and how its errors are read.

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, Error, ErrorCode};

/// What an error of SQLite means for the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseErrorKind {
    /// The machine is in the way, and the error may pass: a full disk, a failed file operation, a lock.
    Transient,
    /// The database file is damaged.
    Damaged,
    /// The statement itself fails, and fails again.
    Permanent,
}

impl DatabaseErrorKind {
    pub(crate) fn of(error: &Error) -> Self {
        match (error.sqlite_error_code(), error) {
            (
                Some(
                    ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::OutOfMemory,
                ),
                _,
            ) => Self::Transient,
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => Self::Damaged,
            // The runner's tables do not have the rows that it wrote.
            (
                _,
                Error::QueryReturnedNoRows
                | Error::FromSqlConversionFailure(..)
                | Error::InvalidColumnType(..),
            ) => Self::Damaged,
            _ => Self::Permanent,
        }
    }
}

/// Switches off what no definition and no query may use, as a second line of defence behind the authorizer.
pub(crate) fn harden(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A misspelt name in double quotes is an error, not a string.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    Ok(())
}

/// A text of SQLite as Rust has it. What is not UTF-8 becomes U+FFFD, half a surrogate pair, which JSON can bring along,
/// a single one.
pub(crate) fn lossy_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(&without_surrogates(bytes)).into_owned(),
    }
}

/// Replaces encoded surrogates, `ED A0..BF xx`, by U+FFFD, which is as long.
fn without_surrogates(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_owned();
    for at in 2..bytes.len() {
        if bytes[at - 2] == 0xED && bytes[at - 1] >= 0xA0 {
            bytes[at - 2..=at].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    bytes
}

/// SQLite's message, without the statement that rusqlite repeats.
pub(crate) fn message(error: &Error) -> String {
    match error {
        Error::SqlInputError { msg, .. } => msg.clone(),
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn errors_of_the_machine_may_pass_and_damage_is_known() {
        let kind = |code| DatabaseErrorKind::of(&Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_BUSY_SNAPSHOT,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_NOMEM,
        ] {
            assert_eq!(kind(code), DatabaseErrorKind::Transient, "{code}");
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_CORRUPT_VTAB, ffi::SQLITE_NOTADB] {
            assert_eq!(kind(code), DatabaseErrorKind::Damaged, "{code}");
        }
        for code in [ffi::SQLITE_CONSTRAINT_NOTNULL, ffi::SQLITE_ERROR, ffi::SQLITE_TOOBIG] {
            assert_eq!(kind(code), DatabaseErrorKind::Permanent, "{code}");
        }
    }

    #[test]
    fn each_half_of_a_surrogate_pair_becomes_one_replacement_character() {
        assert_eq!(lossy_text(b"a\xED\xA0\xBDb\xED\xB0\x80"), "a\u{fffd}b\u{fffd}");
        assert_eq!(lossy_text("\u{d7ff} é".as_bytes()), "\u{d7ff} é");
        assert_eq!(lossy_text(b"\xED\xA0"), "\u{fffd}\u{fffd}");
    }
}
