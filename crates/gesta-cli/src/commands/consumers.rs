//! `gesta consumers`: lists the consumers of a server, and pauses, resumes or restarts one.

use clap::Subcommand;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::target::{ServerUrl, ask_server, encode, json_of};

#[derive(clap::Args)]
pub(crate) struct ManageConsumers {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the consumers with their state and lag.
    List(All),
    /// Show one consumer.
    Show(One),
    /// Pause a consumer after the page under way. A restart of the server does not undo it, if it keeps pauses.
    Pause(One),
    /// End the pause of a consumer.
    Resume(One),
    /// Restart a consumer that has stopped. It goes on from its place.
    Restart(One),
}

#[derive(clap::Args)]
struct All {
    /// Print JSON, one consumer per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(clap::Args)]
struct One {
    /// The name of the consumer.
    name: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerUrl,
}

impl ManageConsumers {
    pub(crate) fn run(self) -> Outcome {
        match self.action {
            Action::List(all) => all.run(),
            Action::Show(one) => one.run(None),
            Action::Pause(one) => one.run(Some("pause")),
            Action::Resume(one) => one.run(Some("resume")),
            Action::Restart(one) => one.run(Some("restart")),
        }
    }
}

impl All {
    fn run(self) -> Outcome {
        let url = self.server.url()?;
        let answer = ask_server(&url, async |server| server.get("/consumers").await)?;
        let answer = json_of(&url, &answer)?;
        for consumer in answer["consumers"].as_array().into_iter().flatten() {
            print(consumer, self.json)?;
        }
        match answer["groupsUnavailable"].as_str() {
            Some(reason) => {
                Err(Failure::new(format!("the consumer groups are missing from the list: {reason}")))
            }
            None => Ok(()),
        }
    }
}

impl One {
    fn run(self, action: Option<&str>) -> Outcome {
        let url = self.server.url()?;
        let path = format!("/consumers/{}", encode(&self.name));
        let answer = ask_server(&url, async |server| match action {
            None => server.get(&path).await,
            Some(action) => server.post(&format!("{path}/{action}"), Vec::new()).await,
        })?;
        print(&json_of(&url, &answer)?, self.json)
    }
}

fn print(consumer: &Value, json: bool) -> Outcome {
    let line = if json { consumer.to_string() } else { line(consumer) };
    Ok(say(&line)?)
}

/// A consumer on one line: name, kind, state, lag, and what an operator should know.
fn line(consumer: &Value) -> String {
    let text = |name: &str| consumer[name].as_str().unwrap_or_default();
    let lag = match (consumer["lagEvents"].as_u64(), consumer["lagSeconds"].as_f64()) {
        (Some(events), Some(seconds)) => format!("{}, {seconds:.1} s behind", count(events, "event")),
        (Some(events), None) => format!("{} behind", count(events, "event")),
        (None, _) => "lag unknown".to_owned(),
    };
    let mut line = format!("{}  {}  {}  {lag}", text("name"), text("kind"), text("state"));
    let paused = &consumer["paused"];
    if let (Some(by), Some(since)) = (paused["by"].as_str(), paused["since"].as_str()) {
        line.push_str(&format!("  paused by {by} since {since}"));
        if consumer["pausesKept"] == false {
            line.push_str(", until the server stops");
        }
    }
    if let Some(parked @ 1..) = consumer["parkedStreams"].as_u64() {
        line.push_str(&format!("  {} parked", count(parked, "stream")));
    }
    if let Some(error) = consumer["error"].as_str() {
        line.push_str(&format!("  {error}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_consumer_is_printed_on_one_line() {
        let live = json!({"name": "a", "kind": "view", "state": "live", "lagEvents": 0, "lagSeconds": 0.0,
            "paused": null, "error": null});
        assert_eq!(line(&live), "a  view  live  0 events, 0.0 s behind");
        let paused = json!({"name": "a", "kind": "view", "state": "paused", "lagEvents": 1, "lagSeconds": 61.25,
            "paused": {"by": "ann", "since": "2026-01-01T00:00:00Z"}});
        assert_eq!(
            line(&paused),
            "a  view  paused  1 event, 61.2 s behind  paused by ann since 2026-01-01T00:00:00Z"
        );
        let forgotten = json!({"name": "a", "kind": "timers", "state": "paused", "lagEvents": 1,
            "paused": {"by": "ann", "since": "2026-01-01T00:00:00Z"}, "pausesKept": false});
        assert!(line(&forgotten).ends_with("since 2026-01-01T00:00:00Z, until the server stops"));
        let stopped = json!({"name": "a", "kind": "view", "state": "stopped", "lagEvents": null, "error": "why", "parkedStreams": 2});
        assert_eq!(line(&stopped), "a  view  stopped  lag unknown  2 streams parked  why");
    }
}
