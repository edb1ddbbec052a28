//! The shop of `examples/shop`, built and shown.

use std::fs;
use std::io::ErrorKind;

use crate::{Failure, shell};

/// Where the demo keeps its log and states. Removed before each run.
const FOLDER: &str = "target/demo-shop";

/// Builds the programs of the shop and runs the demo. The arguments go to it.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    run_with("", arguments)
}

/// The same on two servers of a PostgreSQL database, which is started for it. One of them is killed that number of times.
pub(crate) fn run_on_two_servers(kills: &str) -> Result<(), Failure> {
    run_with("cargo run --quiet --package test-servers -- with postgres -- ", &[kills, "servers"])
}

/// The same on three nodes of NATS, which are started for it. Nodes are killed that number of times.
pub(crate) fn run_on_a_cluster(kills: &str) -> Result<(), Failure> {
    shell::run("cargo run --quiet --package test-servers -- installed nats-cluster")?;
    run_with("", &[kills, "nodes"])
}

/// Runs the demo by another command.
fn run_with(command: &str, arguments: &[&str]) -> Result<(), Failure> {
    shell::run("cargo build --quiet --release --package gesta-shop --bins")?;
    match fs::remove_dir_all(FOLDER) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(format!("cannot remove `{FOLDER}`: {error}"));
        }
        _ => {}
    }
    let program = "cargo run --quiet --release --package gesta-shop --bin shop-demo";
    shell::run(&format!("{command}{program} -- {FOLDER} {}", arguments.join(" ")))
}
