//! Records the commit that the binary is built from, for `gesta --version`.
//!
//! Sources, in this order: the variable `GESTA_COMMIT`, which packagers set; the file that cargo puts into a published
//! package; the checkout's git. Without any of them, the commit is unknown, and the build goes on.

use std::path::Path;
use std::process::Command;

/// Characters of a commit id that are shown.
const SHOWN: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=GESTA_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let commit = from_environment().or_else(from_package).or_else(from_git);
    println!("cargo::rustc-env=GESTA_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn from_environment() -> Option<String> {
    std::env::var("GESTA_COMMIT").ok().as_deref().and_then(shortened)
}

/// `{"git":{"sha1":"…"}}`, written by `cargo package`.
fn from_package() -> Option<String> {
    let info =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = info.split_once("\"sha1\"")?;
    rest.split('"').nth(1).and_then(shortened)
}

fn from_git() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"])?;
    // The log of HEAD grows with every commit, checkout and reset.
    let log = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]);
    if let Some(log) = log.filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    shortened(&commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn shortened(commit: &str) -> Option<String> {
    let is_commit = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| commit.chars().take(SHOWN).collect())
}
