//! Appends whose answers are lost, and servers that are away.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use gesta_client::{ClientOptions, RemoteStore};
use gesta_core::{AppendError, EventStore, Expected, Query, Read, ReadError};
use pollster::block_on;

use crate::probe::{Conduct, Probe, batch};
use crate::server::Running;

fn options(request_millis: u64, settle_millis: u64) -> ClientOptions {
    ClientOptions {
        request_time: Duration::from_millis(request_millis),
        settle_time: Duration::from_millis(settle_millis),
        ..ClientOptions::default()
    }
}

fn connect(server: &Running, options: &ClientOptions) -> RemoteStore {
    RemoteStore::connect(&server.url(), options).unwrap()
}

#[test]
fn an_append_that_was_written_before_the_server_was_killed_is_answered_by_the_next_server() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = connect(&server, &ClientOptions::default());
    probe.set(Conduct::WriteWithoutAnswer);
    std::thread::scope(|scope| {
        let append = scope.spawn(|| block_on(client.append(batch("a-1", 1))));
        probe.wait_for_appends(1);
        let address = server.address;
        server.kill();
        probe.set(Conduct::Answer);
        let _server = Running::start_at(address, probe.clone());
        let appended = append.join().unwrap().unwrap();
        assert!(appended.repeated, "the first answer was lost: {appended:?}");
        assert_eq!(block_on(client.read(Read::log(Query::All))).unwrap().events.len(), 1);
    });
}

#[test]
fn an_append_that_was_not_written_before_the_server_was_killed_is_written_by_the_next_server() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = connect(&server, &ClientOptions::default());
    probe.set(Conduct::Hold);
    std::thread::scope(|scope| {
        let append = scope.spawn(|| block_on(client.append(batch("a-1", 1))));
        probe.wait_for_appends(1);
        let address = server.address;
        server.kill();
        probe.set(Conduct::Answer);
        let _server = Running::start_at(address, probe.clone());
        assert!(!append.join().unwrap().unwrap().repeated);
    });
}

#[test]
fn a_server_that_is_away_makes_the_store_unavailable_and_leaves_nothing_in_doubt() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let (client, address) = (connect(&server, &ClientOptions::default()), server.address);
    block_on(client.append(batch("a-1", 1))).unwrap();
    drop(server);
    let refused = block_on(client.append(batch("a-1", 2))).unwrap_err();
    assert!(matches!(&refused, AppendError::Unavailable { reason } if reason.contains("cannot connect")));
    let refused = block_on(client.read(Read::log(Query::All))).unwrap_err();
    assert!(matches!(refused, ReadError::Unavailable { .. }), "{refused}");
    let _server = Running::start_at(address, probe);
    assert!(!block_on(client.append(batch("a-1", 2))).unwrap().repeated);
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for_longer_than_the_time_of_a_request() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = connect(&server, &options(2_000, 400));
    probe.set(Conduct::Hold);
    let begun = Instant::now();
    let read = block_on(client.read(Read::log(Query::All)));
    assert!(matches!(read, Err(ReadError::Unavailable { .. })), "{read:?}");
    let append = block_on(client.append(batch("a-1", 1)));
    assert!(matches!(append, Err(AppendError::InDoubt { .. })), "{append:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    probe.set(Conduct::Answer);
    // The server may have got any of the copies. Sending the same batch again settles it.
    let client = connect(&server, &ClientOptions::default());
    block_on(client.append(batch("a-1", 1))).unwrap();
    assert_eq!(block_on(client.read(Read::log(Query::All))).unwrap().events.len(), 1);
}

#[test]
fn an_append_behind_one_without_an_answer_is_given_up_unsent() {
    let probe = Probe::new(1);
    let server = Running::start(probe.clone());
    let client = connect(&server, &options(2_000, 60_000));
    probe.set(Conduct::Hold);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| block_on(client.append(batch("a-1", 1))));
        probe.wait_for_appends(1);
        let second = block_on(client.append(batch("a-1", 2)));
        let expected = "earlier appends to the same streams take too long";
        assert_eq!(second, Err(AppendError::Unavailable { reason: expected.to_owned() }));
        probe.set(Conduct::Answer);
        first.join().unwrap().unwrap();
    });
    assert!(!probe.arrived().contains(&crate::probe::id(2)));
}

/// Answers every request with these bytes, and closes the connection.
fn answer_at(address: SocketAddr, answer: &'static [u8]) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut request = [0; 64 * 1024];
            let _ = connection.read(&mut request);
            let _ = connection.write_all(answer);
            // A connection that is closed before all of the request was read is reset, and its answer is lost.
            let _ = connection.shutdown(Shutdown::Write);
            let _ = connection.read_to_end(&mut Vec::new());
        }
    });
}

#[test]
fn the_answer_of_something_else_than_a_server_settles_nothing() {
    let probe = Probe::new(1);
    let server = Running::start(probe);
    // It is given up after the first sending, so the reason is that of this answer.
    let (client, address) = (connect(&server, &options(30_000, 0)), server.address);
    drop(server);
    answer_at(address, b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>");
    let append = block_on(client.append(batch("a-1", 1)));
    let Err(AppendError::InDoubt { reason }) = append else { panic!("{append:?}") };
    assert!(reason.contains("names no store (status 502"), "{reason}");
    let read = block_on(client.read(Read::log(Query::All)));
    assert!(matches!(read, Err(ReadError::Unavailable { .. })), "{read:?}");
}

#[test]
fn an_answer_beyond_the_limit_is_not_received() {
    let server = Running::start(Probe::new(1));
    let (client, address) = (connect(&server, &ClientOptions::default()), server.address);
    drop(server);
    answer_at(address, b"HTTP/1.1 200 OK\r\ncontent-length: 268435457\r\n\r\n");
    let read = block_on(client.read(Read::log(Query::All)));
    let Err(ReadError::Unavailable { reason }) = read else { panic!("{read:?}") };
    assert!(reason.contains("longer than 268435456 bytes"), "{reason}");
}

#[test]
fn an_append_that_is_refused_by_right_is_denied() {
    let server = Running::start(Probe::new(1));
    let client = connect(&server, &ClientOptions::default());
    let denied = block_on(client.append(batch("$system", 1)));
    let Err(AppendError::Denied { code, .. }) = denied else { panic!("{denied:?}") };
    assert_eq!(code, "system-stream");
}

#[test]
fn an_expectation_that_failed_comes_back_as_itself() {
    let server = Running::start(Probe::new(1));
    let client = connect(&server, &ClientOptions::default());
    block_on(client.append(batch("a-1", 1))).unwrap();
    let expected = Expected::Event { version: gesta_core::Version::new(4), id: crate::probe::id(9) };
    let stream = "a-1".parse::<gesta_core::StreamName>().unwrap();
    let refused = block_on(client.append(batch("a-1", 2).expect(stream.clone(), expected)));
    let actual = Some(gesta_core::Version::FIRST);
    assert_eq!(refused, Err(AppendError::Conflict { stream, expected, actual }));
}
