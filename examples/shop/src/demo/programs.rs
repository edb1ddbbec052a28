//! The programs of the shop as child processes, and calls to them.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A program of the shop. Killed when dropped.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    /// Where it listens, at each start.
    address: SocketAddr,
    url: String,
    child: Option<Child>,
}

impl Program {
    pub(super) fn new(programs: &Path, name: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (variables, address, url) = (Vec::new(), test_servers::free_address(), String::new());
        Self { path: programs.join(name), arguments, variables, address, url, child: None }
    }

    /// Sets a variable of its environment, from the next start on.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
    }

    /// The id of the process, if it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Starts it, and waits until it serves.
    pub(super) fn start(&mut self) -> Result<(), String> {
        let failed =
            |error: &dyn std::fmt::Display| format!("cannot start `{}`: {error}", self.path.display());
        let mut command = Command::new(&self.path);
        command.args(["serve", "--listen", &self.address.to_string()]).args(&self.arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // What customers are told is enough: a service that is away is expected here.
        command.env("GESTA_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or_else(|| failed(&"it has no output"))?;
        BufReader::new(output).read_line(&mut line).map_err(|error| failed(&error))?;
        let url = line.trim().rsplit(' ').next().unwrap_or_default();
        if !url.starts_with("http://") {
            return Err(failed(&format_args!("it printed `{}`", line.trim())));
        }
        (self.url, self.child) = (url.to_owned(), Some(child));
        Ok(())
    }

    /// Runs another command of it, to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let failed = |what: &dyn std::fmt::Display| {
            format!("`{} {}`: {what}", self.path.display(), arguments.join(" "))
        };
        let ran = Command::new(&self.path).args(arguments).output().map_err(|error| failed(&error))?;
        if ran.status.success() { Ok(()) } else { Err(failed(&String::from_utf8_lossy(&ran.stderr))) }
    }

    /// Kills it, as `kill -9` does.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let killed = child.kill().and_then(|()| child.wait().map(drop));
        killed.map_err(|error| format!("cannot kill `{}`: {error}", self.path.display()))
    }

    /// Ends it.
    pub(super) fn stop(mut self) -> Result<(), String> {
        self.kill()
    }

    /// Sends a command that must be done.
    pub(super) fn send(&self, path: &str, body: &Value) -> Result<(), String> {
        post(&format!("{}{path}", self.url), body, None)
    }

    /// The rows of a view.
    pub(super) fn rows(&self, view: &str, sql: &str) -> Result<Vec<Value>, String> {
        rows(&self.url, view, sql)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nothing more can be done about a program that cannot be killed.
        drop(self.kill());
    }
}

/// Sends a command, under a key if one is given.
pub(super) fn post(url: &str, body: &Value, key: Option<&str>) -> Result<(), String> {
    let mut request = agent().post(url).header("Content-Type", "application/json");
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    answer(url, request.send(body.to_string())).map(drop)
}

/// The rows of a view of a program.
pub(super) fn rows(program: &str, view: &str, sql: &str) -> Result<Vec<Value>, String> {
    let url = format!("{program}/views/{view}/query");
    let asked = agent().get(&url).query("sql", sql).call();
    let answer = answer(&url, asked)?;
    answer["rows"].as_array().cloned().ok_or_else(|| format!("{url} has no rows: {answer}"))
}

/// The JSON at an address.
pub(super) fn request(url: &str) -> Result<Value, String> {
    answer(url, agent().get(url).call())
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn answer(url: &str, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, String> {
    let mut response = sent.map_err(|error| format!("{url}: {error}"))?;
    let text = response.body_mut().read_to_string().map_err(|error| format!("{url}: {error}"))?;
    if !response.status().is_success() {
        return Err(format!("{url}: {} {text}", response.status()));
    }
    serde_json::from_str(&text).map_err(|error| format!("{url}: {error}"))
}
