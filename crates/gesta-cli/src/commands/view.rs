//! `gesta view`: queries a view in SQL.

use std::future::poll_fn;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use gesta_core::{Checkpoint, EventStore, When};
use gesta_server::rows_json;
use gesta_views::{Definition, Evaluation, Options, QueryLimits, SqlValue, check_roles};
use serde_json::{Map, Value, json};

use super::view_parked::{ListParked, ReplayParked, SkipParked};
use super::view_past::PastFlags;
use super::view_versions::{OfOne, ReloadAll, ShowStatus};
use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::output::{count, say, stdout, warn};
use crate::target::{IfInUse, IfMissing, Opened, Place, Target, ask_server, encode, json_of, open_log};
use crate::views::{ViewsDb, open_views};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct QueryView {
    #[command(subcommand)]
    command: Option<ViewCommand>,
    #[command(flatten)]
    query: Query,
}

#[derive(clap::Subcommand)]
enum ViewCommand {
    /// Print the SQL lines for a superuser that leave the reader of `--views-db` nothing but reading.
    CheckRoles {
        #[command(flatten)]
        views_db: ViewsDb,
    },
    /// Show the views of a server: their states, versions, and how far a version that is built has got.
    Status(ShowStatus),
    /// Have a server read the files in its folder of views again.
    Reload(ReloadAll),
    /// Go back to the version of a view that served before its definition changed. A second time takes it back.
    Rollback(OfOne),
    /// Remove the version of a view that served before, which is kept for a rollback.
    DropOld(OfOne),
    /// List the parked streams of a view, or the events that one of them holds back.
    Parked(ListParked),
    /// Apply the events of parked streams, once what they failed for is mended.
    Replay(ReplayParked),
    /// Skip events of a parked stream for good, and apply the others.
    Skip(SkipParked),
}

#[derive(clap::Args)]
pub(super) struct Query {
    /// The name of the view.
    #[arg(required = true)]
    name: Option<String>,
    /// The query: one `select` statement.
    #[arg(required = true)]
    sql: Option<String>,
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
    #[command(flatten)]
    past: PastFlags,
    /// The folder with the view definitions, `.sql` files. Required with `--dir`, unless the program has views. With `--url` and a
    /// moment of the past, the view is built here from the events of the server, without its limits.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
    #[command(flatten)]
    views_db: ViewsDb,
    #[command(flatten)]
    target: Target,
}

fn parse_param(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as `name=value`")?;
    let value = serde_json::from_str::<Value>(value).unwrap_or_else(|_| value.into());
    if value.as_u64().is_some_and(|number| i64::try_from(number).is_err()) {
        return Err(format!("{value} is no integer of SQL: they end at {}", i64::MAX));
    }
    Ok((name.to_owned(), value))
}

impl QueryView {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        match self.command {
            Some(ViewCommand::CheckRoles { views_db }) => print_revokes(&views_db),
            Some(ViewCommand::Status(status)) => status.run(),
            Some(ViewCommand::Reload(all)) => all.run(),
            Some(ViewCommand::Rollback(view)) => view.roll_back(),
            Some(ViewCommand::DropOld(view)) => view.drop_old(),
            Some(ViewCommand::Parked(parked)) => parked.run(),
            Some(ViewCommand::Replay(replay)) => replay.run(),
            Some(ViewCommand::Skip(skip)) => skip.run(),
            None => self.query.run(host),
        }
    }
}

/// Prints what a superuser runs to take rights from the reader.
fn print_revokes(views_db: &ViewsDb) -> Outcome {
    let Some(url) = views_db.url()? else {
        return Err(Failure::usage("no database given").help("give `--views-db postgres://…`"));
    };
    let lines = check_roles(&url);
    let lines = lines.map_err(|error| Failure::new("cannot check the logins of views").because(&error))?;
    match lines.is_empty() {
        true => Ok(say("-- nothing to do: queries can only read")?),
        false => Ok(say(&lines.join("\n"))?),
    }
}

impl Query {
    /// The rows of the built-in view `gesta-inventory`.
    pub(super) fn inventory(json: bool, wait_for: Option<Checkpoint>, target: Target) -> Self {
        let sql = "select type, version, partition, count, first, last from inventory order by 1, 2, 3";
        let (name, sql) = (Some(Definition::inventory().name().to_owned()), Some(sql.to_owned()));
        Self {
            name,
            sql,
            json,
            params: Vec::new(),
            wait_for,
            past: PastFlags::default(),
            views: None,
            views_db: ViewsDb::default(),
            target,
        }
    }

    /// Only a subcommand makes do without it.
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    fn sql(&self) -> &str {
        self.sql.as_deref().unwrap_or_default()
    }

    fn run(self, host: &Host) -> Outcome {
        let place = self.target.place()?;
        let here = self.views.is_some() && self.past.is_given();
        match &place {
            Place::Server(url) if !here => return self.query_server(url),
            _ => {}
        }
        let Some(definitions) = host.views_with(self.views.as_deref())? else {
            return Err(Failure::usage("no view definitions given")
                .help("give `--views <folder>` with the `.sql` files"));
        };
        match place {
            Place::Folder(folder) if !self.past.is_given() => self.query_folder(&folder, definitions),
            place => self.query_past(&place, definitions),
        }
    }

    /// The same with these definitions, where the place is a folder.
    pub(super) fn run_with(self, definitions: Vec<Definition>) -> Outcome {
        match self.target.place()? {
            Place::Server(url) => self.query_server(&url),
            Place::Folder(folder) => self.query_folder(&folder, definitions),
        }
    }

    fn query_server(self, url: &str) -> Outcome {
        let past = self.past.params();
        let params = self.wait_for.as_ref().map_or(past, |checkpoint| format!("?wait_for={checkpoint}"));
        let values = self.params.iter().cloned().collect::<Map<_, _>>();
        let body = json!({"sql": self.sql(), "params": values}).to_string().into_bytes();
        let path = format!("/views/{}/query{params}", encode(self.name()));
        let answer = ask_server(url, async |server| server.post(&path, body).await)?;
        let read = json_of(url, &answer)?;
        match self.json {
            true => say(String::from_utf8_lossy(&answer).trim_end())?,
            false => print(&read)?,
        }
        self.check_whole(&read)
    }

    /// Warns of rows that lack events of parked streams. Fails if the view has stopped: its rows are those of an earlier moment.
    fn check_whole(&self, answer: &Value) -> Outcome {
        let name = self.name();
        let parked = answer["parked"].as_array().map_or(0, Vec::len);
        if parked > 0 {
            let streams = count(parked, "parked stream");
            warn(&format!(
                "the rows of view `{name}` lack the last events of {streams}: `gesta view parked {name}` lists them"
            ));
        }
        if answer["state"] != "stopped" {
            return Ok(());
        }
        let failure = Failure::new(format!("the view `{name}` has stopped, so its rows are out of date"));
        Err(answer["error"].as_str().into_iter().fold(failure, Failure::cause))
    }

    fn query_folder(self, folder: &Path, definitions: Vec<Definition>) -> Outcome {
        let opened = Opened::of_log(folder, open_log(folder, IfMissing::Refuse, IfInUse::Talk)?);
        let store: Arc<dyn EventStore> = Arc::clone(opened.store());
        // A pause on a server does not count here: the query needs the rows.
        let options = Options { postgres: self.views_db.url()?, ..Options::default() };
        let views = open_views(&store, folder, definitions, options)?;
        let until = match &self.wait_for {
            Some(checkpoint) => checkpoint.clone(),
            None => pollster::block_on(store.locate(When::Head))?,
        };
        let failed = |error: &dyn std::error::Error| self.failure(error);
        let complete = async {
            // An older version would answer while the one of an edited file is built.
            views.wait_until_built(self.name()).await.map_err(|error| failed(&error))?;
            views.wait_for(self.name(), &until).await.map(drop).map_err(|error| failed(&error))
        };
        // A server tries again until there is room. This command would wait without a word.
        let failing = async {
            let error = views.wait_until_failing(self.name()).await.map_err(|error| failed(&error))?;
            Err(failed(&*error))
        };
        pollster::block_on(first_of(complete, failing))?;
        let rows = views.query(self.name(), self.sql(), &self.values(), &QueryLimits::default());
        let rows = rows.map_err(|error| failed(&error))?;
        self.show(&rows_json(rows))?;
        opened.finish()
    }

    /// Builds the view as of the past in this process.
    fn query_past(self, place: &Place, definitions: Vec<Definition>) -> Outcome {
        let opened = place.open(IfMissing::Refuse)?;
        let definition = definitions.into_iter().find(|definition| definition.name() == self.name());
        let definition =
            definition.ok_or_else(|| Failure::new(format!("no view `{}` is defined", self.name())))?;
        let (store, postgres) = (&**opened.store(), self.views_db.url()?);
        let evaluation = Evaluation::new(store, &definition).in_postgres(postgres.as_ref());
        let answer = self.past.query(store, &evaluation, self.sql(), &self.values());
        self.show(&answer?)?;
        opened.finish()
    }

    fn failure(&self, error: &dyn std::error::Error) -> Failure {
        Failure::new(format!("cannot query view `{}`", self.name())).because(error)
    }

    fn values(&self) -> Vec<(String, SqlValue)> {
        self.params.iter().map(|(name, value)| (name.clone(), sql_value(value.clone()))).collect()
    }

    fn show(&self, answer: &Value) -> Outcome {
        if self.json {
            say(&answer.to_string())?
        } else {
            print(answer)?
        }
        self.check_whole(answer)
    }
}

/// Waits for the first of two futures. Asks the first one first.
async fn first_of<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Pending => other.as_mut().poll(context),
        ready => ready,
    })
    .await
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

/// A value of a row, as a server sends it and as `rows_json` makes it: a blob in base64, an infinite number by its name.
fn text(value: &Value) -> String {
    let named = [&value["base64"], &value["real"]].into_iter().find_map(Value::as_str);
    match (named, value) {
        (Some(text), _) => text.to_owned(),
        (None, Value::Null) => String::new(),
        (None, Value::String(text)) => text.clone(),
        (None, other) => other.to_string(),
    }
}

/// Prints the columns and rows of an answer as comma-separated values (RFC 4180).
fn print(answer: &Value) -> Outcome {
    let mut out = stdout();
    let rows = answer["rows"].as_array().into_iter().flatten();
    for row in std::iter::once(&answer["columns"]).chain(rows) {
        let fields =
            row.as_array().into_iter().flatten().map(|value| quoted(&text(value))).collect::<Vec<_>>();
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
