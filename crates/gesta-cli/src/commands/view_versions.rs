//! `gesta view status`, `reload`, `rollback` and `drop-old`: the views on a server and their versions.

use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::target::{ServerUrl, ask_server, encode, json_of};

#[derive(clap::Args)]
pub(super) struct ShowStatus {
    /// The name of the view; all views without it.
    name: Option<String>,
    /// Print JSON, one view per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(clap::Args)]
pub(super) struct OfOne {
    /// The name of the view.
    name: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerUrl,
}

#[derive(clap::Args)]
pub(super) struct ReloadAll {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerUrl,
}

impl ReloadAll {
    pub(super) fn run(self) -> Outcome {
        let url = self.server.url()?;
        let answer = ask_server(&url, async |server| server.post("/views/reload", Vec::new()).await)?;
        let answer = json_of(&url, &answer)?;
        print(&answer, self.json, reload_lines)?;
        match answer["refused"].as_array().map_or(0, Vec::len) {
            0 => Ok(()),
            refused => Err(Failure::new(format!("{} not taken", count(refused as u64, "definition")))
                .help("the views run on with the definitions before; correct the files, and reload again")),
        }
    }
}

impl ShowStatus {
    pub(super) fn run(self) -> Outcome {
        let url = self.server.url()?;
        let path = self.name.as_ref().map_or("/views".to_owned(), |name| format!("/views/{}", encode(name)));
        let answer = ask_server(&url, async |server| server.get(&path).await)?;
        let answer = json_of(&url, &answer)?;
        let views = answer["views"].as_array().map_or(std::slice::from_ref(&answer), Vec::as_slice);
        views.iter().try_for_each(|view| print(view, self.json, status_lines))
    }
}

impl OfOne {
    pub(super) fn roll_back(self) -> Outcome {
        print(&self.post("rollback")?, self.json, rollback_lines)
    }

    pub(super) fn drop_old(self) -> Outcome {
        let dropped = |answer: &Value| format!("version {} is removed", text(answer, "dropped"));
        print(&self.post("drop-old")?, self.json, dropped)
    }

    fn post(&self, action: &str) -> Outcome<Value> {
        let url = self.server.url()?;
        let path = format!("/views/{}/{action}", encode(&self.name));
        let answer = ask_server(&url, async |server| server.post(&path, Vec::new()).await)?;
        json_of(&url, &answer)
    }
}

pub(super) fn print(value: &Value, json: bool, lines: impl Fn(&Value) -> String) -> Outcome {
    let text = if json { value.to_string() } else { lines(value) };
    Ok(say(&text)?)
}

pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// The first digits of a hash, which name a version.
fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// A view on one line, and one for each thing that an operator should know.
fn status_lines(view: &Value) -> String {
    let lag =
        view["lagEvents"].as_u64().map_or("lag unknown".to_owned(), |lag| count(lag, "event") + " behind");
    let version = short(text(view, "hash"));
    let mut lines = format!("{}  {}  version {version}  {lag}", text(view, "name"), text(view, "state"));
    let mut add = |line: String| lines.push_str(&format!("\n  {line}"));
    if let Some(error) = view["error"].as_str() {
        add(error.to_owned());
    }
    if view["progress"].is_object() {
        add(progress_line(&view["progress"]));
    }
    if view["degraded"] == true {
        add(degraded_line(view));
    }
    for warning in view["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        add(format!("warning: {warning}"));
    }
    if let Some(error) = view["refused"].as_str() {
        add(format!("runs on with the definition before: {error}"));
    }
    if let Some(definition) = view["rolledBack"].as_str() {
        add(format!("rolled back from {}, until the definition changes", short(definition)));
    }
    let old = &view["old"];
    if old.is_object() {
        let does = if view["servesPredecessor"] == true { "answers queries" } else { "is kept" };
        let error = old["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default();
        add(format!("version {} {does}  {}{error}", text(old, "version"), text(old, "state")));
    }
    lines
}

/// The streams whose last events are missing.
fn degraded_line(view: &Value) -> String {
    let streams = view["parked"].as_array().into_iter().flatten().map(|parked| text(parked, "stream"));
    let streams = streams.collect::<Vec<_>>();
    let all = view["parkedStreams"].as_u64().unwrap_or_default();
    let more = if all > streams.len() as u64 { ", …" } else { "" };
    format!("degraded: {} parked ({}{more})", count(all, "stream"), streams.join(", "))
}

fn progress_line(progress: &Value) -> String {
    let number = |name: &str| progress[name].as_u64().unwrap_or_default();
    let (done, total) = (number("eventsDone"), number("eventsTotal"));
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let rate = progress["eventsPerSecond"].as_f64().unwrap_or_default();
    let remaining = progress["remainingSeconds"].as_f64();
    let remaining = remaining.map_or("stands still".to_owned(), |seconds| format!("{seconds:.0} s left"));
    format!("is built: {done} of {} ({percent} %), {rate:.0} events/s, {remaining}", count(total, "event"))
}

fn reload_lines(answer: &Value) -> String {
    let names = |of: &str| {
        let names = answer[of].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(|name| format!("{name}  {of}")).collect::<Vec<_>>()
    };
    let refused =
        answer["refused"].as_array().into_iter().flatten().map(|refused| match refused["view"].as_str() {
            Some(view) => format!("{view}  refused  {}", text(refused, "error")),
            None => format!("refused  {}", text(refused, "error")),
        });
    let lines = ["added", "changed", "unchanged", "undefined"].into_iter().flat_map(names).chain(refused);
    lines.collect::<Vec<_>>().join("\n")
}

fn rollback_lines(answer: &Value) -> String {
    let (from, to) = (text(answer, "from"), text(answer, "to"));
    let what = match answer["isGiven"] == true {
        true => "the rollback is taken back",
        false => "rolled back",
    };
    match answer["isServing"] == true {
        true => format!("{what}: version {to} answers queries, in place of {from}"),
        false => format!("{what}: version {to} answers queries in place of {from} once it has caught up"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_view_that_is_built_shows_how_far_it_is() {
        let progress =
            json!({"eventsDone": 25, "eventsTotal": 100, "eventsPerSecond": 10.0, "remainingSeconds": 7.5});
        let view = json!({"name": "a", "state": "catching-up", "hash": "0123456789", "lagEvents": 75, "progress": progress,
            "servesPredecessor": true, "old": {"version": "89abcdef", "state": "live"}});
        let expected = [
            "a  catching-up  version 01234567  75 events behind",
            "  is built: 25 of 100 events (25 %), 10 events/s, 8 s left",
            "  version 89abcdef answers queries  live",
        ];
        assert_eq!(status_lines(&view), expected.join("\n"));
    }

    #[test]
    fn a_reload_shows_what_became_of_each_view() {
        let answer = json!({"added": ["a"], "changed": ["b"], "unchanged": [], "undefined": ["c"],
            "refused": [{"view": "d", "error": "d.sql:1: why"}, {"view": null, "error": "e.sql:1: why"}]});
        let expected =
            ["a  added", "b  changed", "c  undefined", "d  refused  d.sql:1: why", "refused  e.sql:1: why"];
        assert_eq!(reload_lines(&answer), expected.join("\n"));
    }

    #[test]
    fn a_view_that_was_rolled_back_says_so() {
        let view = json!({"name": "a", "state": "live", "hash": "0123456789", "lagEvents": 0, "rolledBack": "89abcdef01",
            "old": {"version": "89abcdef", "state": "stopped", "error": "why"}});
        let expected = [
            "a  live  version 01234567  0 events behind",
            "  rolled back from 89abcdef, until the definition changes",
            "  version 89abcdef is kept  stopped: why",
        ];
        assert_eq!(status_lines(&view), expected.join("\n"));
        let done = json!({"from": "a1", "to": "b2", "isGiven": false, "isServing": true});
        assert_eq!(rollback_lines(&done), "rolled back: version b2 answers queries, in place of a1");
        let later = json!({"from": "a1", "to": "b2", "isGiven": true, "isServing": false});
        assert_eq!(
            rollback_lines(&later),
            "the rollback is taken back: version b2 answers queries in place of a1 once it has caught up"
        );
    }
}
