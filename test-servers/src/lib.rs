//! Real servers for tests: [`Postgres`], [`Nats`], [`NatsCluster`], [`RabbitMq`], and the program of [Redis or Valkey](redis).
//!
//! A test starts a server of its own where it stops, kills or pauses it. Otherwise it takes the shared one, whose address is in the
//! environment: `cargo run -p test-servers -- with postgres nats -- cargo nextest run …` starts the servers, runs the command, and stops
//! them. Without a shared server, `shared` starts one for the process.
//!
//! Where the program of a server is not installed, a constructor prints that and returns `None`, so that the test can end. Under
//! `GESTA_SERVERS=required` it panics instead. Under `GESTA_SERVERS=none` it returns `None` for every server.
//!
//! Every server listens on loopback only, on free ports, keeps its files in a folder that goes away with it, and is killed when its value
//! is dropped.
#![expect(clippy::print_stdout, reason = "a test that is passed over says so")]

mod certificates;
mod nats;
mod ports;
mod postgres;
mod process;
mod rabbitmq;
mod redis;

pub use certificates::{Authority, Certificate};
pub use nats::{
    CLUSTER_URL as NATS_CLUSTER_URL, NATS_VERSION, Nats, NatsCluster, URL as NATS_URL, fetch_nats,
};
pub use ports::{free_address, free_ports};
pub use postgres::{Postgres, URL as POSTGRES_URL};
pub use rabbitmq::{CA as RABBITMQ_CA, RabbitMq, TLS_URL as RABBITMQ_TLS_URL, URL as RABBITMQ_URL};
pub use redis::redis;

use std::time::Duration;

/// How long a server may take to start. A loaded machine is slow, so this only ends a test that would never end.
const START_TIME: Duration = Duration::from_secs(180);

/// The program of a server, if it is installed and wanted. Otherwise says why the test is passed over, and what installs the server.
///
/// # Panics
///
/// If the program is missing under `GESTA_SERVERS=required`.
fn find<T>(server: &str, remedy: &str, program: impl FnOnce() -> Option<T>) -> Option<T> {
    let setting = std::env::var("GESTA_SERVERS").unwrap_or_default();
    if setting == "none" {
        println!("skipped: GESTA_SERVERS=none leaves out {server}");
        return None;
    }
    let program = program();
    if program.is_none() {
        assert_ne!(setting, "required", "{server} is not installed; {remedy}");
        println!("skipped: {server} is not installed; {remedy}");
    }
    program
}
