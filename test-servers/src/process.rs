//! The process of a server.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::START_TIME;

/// How long a wait lasts until it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_owned();
        Self(command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", name.display())))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child of this process").is_some()
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Kills the process without warning.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        self.0.wait().expect("a child of this process");
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) fn terminate(&mut self) {
        self.signal("TERM");
        self.0.wait().expect("a child of this process");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal to a process by its id.
pub(crate) fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "process {id} takes no signal {name}");
}

/// Waits until the condition holds. Panics with the log of the server if it never does.
pub(crate) fn wait_until(what: &str, log: &Path, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > START_TIME {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            panic!("{what} did not come within {START_TIME:?}; its log:\n{log}");
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}
