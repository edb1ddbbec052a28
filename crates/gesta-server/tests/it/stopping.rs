//! A stop: requests may end, and no client holds it up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use gesta_server::Limits;

use crate::harness::{Running, event, memory, start_with};

/// Longer than a test may take: a stop that waits for it fails the test.
const NEVER: Duration = Duration::from_secs(3_600);

fn request(server: &Running, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

#[test]
fn a_subscriber_that_does_not_read_holds_up_no_stop() {
    let limits = Limits { shutdown_time_max: NEVER, write_stall_max: NEVER, ..Limits::default() };
    let server = start_with(memory(), limits);
    let large = format!("[{}]", vec![event("t", &format!("\"{}\"", "x".repeat(1 << 20))); 32].join(","));
    assert_eq!(server.post("/streams/large-1", &large).status, 201);
    let mut lagging =
        request(&server, "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    let mut first = [0; 16];
    lagging.read_exact(&mut first).unwrap();
    let mut idle = request(
        &server,
        "GET /events?from=end HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
    );
    idle.read_exact(&mut first).unwrap();
    drop(server);
    let mut rest = String::new();
    idle.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "a subscriber that keeps up sees the end: {rest}");
}

#[test]
fn a_half_sent_body_is_cut_when_the_time_of_a_stop_is_over() {
    let limits = Limits { shutdown_time_max: Duration::from_millis(50), ..Limits::default() };
    let server = start_with(memory(), limits);
    let mut half = request(
        &server,
        "POST /streams/s-1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: 50\r\n\r\n",
    );
    let mut leave = [0; 25];
    half.read_exact(&mut leave).unwrap();
    assert!(leave.starts_with(b"HTTP/1.1 100"), "the handler waits for the body");
    half.write_all(b"{").unwrap();
    drop(server);
    assert_eq!(half.read(&mut leave).unwrap_or(0), 0);
    assert_eq!(
        Limits::default().shutdown_time_max,
        Duration::from_secs(5),
        "half the grace period of `docker stop`"
    );
}
