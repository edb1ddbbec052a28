//! Each server starts, and starts again on its address after a kill and after a stop.

use std::net::TcpStream;

use test_servers::{Nats, NatsCluster, Postgres, RabbitMq};

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
fn a_cluster_of_nats_has_three_servers_and_each_can_be_killed() {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let hosts = cluster.url().trim_start_matches("nats://").split(',').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(hosts.len(), 3);
    assert!(hosts.iter().all(|host| TcpStream::connect(host).is_ok()));
    cluster.kill(1);
    assert!(TcpStream::connect(&hosts[1]).is_err() && TcpStream::connect(&hosts[0]).is_ok());
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
