//! The program `gesta`, built with the release profile of users.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds the program once and returns its path.
///
/// # Panics
/// If it cannot be built.
pub fn gesta_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build)
}

fn build() -> PathBuf {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| bench.join("target"), Into::into);
    let target = target.join("program");
    let build = Command::new(cargo)
        .current_dir(bench.join(".."))
        .args(["build", "--quiet", "--release", "--package", "gesta-cli", "--target-dir"])
        .arg(&target)
        .status();
    assert!(build.expect("cargo runs").success(), "the program is built");
    target.join("release/gesta")
}

/// A loopback port that is free now.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
