//! `gesta state`: prints the state of an entity, folded by a hosted decider.

use std::fmt::Write as _;
use std::sync::Arc;

use gesta::{App, AsOf, Gesta};
use gesta_core::{Checkpoint, Timestamp, Version};
use gesta_server::format_time;

use super::append::parse_when;
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::remote::{Remote, encode};
use crate::target::{IfInUse, IfMissing, Opened, Place, Target, open_log};

#[derive(clap::Args)]
pub(crate) struct PrintState {
    /// The category of the entity, such as `account`.
    category: String,
    /// The id of the entity, such as `42`.
    id: String,
    #[command(flatten)]
    as_of: AsOfFlags,
    #[command(flatten)]
    target: Target,
}

/// The point in the history; now by default.
#[derive(clap::Args)]
#[group(multiple = false)]
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
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let state = match self.target.place()? {
            Place::Server(url) => self.ask(&url)?,
            Place::Folder(folder) => {
                let Some(app) = &context.app else { return Err(hosts_nothing()) };
                let opened = Opened::of_log(&folder, open_log(&folder, IfMissing::Refuse, IfInUse::Talk)?);
                say(&self.fold(app, &Gesta::new(Arc::clone(opened.store())))?)?;
                return opened.finish();
            }
        };
        say(&state)?;
        Ok(())
    }

    /// Asks a server for the state.
    fn ask(&self, url: &str) -> Outcome<String> {
        let path = format!("/states/{}/{}{}", encode(&self.category), encode(&self.id), self.as_of.params());
        let answer = Remote::connect(url)?.get(&path).map_err(|fault| fault.failure(url))?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Folds the state in this process.
    fn fold(&self, app: &App, gesta: &Gesta) -> Outcome<String> {
        let Self { category, id, .. } = self;
        let state = pollster::block_on(app.state(gesta, category, id, self.as_of.read()));
        let state = state.map_err(|error| Failure::new("cannot fold the state").because(&error))?;
        if state.version.is_none() {
            return Err(Failure::new(format!("`{category}-{id}` has no event at that point")));
        }
        let json = serde_json::to_string(&state);
        json.map_err(|error| Failure::new("cannot write the state as JSON").because(&error))
    }
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
            let state = serde_json::from_str::<serde_json::Value>(&print(arguments).unwrap()).unwrap();
            state["state"]["balance"].as_u64()
        };
        assert_eq!(balance(&["anna"]), Some(100));
        assert_eq!(balance(&["anna", "--version", "0"]), Some(0));
        assert_eq!(balance(&["anna", "--checkpoint", &format!("{}.1", "07".repeat(16))]), Some(0));
        for nothing in [&["ben"][..], &["anna", "--at", "1999-01-01T00:00:00Z"]] {
            assert!(format!("{:?}", print(nothing)).contains("has no event at that point"));
        }
    }
}
