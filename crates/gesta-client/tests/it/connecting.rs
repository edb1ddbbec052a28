//! Connecting, and the reasons why it fails.

use gesta_client::{ClientOptions, ConnectError, RemoteStore};
use gesta_core::{EventStore, Retry, StoreId};

use crate::probe::Probe;
use crate::server::Running;

#[test]
fn a_client_knows_the_store_and_its_capabilities() {
    let probe = Probe::new(5);
    let server = Running::start(probe.clone());
    let client = RemoteStore::connect(&format!("{}/", server.url()), &ClientOptions::default()).unwrap();
    assert_eq!(client.store_id(), StoreId::from_bytes([5; 16]));
    assert_eq!(client.capabilities(), probe.capabilities());
}

#[test]
fn a_client_cannot_be_connected_where_no_server_is() {
    let url = format!("http://{}", test_servers::free_address());
    let error = RemoteStore::connect(&url, &ClientOptions::default()).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert_eq!(error.retry(), Retry::AfterPause);
    assert!(error.to_string().contains(&url), "{error}");
}

#[test]
fn a_client_is_refused_an_address_that_is_none() {
    let error = RemoteStore::connect("/data/log", &ClientOptions::default()).unwrap_err();
    assert!(matches!(error, ConnectError::Address { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Never);
}
