//! `gesta view parked`, `replay` and `skip`: the streams that a view on a server holds back.

use std::io::Write;

use gesta_core::{StreamName, Version};
use gesta_wire::{replay_json, skip_json};
use serde_json::Value;

use super::view_versions::{print, text};
use crate::failure::{Failure, Outcome};
use crate::output::{count, one_line, say, stdout};
use crate::target::{ServerUrl, ask_server, encode, json_of};

#[derive(clap::Args)]
pub(super) struct ListParked {
    /// The name of the view.
    name: String,
    /// A parked stream, to show the events that it holds back.
    stream: Option<StreamName>,
    /// Print JSON: one stream per line, or one object with the events of a stream.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(clap::Args)]
pub(super) struct ReplayParked {
    /// The name of the view.
    name: String,
    /// The streams.
    #[arg(conflicts_with = "all")]
    streams: Vec<StreamName>,
    /// All parked streams.
    #[arg(long)]
    all: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(clap::Args)]
pub(super) struct SkipParked {
    /// The name of the view.
    name: String,
    /// The stream.
    stream: StreamName,
    /// The version of the last event to skip.
    #[arg(long, value_name = "VERSION")]
    through: u64,
    /// The reason, for people. The log of the server has it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerUrl,
}

impl ListParked {
    pub(super) fn run(self) -> Outcome {
        let url = self.server.url()?;
        let stream = self.stream.iter().map(|stream| format!("/{}", encode(stream.as_str())));
        let path = format!("/views/{}/parked{}", encode(&self.name), stream.collect::<String>());
        let answer = ask_server(&url, async |server| server.get(&path).await)?;
        if self.json && self.stream.is_some() {
            return Ok(say(String::from_utf8_lossy(&answer).trim_end())?);
        }
        let answer = json_of(&url, &answer)?;
        let mut out = stdout();
        if self.stream.is_some() {
            held_lines(&answer).iter().try_for_each(|line| writeln!(out, "{line}"))?;
            return Ok(out.flush()?);
        }
        for parked in answer["parked"].as_array().into_iter().flatten() {
            let line = if self.json { parked.to_string() } else { parked_line(parked) };
            writeln!(out, "{line}")?;
        }
        Ok(out.flush()?)
    }
}

impl ReplayParked {
    pub(super) fn run(self) -> Outcome {
        // To the server, no stream means all.
        if self.streams.is_empty() && !self.all {
            return Err(Failure::usage("no stream given").help(format!(
                "name streams that `gesta view parked {}` lists, or give `--all`",
                self.name
            )));
        }
        let body = replay_json(&self.streams);
        release(&self.server, &self.name, "replay", &body, self.json)
    }
}

impl SkipParked {
    pub(super) fn run(self) -> Outcome {
        let body = skip_json(&self.stream, Version::new(self.through), &self.reason);
        release(&self.server, &self.name, "skip", &body, self.json)
    }
}

/// Has the server release streams. Streams that fail again are a failure.
fn release(server: &ServerUrl, name: &str, action: &str, body: &Value, json: bool) -> Outcome {
    let url = server.url()?;
    let path = format!("/views/{}/parked/{action}", encode(name));
    let body = body.to_string().into_bytes();
    let answer = ask_server(&url, async |server| server.post(&path, body).await)?;
    let answer = json_of(&url, &answer)?;
    print(&answer, json, replayed_lines)?;
    match answer["parked"].as_array().map_or(0, Vec::len) as u64 {
        0 => Ok(()),
        again => Err(Failure::new(format!("{} parked again", count(again, "stream")))
            .help("mend what the error names, and replay; or skip the event")),
    }
}

fn parked_line(parked: &Value) -> String {
    let (stream, version) = (text(parked, "stream"), &parked["version"]);
    format!("{stream}  from version {version}: {}", one_line(text(parked, "error")))
}

fn held_lines(answer: &Value) -> Vec<String> {
    let events = answer["events"].as_array().into_iter().flatten();
    let events = events.map(|event| format!("  version {}  {}", event["version"], text(event, "type")));
    std::iter::once(parked_line(&answer["parked"])).chain(events).collect()
}

fn replayed_lines(answer: &Value) -> String {
    let number = |name: &str| answer[name].as_u64().unwrap_or_default();
    let done =
        format!("{}, {} applied", count(number("replayed"), "stream"), count(number("events"), "event"));
    let again = answer["parked"].as_array().into_iter().flatten().map(parked_line);
    std::iter::once(done).chain(again).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_replay_shows_what_was_applied_and_what_failed_again() {
        let parked = json!({"stream": "a-1", "version": 7, "position": 9, "error": "why\nnot"});
        let answer = json!({"replayed": 2, "events": 1, "parked": [parked]});
        assert_eq!(replayed_lines(&answer), "2 streams, 1 event applied\na-1  from version 7: why not");
        let held = json!({"parked": parked, "events": [{"version": 7, "type": "t"}]});
        assert_eq!(held_lines(&held), ["a-1  from version 7: why not", "  version 7  t"]);
    }
}
