//! SQLite's date functions without the clock and the time zone of the machine: a handler may compute with an event's
//! times, and a rebuilt view still has the same rows.
//!
//! *Choice:* functions of the same names that refuse the clock and call SQLite's own in a second database. Checking the text
//! of a statement is not enough, since the word `now` may come from an event. The cost is about a microsecond a call.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::text::lossy_text;

/// A date function, and which of its arguments are points in time.
#[derive(Clone, Copy)]
struct DateFunction {
    name: &'static str,
    /// Arguments before the first point in time.
    before: usize,
    /// Points in time. The arguments after them are modifiers.
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
struct NotFromTheLog {
    function: &'static str,
    what: &'static str,
}

/// Whether a name, in lower case, is that of a date function.
pub(crate) fn is_date_function(name: &str) -> bool {
    DATE_FUNCTIONS.iter().any(|function| function.name == name)
}

/// Keeps the date functions of a connection from the clock and the time zone: for everything that is stored in a view's rows.
pub(crate) fn install(connection: &Connection) -> rusqlite::Result<()> {
    let second: Arc<Mutex<Option<Connection>>> = Arc::default();
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS | FunctionFlags::SQLITE_DETERMINISTIC;
    for function in DATE_FUNCTIONS {
        let second = Arc::clone(&second);
        connection.create_scalar_function(function.name, -1, flags, move |context| {
            function.check(context)?;
            let mut second = second.lock().unwrap_or_else(PoisonError::into_inner);
            let second = match &mut *second {
                Some(second) => second,
                none => none.insert(Connection::open_in_memory()?),
            };
            function.call(second, context)
        })?;
    }
    Ok(())
}

impl DateFunction {
    fn check(self, context: &Context<'_>) -> rusqlite::Result<()> {
        let refuse = |what| {
            let error = NotFromTheLog { function: self.name, what };
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

    fn call(self, second: &Connection, context: &Context<'_>) -> rusqlite::Result<Value> {
        let marks = vec!["?"; context.len()].join(",");
        let mut statement = second.prepare_cached(&format!("select {}({marks})", self.name))?;
        // Borrowed as they are: a text from an event's JSON need not be UTF-8.
        let arguments = (0..context.len()).map(|index| ToSqlOutput::Borrowed(context.get_raw(index)));
        statement.query_row(params_from_iter(arguments), |row| match row.get_ref(0)? {
            ValueRef::Text(bytes) => Ok(Value::Text(lossy_text(bytes))),
            other => Ok(Value::try_from(other)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_functions_answer_as_those_of_sqlite_except_for_the_clock() {
        let connection = Connection::open_in_memory().unwrap();
        install(&connection).unwrap();
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
        assert_eq!(ask("date(cast(x'eda0bd' as text))").unwrap(), Value::Null);
        is("strftime(cast(x'eda0bd' as text), '2026-03-01')", "\u{fffd}");
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
