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
    // It takes connections and breaks them off.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let broken = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    for other in [format!("127.0.0.1:{free}"), broken.to_string()] {
        for at in [format!("{other},{rest}"), rest.replace('/', &format!(",{other}/"))] {
            let at = format!("postgres://postgres@{at}?sslmode=disable&load_balance_hosts=disable");
            assert!(!is_encrypted(&at).unwrap());
            runtime().block_on(address(&at).connect_over(&Plain)).map(drop).unwrap();
        }
    }
}

#[test]
fn a_standby_is_passed_over() {
    if !is_wanted() {
        return;
    }
    let Some(primary) = test_servers::Postgres::start(&["fsync=off"]) else { return };
    let standby = primary.standby(&["fsync=off"]);
    let place = |server: &test_servers::Postgres| {
        let (_, rest) = server.url().split_once('@').unwrap();
        rest.split_once('/').unwrap().0.to_owned()
    };
    let hosts = format!("{},{}", place(&standby), place(&primary));
    let address = address(&format!("postgres://postgres@{hosts}/postgres?load_balance_hosts=disable"));
    let is_standby = "select pg_is_in_recovery()";
    runtime().block_on(async {
        let over = address.connect_over(&Plain).await.unwrap();
        tokio::spawn(over.connection);
        assert!(!over.client.query_one(is_standby, &[]).await.unwrap().get::<_, bool>(0));
        let connected = address.connect().await.unwrap();
        tokio::spawn(connected.connection);
        assert!(!connected.client.query_one(is_standby, &[]).await.unwrap().get::<_, bool>(0));
    });
}
