//! Requests that web pages make browsers send to a server on loopback.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{Running, event, start};

/// The answer to bytes as they stand.
fn raw(server: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_request_for_another_host_is_refused_on_loopback() {
    let server = start();
    for host in ["evil.example", "evil.example:2114", "localhost.evil.example", "192.168.1.7"] {
        for request in ["GET /events", "POST /streams/s-1", "GET /nowhere"] {
            let answer =
                raw(&server, &format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
            assert!(answer.contains("urn:gesta:problem:foreign-host"), "{answer}");
            assert!(answer.contains(&format!("names host `{host}`")), "{answer}");
        }
    }
    let absolute = "GET http://evil.example/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(raw(&server, absolute).starts_with("HTTP/1.1 421 "));
}

#[test]
fn a_request_for_this_machine_or_without_a_host_is_served_on_loopback() {
    let server = start();
    let port = server.address.port();
    for host in ["localhost", &format!("127.0.0.1:{port}"), &format!("[::1]:{port}"), "bank.localhost:1"] {
        let answer =
            raw(&server, &format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    assert!(raw(&server, "GET /livez HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200 "));
}

#[test]
fn what_changes_something_is_refused_to_pages_of_other_sites() {
    let server = start();
    let host = server.address.to_string();
    let own = format!("http://{host}");
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://evil.example")],
        &[("origin", "http://localhost:1")],
        &[("origin", "null")],
    ] {
        for (method, path) in [
            ("POST", "/streams/s-1"),
            ("POST", "/batches"),
            ("POST", "/views/balances/restart"),
            ("POST", "/commands/account/anna/open"),
            ("DELETE", "/streams/s-1"),
        ] {
            let refused = server.call(method, path, headers, None);
            assert!(refused.problem(403, "cross-site").contains("another site"), "{refused:?}");
        }
        let read = server.get_with("/events", headers);
        assert_eq!(read.status, 200, "what reads is not shown to the page by its browser: {headers:?}");
    }
    for headers in [&[("sec-fetch-site", "same-origin")][..], &[("origin", &own)], &[]] {
        assert_eq!(server.post_with("/streams/s-1", headers, &event("t", "1")).status, 201, "{headers:?}");
    }
}
