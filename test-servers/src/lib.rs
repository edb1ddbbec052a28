//! Real servers for tests: [`Postgres`], [`Nats`], [`NatsCluster`], [`RabbitMq`], [`PgBouncer`], and the program of [Redis or Valkey](redis).
//! A [`SmallDisk`] can be filled under a server.
//!
//! A test starts a server of its own where it stops, kills or pauses it. Otherwise it takes the shared one, whose address is in the
//! environment: `cargo run -p test-servers -- with postgres nats -- cargo nextest run …` starts the servers, runs the command, and stops
//! them. Without a shared server, `shared` starts one for the process.
//!
//! Where the program of a server is not installed, a constructor prints that and returns `None`, so that the test can end. Under
//! `GESTA_SERVERS=required` it panics instead. Under `GESTA_SERVERS=none` it returns `None` for every server. Under
//! `GESTA_SERVERS=elsewhere` it always panics: a test that needs a server is in the wrong run, where it would test nothing.
//!
//! Every server listens on loopback only, on free ports, keeps its files in a folder that goes away with it, and is killed when its value
//! is dropped.
#![expect(clippy::print_stdout, reason = "a test that is passed over says so")]

mod apart;
mod certificates;
mod disk;
#[cfg(feature = "kafka")]
mod kafka;
mod nats;
mod pgbouncer;
mod ports;
mod postgres;
mod process;
mod rabbitmq;
mod redis;

pub use certificates::{Authority, Certificate};
pub use disk::SmallDisk;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaRecord, KafkaTopic, MockKafka};
pub use nats::{
    CLUSTER_URL as NATS_CLUSTER_URL, NATS_VERSION, Nats, NatsCluster, URL as NATS_URL, fetch_nats,
};
pub use pgbouncer::PgBouncer;
pub use ports::{free_address, free_ports};
pub use postgres::{Postgres, URL as POSTGRES_URL};
pub use rabbitmq::{CA as RABBITMQ_CA, RabbitMq, TLS_URL as RABBITMQ_TLS_URL, URL as RABBITMQ_URL};
pub use redis::redis;

use std::process::Command;
use std::time::Duration;

/// How long a server may take to start. A loaded machine is slow, so this only ends a test that would never end.
const START_TIME: Duration = Duration::from_secs(180);

/// The program of a server, if it is installed and wanted. Otherwise says why the test is passed over, and what installs the server.
///
/// # Panics
///
/// If the program is missing under `GESTA_SERVERS=required`, and always under `GESTA_SERVERS=elsewhere`.
fn find<T>(server: &str, remedy: &str, program: impl FnOnce() -> Option<T>) -> Option<T> {
    if setting() == "none" {
        println!("skipped: GESTA_SERVERS=none leaves out {server}");
        return None;
    }
    check_run(server);
    let program = program();
    if program.is_none() {
        pass_over(&format!("{server} is not installed; {remedy}"));
    }
    program
}

/// The address of a shared server, from its variable, such as [`POSTGRES_URL`]. Without one, says why the test is passed over.
///
/// # Panics
///
/// If there is none under `GESTA_SERVERS=required`, and always under `GESTA_SERVERS=elsewhere`.
pub fn given(variable: &str) -> Option<String> {
    check_run(variable);
    let url = std::env::var(variable).ok();
    if url.is_none() {
        pass_over(&format!(
            "{variable} names no server; `cargo run -p test-servers` shows the command that starts one"
        ));
    }
    url
}

/// Whether this process is root.
fn is_root() -> bool {
    id(&["-u"]) == Some(0)
}

/// A number that the program `id` prints.
fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn setting() -> String {
    std::env::var("GESTA_SERVERS").unwrap_or_default()
}

fn check_run(server: &str) {
    assert_ne!(
        setting(),
        "elsewhere",
        "this test asks for {server}, so it belongs to the tests with servers: name it in `default-filter` of `profile.servers` in .config/nextest.toml"
    );
}

fn pass_over(why: &str) {
    assert_ne!(setting(), "required", "{why}");
    println!("skipped: {why}");
}
