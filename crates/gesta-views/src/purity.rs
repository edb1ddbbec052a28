//! The date functions of SQLite without the clock and the time zone of the machine, so that a handler may reckon with an
//! event's times and a rebuilt view still has the same rows.
//!
//! *Choice:* functions of the same names, which refuse what reads the clock and leave the rest to SQLite's own in a
//! database beside; not a look at the text of the statement, since an event may bring the word `now` along. The
//! cost: about a microsecond a call.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params_from_iter};

/// A date function, and which of its arguments are points in time.
#[derive(Clone, Copy)]
struct DateFunction {
    name: &'static str,
    /// How many arguments stand before the first point in time.
    before: usize,
    /// How many points in time there are; what follows are modifiers.
    points: usize,
}

const DATE_FUNCTIONS: [DateFunction; 7] = [
    DateFunction { name: "date", before: 0, points: 1 },
    DateFunction { name: "time", before: 0, points: 1 },
    DateFunction { name: "datetime", before: 0, points: 1 },
    DateFunction { name: "julianday", before: 0, points: 1 },
    DateFunction { name: "unixepoch", before: 0, points: 1 },
    DateFunction { name: "strftime", before: 1, points: 1 },
    DateFunction { name: "timediff", before: 0, points: 2 },
];

#[derive(Debug, thiserror::Error)]
#[error(
    "`{function}` would read {what} of the machine, and a rebuilt view would differ: use $time or $recorded_at"
)]
struct NotOfTheLog {
    function: &'static str,
    what: &'static str,
}

/// Whether the date functions may look at the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// They may not: for everything that ends up in a view's rows.
    Refused,
    /// They may: gives them back to queries. SQLite cannot be made to show its own functions again.
    Allowed,
}

/// Sets what the date functions of a connection may do.
pub(crate) fn install(connection: &Connection, clock: Clock) -> rusqlite::Result<()> {
    let beside: Arc<Mutex<Option<Connection>>> = Arc::default();
    let mut flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
    flags.set(FunctionFlags::SQLITE_DETERMINISTIC, clock == Clock::Refused);
    for function in DATE_FUNCTIONS {
        let beside = Arc::clone(&beside);
        connection.create_scalar_function(function.name, -1, flags, move |context| {
            if clock == Clock::Refused {
                function.check(context)?;
            }
            let mut beside = beside.lock().unwrap_or_else(PoisonError::into_inner);
            let beside = match &mut *beside {
                Some(beside) => beside,
                none => none.insert(Connection::open_in_memory()?),
            };
            function.call(beside, context)
        })?;
    }
    Ok(())
}

impl DateFunction {
    fn check(self, context: &Context<'_>) -> rusqlite::Result<()> {
        let refuse = |what| {
            let error = NotOfTheLog { function: self.name, what };
            Err(rusqlite::Error::UserFunctionError(Box::new(error)))
        };
        if context.len() <= self.before {
            return refuse("the clock");
        }
        for index in self.before..context.len() {
            let (ValueRef::Text(bytes) | ValueRef::Blob(bytes)) = context.get_raw(index) else { continue };
            let is = |word: &str| bytes.eq_ignore_ascii_case(word.as_bytes());
            let is_point = index < self.before + self.points;
            if is_point && (is("now") || is("subsec") || is("subsecond")) {
                return refuse("the clock");
            }
            if !is_point && (is("localtime") || is("utc")) {
                return refuse("the time zone");
            }
        }
        Ok(())
    }

    fn call(self, beside: &Connection, context: &Context<'_>) -> rusqlite::Result<Value> {
        let marks = vec!["?"; context.len()].join(",");
        let mut statement = beside.prepare_cached(&format!("select {}({marks})", self.name))?;
        let arguments = (0..context.len()).map(|index| Value::try_from(context.get_raw(index)));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        statement.query_row(params_from_iter(arguments), |row| row.get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_sqlite_without_its_clock() {
        let connection = Connection::open_in_memory().unwrap();
        install(&connection, Clock::Refused).unwrap();
        let ask =
            |sql: &str| connection.query_row(&format!("select {sql}"), [], |row| row.get::<_, Value>(0));
        let is = |sql: &str, expected: &str| {
            assert_eq!(ask(sql).unwrap(), Value::Text(expected.to_owned()), "{sql}")
        };
        is("date('2026-03-01T10:00:00.5Z', '-1 day')", "2026-02-28");
        is("strftime('%H', '2026-03-01T10:00:00Z')", "10");
        is("timediff('2026-03-02', '2026-03-01')", "+0000-00-01 00:00:00.000");
        is("strftime('now', '2026-03-01')", "now");
        assert_eq!(ask("unixepoch('1970-01-02')").unwrap(), Value::Integer(86_400));
        assert_eq!(ask("date(null)").unwrap(), Value::Null);
        for sql in [
            "date()",
            "datetime('NoW')",
            "julianday('subsec')",
            "unixepoch(cast('now' as blob))",
            "strftime('%s')",
            "strftime('%s', 'n' || 'ow')",
            "timediff('2026-01-01', 'now')",
            "datetime('2026-01-01', 'localtime')",
            "datetime('2026-01-01', 'UTC')",
        ] {
            let error = ask(sql).unwrap_err().to_string();
            assert!(error.contains("of the machine"), "{sql}: {error}");
        }
    }
}
