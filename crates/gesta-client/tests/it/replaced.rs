//! Another store at the address of a client.

use gesta_client::{ClientOptions, RemoteStore};
use gesta_core::{AppendError, EventStore, Query, Read, ReadError, When};
use pollster::block_on;

use crate::probe::{Probe, batch};
use crate::server::Running;

#[test]
fn a_client_ends_when_another_store_answers_and_writes_nothing_there() {
    let server = Running::start(Probe::new(1));
    let (client, address) =
        (RemoteStore::connect(&server.url(), &ClientOptions::default()).unwrap(), server.address);
    block_on(client.append(batch("a-1", 1))).unwrap();
    let head = block_on(client.locate(When::Head)).unwrap();
    drop(server);
    let other = Probe::new(2);
    let _server = Running::start_at(address, other.clone());
    assert_eq!(block_on(client.append(batch("a-1", 2))), Err(AppendError::Closed));
    assert_eq!(block_on(client.append(batch("a-1", 3))), Err(AppendError::Closed));
    assert_eq!(block_on(client.read(Read::log(Query::All))), Err(ReadError::Closed));
    assert_eq!(block_on(client.wait_past(head)), Err(ReadError::Closed));
    assert_eq!(block_on(client.locate(When::Head)), Err(ReadError::Closed));
    let reason = block_on(client.replaced());
    assert!(reason.contains("store"), "{reason}");
    assert!(other.arrived().is_empty());
}

#[test]
fn a_waiter_is_told_when_another_store_answers() {
    let server = Running::start(Probe::new(1));
    let (client, address) =
        (RemoteStore::connect(&server.url(), &ClientOptions::default()).unwrap(), server.address);
    let head = block_on(client.locate(When::Head)).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(client.wait_past(head)));
        server.kill();
        let _server = Running::start_at(address, Probe::new(2));
        // The wait may fail because no server was there, but then it is over.
        let ended = waiting.join().unwrap();
        assert!(matches!(ended, Err(ReadError::Closed | ReadError::Unavailable { .. })), "{ended:?}");
    });
}
