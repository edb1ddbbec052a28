//! `gesta view`: queries a view in SQL.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::{Checkpoint, EventStore, When};
use gesta_server::wire::rows_json;
use gesta_views::{QueryLimits, Rows, SqlValue};
use serde_json::{Map, Value, json};

use super::serve::{load_views, open_views};
use crate::failure::{Failure, Outcome};
use crate::output::{say, stdout};
use crate::remote::{Remote, encode};
use crate::target::{IfInUse, IfMissing, Opened, Place, Target, open_log};

#[derive(clap::Args)]
pub(crate) struct QueryView {
    /// The name of the view.
    name: String,
    /// The query: one `select` statement.
    sql: String,
    /// Print one JSON object with `columns`, `rows` and `checkpoint` instead of comma-separated values.
    #[arg(long)]
    json: bool,
    /// A value for the parameter `:name` of the query. A value that is JSON is used as JSON, any other as a string. Repeat it for
    /// several parameters.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    params: Vec<(String, Value)>,
    /// Wait until the view has reached this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    wait_for: Option<Checkpoint>,
    /// The folder with the view definitions, `.sql` files. Required with `--dir`.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

fn parse_param(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as `name=value`")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

impl QueryView {
    pub(crate) fn run(self) -> Outcome {
        match self.target.place()? {
            Place::Server(url) => self.query_server(&url),
            Place::Folder(folder) => self.query_folder(&folder),
        }
    }

    fn query_server(self, url: &str) -> Outcome {
        let wait = self.wait_for.map_or(String::new(), |checkpoint| format!("?wait_for={checkpoint}"));
        let params = self.params.into_iter().collect::<Map<_, _>>();
        let body = json!({"sql": self.sql, "params": params}).to_string().into_bytes();
        let path = format!("/views/{}/query{wait}", encode(&self.name));
        let answer = Remote::connect(url)?.post(&path, body).map_err(|fault| fault.failure(url))?;
        if self.json {
            return Ok(say(String::from_utf8_lossy(&answer).trim_end())?);
        }
        let answer = serde_json::from_slice::<Value>(&answer).map_err(|error| {
            Failure::new(format!("the answer of the server at `{url}` is not JSON")).because(&error)
        })?;
        let columns = answer["columns"].as_array().into_iter().flatten();
        let rows = answer["rows"].as_array().into_iter().flatten();
        let row = |row: &Value| row.as_array().into_iter().flatten().map(text).collect();
        print(columns.map(text).collect(), rows.map(row))
    }

    fn query_folder(self, folder: &Path) -> Outcome {
        let Some(definitions) = &self.views else {
            return Err(Failure::usage("no view definitions given")
                .help("give `--views <folder>` with the `.sql` files"));
        };
        let opened = Opened::of_log(folder, open_log(folder, IfMissing::Refuse, IfInUse::Talk)?);
        let store: Arc<dyn EventStore> = Arc::clone(opened.store());
        let views = open_views(&store, folder, load_views(definitions)?)?;
        let until = match self.wait_for {
            Some(checkpoint) => checkpoint,
            None => pollster::block_on(store.locate(When::Head))?,
        };
        let failed = |error: &dyn std::error::Error| {
            Failure::new(format!("cannot query view `{}`", self.name)).because(error)
        };
        pollster::block_on(views.wait_for(&self.name, &until)).map_err(|error| failed(&error))?;
        let params =
            self.params.into_iter().map(|(name, value)| (name, sql_value(value))).collect::<Vec<_>>();
        let rows = views.query(&self.name, &self.sql, &params, &QueryLimits::default());
        let rows = rows.map_err(|error| failed(&error))?;
        if self.json {
            say(&rows_json(rows).to_string())?;
        } else {
            let Rows { columns, rows, .. } = rows;
            print(columns, rows.into_iter().map(|row| row.into_iter().map(sql_text).collect()))?;
        }
        opened.finish()
    }
}

fn sql_value(value: Value) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Bool(value) => SqlValue::Integer(value.into()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => SqlValue::Integer(number),
            None => SqlValue::Real(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => SqlValue::Text(text),
        other => SqlValue::Text(other.to_string()),
    }
}

fn sql_text(value: SqlValue) -> String {
    match value {
        SqlValue::Null => String::new(),
        SqlValue::Integer(number) => number.to_string(),
        SqlValue::Real(number) => number.to_string(),
        SqlValue::Text(text) => text,
        SqlValue::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Prints a table as comma-separated values (RFC 4180).
fn print(columns: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> Outcome {
    let mut out = stdout();
    for row in std::iter::once(columns).chain(rows) {
        let fields = row.iter().map(|field| quoted(field)).collect::<Vec<_>>();
        writeln!(out, "{}", fields.join(","))?;
    }
    out.flush()?;
    Ok(())
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
