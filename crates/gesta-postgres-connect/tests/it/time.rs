//! Time limits: a host that takes connections and is silent ends them all.

use std::net::TcpListener;

use gesta_postgres_connect::ConnectError;

use crate::server::{Plain, address, is_encrypted, is_wanted, runtime};

#[test]
fn a_silent_host_is_left_in_the_time_of_the_address() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |mode: &str| {
        format!(
            "postgres://postgres@{}/postgres?connect_timeout=1&sslmode={mode}",
            silent.local_addr().unwrap()
        )
    };
    for mode in ["disable", "require"] {
        let error = is_encrypted(&at(mode)).unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
        assert!(error.to_string().contains("within 1 s"), "{error}");
    }
    let error = runtime().block_on(address(&at("disable")).connect_over(&Plain)).err().unwrap();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
}

#[test]
fn a_host_that_is_down_leaves_the_others() {
    if !is_wanted() {
        return;
    }
    let Some(server) = test_servers::Postgres::shared() else { return };
    let (_, rest) = server.url().split_once('@').unwrap();
    let [free] = test_servers::free_ports();
    for at in [format!("127.0.0.1:{free},{rest}"), rest.replace('/', &format!(",127.0.0.1:{free}/"))] {
        assert!(!is_encrypted(&format!("postgres://postgres@{at}?sslmode=disable")).unwrap());
    }
}
