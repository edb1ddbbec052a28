//! The demo of publishers: brokers, built and shown.

use crate::{Failure, shell};

/// Builds the program, and runs the demo that publishes to NATS and RabbitMQ while they are killed.
pub(crate) fn run() -> Result<(), Failure> {
    shell::run("cargo run --quiet --package test-servers -- installed nats rabbitmq").map_err(|error| {
        format!("{error}\n\nnats needs the package python3-pip, rabbitmq the package rabbitmq-server")
    })?;
    shell::run("cargo build --quiet --release --package gesta-cli --bin gesta")?;
    // A test runs in the folder of its crate.
    shell::run(
        "GESTA_PROGRAM=../../target/release/gesta cargo test --quiet --package gesta-publish --test it demo -- --ignored --nocapture",
    )
}
