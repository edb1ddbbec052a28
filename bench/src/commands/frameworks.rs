//! The frameworks, each in a process of its own: their database driver cannot be linked beside Gesta's views.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::account::Sent;

/// The frameworks in the order of their columns.
pub const FRAMEWORKS: [Framework; 2] = [CQRS_ES, DISINTEGRATE];
pub const CQRS_ES: Framework = Framework("cqrs-es");
pub const DISINTEGRATE: Framework = Framework("disintegrate");

/// One framework, by its name.
#[derive(Clone, Copy)]
pub struct Framework(&'static str);

impl Framework {
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Sends commands on an empty database.
    pub fn send(self, url: &str, workers: u64, accounts: u64, lasts: Duration) -> Sent {
        let seconds = lasts.as_secs().max(1);
        let numbers = [workers, accounts, seconds].map(|number| number.to_string());
        let answer = self.run(&[url, "send", &numbers[0], &numbers[1], &numbers[2]]);
        let [rate, p50, p99, conflicts] = answer[..] else { panic!("four numbers") };
        Sent { rate, p50: p50 as u64, p99: p99 as u64, conflicts: conflicts as u64 }
    }

    /// The median time of a load in µs. `every` is the distance of snapshots, or 0 for none.
    pub fn load(self, url: &str, events: u64, every: u64) -> f64 {
        self.run(&[url, "load", &events.to_string(), &every.to_string()])[0]
    }

    fn run(self, arguments: &[&str]) -> Vec<f64> {
        let output =
            Command::new(program()).arg(self.0).args(arguments).output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {errors}", self.0);
        let answer = String::from_utf8(output.stdout).expect("text");
        answer.split_whitespace().map(|number| number.parse().expect("a number")).collect()
    }
}

/// Builds the program once and returns its path.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("frameworks");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = Command::new(cargo).current_dir(&folder).args(["build", "--quiet", "--release"]).status();
        assert!(build.expect("cargo runs").success(), "the program is built");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| folder.join("target"), PathBuf::from);
        target.join("release/bench-frameworks")
    })
}
