//! Consumer groups on a real server.

mod commands;
mod faults;
mod member;
mod python;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Ran, Server, gesta, serve, serve_at};

/// A server of a log that can be killed and started again at the same address.
struct Restarting {
    log: String,
    address: String,
    server: Option<Server>,
}

impl Restarting {
    fn start(folder: &Path) -> Self {
        let log = folder.join("log").to_str().unwrap().to_owned();
        let server = serve(&["--dir", &log]);
        let address = server.url.strip_prefix("http://").unwrap().to_owned();
        Self { log, address, server: Some(server) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Kills the server without a warning, and starts another one.
    fn kill(&mut self) {
        drop(self.server.take());
        self.server = Some(serve_at(&self.address, &["--dir", &self.log]));
    }

    /// Stops the server in order.
    fn stop(mut self) {
        assert_eq!(self.server.take().unwrap().stop(), Some(0));
    }
}

/// Runs `gesta groups` on a server.
pub(crate) fn on(url: &str, arguments: &[&str]) -> Ran {
    gesta([&["groups"], arguments, &["--url", url]].concat())
}

/// The status of a group.
fn status(url: &str, group: &str) -> Value {
    serde_json::from_str(&on(url, &["show", group, "--json"]).ok()).unwrap()
}

/// The status of a group after its start, which a server that answers may still be at.
pub(crate) fn started(url: &str, group: &str) -> Value {
    let begin = Instant::now();
    loop {
        let status = status(url, group);
        if status["state"] != "starting" {
            return status;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{status}");
    }
}
