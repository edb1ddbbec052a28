//! Each server starts, and starts again on its address after a kill and after a stop.

use std::net::TcpStream;

use test_servers::{Nats, Postgres, RabbitMq};

/// Whether somebody listens at the address of a URL.
fn listens(url: &str) -> bool {
    let (_, address) = url.rsplit_once('@').or_else(|| url.split_once("//")).expect("a URL");
    TcpStream::connect(address.split('/').next().expect("an address")).is_ok()
}

#[test]
fn postgres_starts_again_where_it_was() {
    let Some(mut server) = Postgres::start(&[]) else { return };
    assert!(listens(server.url()));
    server.kill();
    server.start_again();
    assert!(listens(server.url()));
    server.stop();
    assert!(!listens(server.url()));
    server.start_again();
    assert!(listens(server.url()));
    assert!(server.log().contains("database system was not properly shut down"), "{}", server.log());
}

#[test]
fn nats_starts_again_where_it_was() {
    let Some(mut server) = Nats::start("") else { return };
    assert!(listens(server.url()));
    server.kill();
    assert!(!listens(server.url()));
    server.start_again();
    assert!(listens(server.url()));
    server.stop();
    assert!(!listens(server.url()));
    server.start_again();
    assert!(listens(server.url()));
}

#[test]
fn rabbitmq_starts_again_where_it_was() {
    let Some(mut server) = RabbitMq::start() else { return };
    assert!(listens(server.url()));
    server.kill();
    assert!(!listens(server.url()));
    server.start_again();
    assert!(listens(server.url()));
    server.stop();
    assert!(!listens(server.url()));
}
