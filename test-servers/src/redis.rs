//! Redis and Valkey.

use std::process::Command;

/// The name of a program that serves the protocol of Redis: that of Redis or of Valkey. Returns `None`, and says so, if neither is
/// installed.
///
/// # Panics
///
/// If both are missing under `GESTA_SERVERS=required`.
pub fn redis() -> Option<&'static str> {
    crate::find("Redis", "`apt-get install redis-server` installs it", program)
}

pub(crate) fn program() -> Option<&'static str> {
    let is_there = |program: &&str| Command::new(program).arg("--version").output().is_ok();
    ["redis-server", "valkey-server"].into_iter().find(is_there)
}
