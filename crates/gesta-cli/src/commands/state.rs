//! `gesta state`: prints the state of an entity, folded by a hosted decider.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use gesta::http::{CutJson, EntityCutJson, check_past, point, what_if_from_json};
use gesta::past::Cuts;
use gesta::{App, AppError, AsOf, Gesta, StateView};
use gesta_core::{Checkpoint, Timestamp, Version};
use gesta_server::now;
use gesta_wire::format_time;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::append::parse_when;
use super::series::SeriesFlags;
use super::steps::{RemoteSteps, Walk, walk};
use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::output::{say, stdout};
use crate::target::{IfMissing, Place, Target, ask_server, encode, server_at};

#[derive(clap::Args)]
pub(crate) struct PrintState {
    /// The category of the entity, such as `account`.
    category: String,
    /// The id of the entity, such as `42`. Left out with `--every`: all entities of the category.
    #[arg(required_unless_present = "every")]
    id: Option<String>,
    #[command(flatten)]
    as_of: AsOfFlags,
    #[command(flatten)]
    series: SeriesFlags,
    /// What differs between two points, each a version, a time or a checkpoint: `10..20`, or `10..` for all since then.
    #[arg(long, value_name = "FROM..TO", conflicts_with_all = ["every", "version", "at", "recorded_at", "checkpoint"])]
    diff: Option<Span>,
    /// Walk through the history: what each event changed, who sent it, and why. Each line of the input is a step: `n` or an empty line
    /// for the next event, `b` for the one before, a version, or `q` to end.
    #[arg(long, conflicts_with_all = ["every", "diff", "version", "at", "recorded_at", "checkpoint"])]
    step: bool,
    #[command(flatten)]
    what_if: WhatIfFlags,
    #[command(flatten)]
    target: Target,
}

/// Other events than those that were recorded. Nothing is written.
#[derive(clap::Args)]
struct WhatIfFlags {
    /// The state without the event with this version. Repeat it for several events.
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["every", "diff", "step", "version", "at", "recorded_at", "checkpoint"])]
    without: Vec<u64>,
    /// The state with other events: a file of JSON with `without`, `replace`, `insert` and `until`, or `-` for the input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["without", "every", "diff", "step", "version", "at", "recorded_at", "checkpoint"])]
    what_if: Option<PathBuf>,
}

impl WhatIfFlags {
    /// The other events, as JSON; `None` if there are none.
    fn json(&self) -> Outcome<Option<Vec<u8>>> {
        let failed = |path: &Path, error: &io::Error| {
            Failure::new(format!("cannot read `{}`", path.display())).because(error)
        };
        match &self.what_if {
            Some(path) if path.as_os_str() == "-" => {
                let mut json = Vec::new();
                io::stdin().read_to_end(&mut json).map_err(|error| failed(path, &error))?;
                Ok(Some(json))
            }
            Some(path) => std::fs::read(path).map(Some).map_err(|error| failed(path, &error)),
            None if self.without.is_empty() => Ok(None),
            None => Ok(Some(json!({"without": self.without}).to_string().into_bytes())),
        }
    }
}

/// The point in the history; now by default.
#[derive(clap::Args)]
#[group(multiple = false, conflicts_with = "every")]
struct AsOfFlags {
    /// The state after the event with this version.
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,
    /// The state from events whose `time` is up to this time, in RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    at: Option<Timestamp>,
    /// The state from events recorded up to this time, in RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    recorded_at: Option<Timestamp>,
    /// The state at this checkpoint.
    #[arg(long, value_name = "CHECKPOINT")]
    checkpoint: Option<Checkpoint>,
}

/// Two points in a history.
#[derive(Debug, Clone)]
struct Span {
    text: (String, Option<String>),
    from: AsOf,
    to: Option<AsOf>,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) =
            text.split_once("..").ok_or("give two points with `..` between them, such as `10..20`")?;
        let to = (!to.is_empty()).then_some(to);
        let text = (from.to_owned(), to.map(str::to_owned));
        Ok(Self { text, from: point(from)?, to: to.map(point).transpose()? })
    }
}

impl Span {
    fn params(&self) -> String {
        let (from, to) = &self.text;
        let to = to.iter().map(|to| format!("&to={}", encode(to)));
        format!("?from={}", encode(from)) + &to.collect::<String>()
    }
}

/// Refuses a point that was not reached yet.
fn in_the_past(point: &AsOf) -> Outcome {
    check_past(point, now()).map_err(Failure::usage)
}

/// The most moments that a folder is asked for. A server has its own bound.
const CUTS_MAX: usize = 1_000_000;

impl AsOfFlags {
    fn read(&self) -> Option<AsOf> {
        let version = self.version.map(|version| AsOf::Version(Version::new(version)));
        let time = self.at.map(AsOf::Time).or(self.recorded_at.map(AsOf::RecordedAt));
        version.or(time).or(self.checkpoint.clone().map(AsOf::Checkpoint))
    }

    /// The same, as query parameters of a URL.
    fn params(&self) -> String {
        let mut params = String::new();
        let given = match self.read() {
            None => None,
            Some(AsOf::Version(version)) => Some(("version", version.to_string())),
            Some(AsOf::Checkpoint(checkpoint)) => Some(("checkpoint", checkpoint.to_string())),
            Some(AsOf::RecordedAt(time)) => Some(("recorded_at", format_time(time))),
            Some(AsOf::Time(time)) => Some(("time", format_time(time))),
        };
        if let Some((name, value)) = given {
            write!(params, "?{name}={}", encode(&value)).expect("a string can be written to");
        }
        params
    }
}

impl PrintState {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        let place = self.target.place()?;
        if let Place::Server(url) = &place {
            if self.step {
                return self.walk(&mut RemoteSteps::new(url, server_at(url)?, &self.category, self.id()));
            }
            return self.ask(url)?.iter().try_for_each(|line| Ok(say(line)?));
        }
        let Some(app) = &host.app else { return Err(hosts_nothing()) };
        let opened = place.open(IfMissing::Refuse)?;
        let gesta = Gesta::new(Arc::clone(opened.store()));
        if self.step {
            let steps = pollster::block_on(app.steps(&gesta, &self.category, self.id()));
            let steps = steps.map_err(|error| Failure::new("cannot fold the state").because(&error));
            self.walk(&mut steps?)?;
        } else {
            for line in self.fold(app, &gesta)? {
                say(&line)?;
            }
        }
        opened.finish()
    }

    /// The address of the entity, or of the category.
    fn path(&self) -> String {
        let id = self.id.iter().map(|id| format!("/{}", encode(id)));
        format!("/states/{}", encode(&self.category)) + &id.collect::<String>()
    }

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Asks a server: the lines to print.
    fn ask(&self, url: &str) -> Outcome<Vec<String>> {
        let path = self.path();
        let get = |path: String| ask_server(url, async |server| server.get(&path).await);
        let one = |answer: Bytes| vec![String::from_utf8_lossy(&answer).into_owned()];
        if let Some(json) = self.what_if.json()? {
            let path = format!("{path}/what-if");
            return Ok(one(ask_server(url, async |server| server.post(&path, json).await)?));
        }
        match (&self.series.every, &self.diff) {
            (Some(every), _) => lines(&get(path + &self.series.params(every))?, "cuts"),
            (None, Some(span)) => lines(&get(format!("{path}/diff{}", span.params()))?, "changes"),
            (None, None) => Ok(one(get(path + &self.as_of.params())?)),
        }
    }

    /// Folds in this process: the lines to print.
    fn fold(&self, app: &App, gesta: &Gesta) -> Outcome<Vec<String>> {
        let (category, id) = (&self.category, self.id());
        let failed = |error: AppError| Failure::new("cannot fold the state").because(&error);
        if let Some(json) = self.what_if.json()? {
            let what = what_if_from_json(&json).map_err(|error| failed(error.into()))?;
            what.until.as_ref().map_or(Ok(()), in_the_past)?;
            let state = pollster::block_on(app.what_if(gesta, category, id, what)).map_err(failed)?;
            return self.shown(&state);
        }
        match (&self.series.every, &self.diff) {
            (Some(every), _) => self.fold_series(app, gesta, &self.series.cuts(every)?),
            (None, Some(Span { from, to, .. })) => {
                [Some(from), to.as_ref()].into_iter().flatten().try_for_each(in_the_past)?;
                let changes = app.diff(gesta, category, id, from.clone(), to.clone());
                pollster::block_on(changes).map_err(failed)?.iter().map(to_json).collect()
            }
            (None, None) => {
                let as_of = self.as_of.read();
                as_of.as_ref().map_or(Ok(()), in_the_past)?;
                let state = pollster::block_on(app.state(gesta, category, id, as_of)).map_err(failed)?;
                self.shown(&state)
            }
        }
    }

    /// The line of a state, if anything had happened.
    fn shown(&self, state: &StateView) -> Outcome<Vec<String>> {
        if state.version.is_none() {
            return Err(Failure::new(format!(
                "`{}-{}` has no event at that point",
                self.category,
                self.id()
            )));
        }
        Ok(vec![to_json(state)?])
    }

    /// The states at many moments, of an entity or of all of the category.
    fn fold_series(&self, app: &App, gesta: &Gesta, cuts: &Cuts) -> Outcome<Vec<String>> {
        let category = &self.category;
        let failed = |error: AppError| Failure::new("cannot fold the states").because(&error);
        let lines = match &self.id {
            Some(id) => {
                let cuts = pollster::block_on(app.series(gesta, category, id, cuts, CUTS_MAX));
                let cuts = cuts.map_err(failed)?.into_iter();
                cuts.map(|cut| to_json(&CutJson::from(cut))).collect::<Outcome<Vec<_>>>()?
            }
            None => {
                let cuts = pollster::block_on(app.series_of_category(gesta, category, cuts, None, CUTS_MAX));
                let cuts = cuts.map_err(failed)?.into_iter();
                cuts.map(|cut| to_json(&EntityCutJson::from(cut))).collect::<Outcome<Vec<_>>>()?
            }
        };
        if lines.is_empty() {
            let of = self.id.iter().map(|id| format!("-{id}")).collect::<String>();
            return Err(Failure::new(format!("`{category}{of}` has no event at that point")));
        }
        Ok(lines)
    }

    /// Walks through the history, as the lines of the input say.
    fn walk(&self, steps: &mut dyn Walk) -> Outcome {
        let input = io::stdin();
        let prompt = input.is_terminal().then_some("n, b, a version, or q> ");
        walk(steps, input.lock(), &mut stdout(), prompt)
    }
}

fn to_json(value: &impl Serialize) -> Outcome<String> {
    let json = serde_json::to_string(value);
    json.map_err(|error| Failure::new("cannot write the state as JSON").because(&error))
}

/// The items of a list in an answer, one on each line.
fn lines(answer: &[u8], list: &str) -> Outcome<Vec<String>> {
    let answer = serde_json::from_slice::<BTreeMap<String, &RawValue>>(answer).ok();
    let items =
        answer.and_then(|answer| serde_json::from_str::<Vec<&RawValue>>(answer.get(list)?.get()).ok());
    let items =
        items.ok_or_else(|| Failure::new(format!("the answer of the server has no list `{list}`")))?;
    Ok(items.iter().map(|item| item.get().to_owned()).collect())
}

fn hosts_nothing() -> Failure {
    Failure::new("this program hosts no deciders, so it cannot fold a state").help(
        "use a server that hosts them with `--url`, or write a `main` that calls `gesta_cli::main_with` with your `App`",
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use gesta_core::{MemoryStore, StoreId};

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        state: PrintState,
    }

    #[test]
    fn the_state_of_an_entity_is_folded_now_or_at_an_earlier_point() {
        let store = MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1));
        let (app, gesta) = (bank::app(), Gesta::new(Arc::new(store)));
        for (command, json) in [("open", r#"{"owner":"Anna"}"#), ("deposit", r#"{"amount":100}"#)] {
            let sent = app.command(&gesta, "account", "anna", command, json.as_bytes(), Default::default());
            pollster::block_on(sent).unwrap();
        }
        let print = |arguments: &[&str]| {
            let arguments = ["state", "account"].iter().chain(arguments);
            Arguments::parse_from(arguments).state.fold(&app, &gesta)
        };
        let balance = |arguments: &[&str]| {
            let state = serde_json::from_str::<serde_json::Value>(&print(arguments).unwrap()[0]).unwrap();
            state["state"]["balance"].as_u64()
        };
        assert_eq!(balance(&["anna"]), Some(100));
        assert_eq!(balance(&["anna", "--version", "0"]), Some(0));
        assert_eq!(balance(&["anna", "--checkpoint", &format!("{}.1", "07".repeat(16))]), Some(0));
        assert_eq!(print(&["anna", "--every", "1"]).unwrap().len(), 2);
        let day = print(&["anna", "--every", "day", "--zone", "Europe/Prague"]).unwrap();
        assert_eq!(
            day,
            [
                r#"{"at":"1970-01-01T22:59:59.999999999Z","version":1,"final":false,"state":{"open":true,"balance":100}}"#
            ]
        );
        assert_eq!(
            print(&["anna", "--diff", "0.."]).unwrap(),
            [r#"{"pointer":"/balance","before":0,"after":100}"#]
        );
        assert_eq!(print(&["anna", "--diff", "0..1970-01-01T00:00:00Z"]).unwrap().len(), 1);
        for nothing in [&["ben"][..], &["anna", "--at", "1999-01-01T00:00:00Z"]] {
            assert!(format!("{:?}", print(nothing)).contains("has no event at that point"));
        }
    }
}
