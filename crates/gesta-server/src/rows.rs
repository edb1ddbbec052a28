//! The rows of a view, as JSON.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gesta_views::{Rows, SqlValue};
use serde_json::{Value, json};

/// The answer to a query of a view: `columns`, `rows`, and the `checkpoint` that they show. With parked streams also `parked`, their
/// names.
#[must_use]
pub fn rows_json(rows: Rows) -> Value {
    let row = |row: Vec<SqlValue>| row.into_iter().map(value_json).collect::<Value>();
    let mut answer = json!({
        "columns": rows.columns,
        "rows": rows.rows.into_iter().map(row).collect::<Value>(),
        "checkpoint": rows.checkpoint.to_string(),
    });
    name_parked(&mut answer, rows.parked);
    answer
}

/// Names the streams that rows lack the last events of, if there are some.
pub(crate) fn name_parked(answer: &mut Value, parked: Vec<String>) {
    if !parked.is_empty() {
        answer["parked"] = parked.into();
    }
}

pub(crate) fn value_json(value: SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => number.into(),
        // JSON has no infinite numbers. They come from texts such as `1e400`.
        SqlValue::Real(number) if number.is_infinite() => {
            json!({"real": if number > 0.0 { "Infinity" } else { "-Infinity" }})
        }
        SqlValue::Real(number) => number.into(),
        SqlValue::Text(text) => text.into(),
        SqlValue::Blob(bytes) => json!({"base64": BASE64_STANDARD.encode(bytes)}),
    }
}
