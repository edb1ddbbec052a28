//! Clients that send too much, too little, too slowly, or rubbish.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use gesta_server::Limits;

use crate::harness::{Running, event, memory, start, start_with};

fn connect(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_alive(server: &Running) {
    assert_eq!(server.get("/readyz").status, 200);
}

const HEAD: &str = "POST /streams/s-1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";

/// The memory that this process has ever used at once, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_never_held() {
    let server = start_with(memory(), Limits { body_bytes_max: 1 << 20, ..Limits::default() });
    let chunk = vec![b' '; 1 << 20];
    is_alive(&server);
    let before = peak_memory();
    for declared in [true, false] {
        let mut stream = connect(&server);
        let length = if declared { "Content-Length: 104857600" } else { "Transfer-Encoding: chunked" };
        write!(stream, "{HEAD}{length}\r\n\r\n").unwrap();
        for _ in 0..100 {
            // The server may close as soon as it has said why.
            let sent = if declared {
                stream.write_all(&chunk)
            } else {
                write!(stream, "{:x}\r\n", chunk.len())
                    .and_then(|()| stream.write_all(&chunk))
                    .and_then(|()| stream.write_all(b"\r\n"))
            };
            if sent.is_err() {
                break;
            }
        }
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 413"), "{declared}: {answer}");
        assert!(answer.contains("urn:gesta:problem:too-large"), "{answer}");
    }
    // Other tests of this process run beside: the bound is far above them and far below what was sent.
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after < before + (300 << 20), "{before} {after}");
    }
    is_alive(&server);
}

#[test]
fn a_client_that_asks_before_it_sends_is_refused_at_once() {
    let server = start();
    let mut stream = connect(&server);
    write!(stream, "{HEAD}Expect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n").unwrap();
    let answer = answer(stream);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn a_promised_length_reserves_nothing() {
    let limits = Limits { bodies_bytes_max: 100, ..Limits::default() };
    let server = start_with(memory(), limits);
    let waiting = (0..50).map(|_| {
        let mut stream = connect(&server);
        write!(stream, "{HEAD}Content-Length: 50\r\n\r\n{{").unwrap();
        stream
    });
    let waiting = waiting.collect::<Vec<_>>();
    assert_eq!(server.post("/streams/s-1", &event("t", "1")).status, 201);
    server.post("/streams/s-1", &event("t", &"1".repeat(100))).problem(503, "overloaded");
    drop(waiting);
    is_alive(&server);
}

#[test]
fn a_body_that_never_comes_is_given_up() {
    let limits = Limits { body_time_max: Duration::from_millis(50), ..Limits::default() };
    let server = start_with(memory(), limits);
    let mut stream = connect(&server);
    write!(stream, "{HEAD}Content-Length: 50\r\n\r\n{{").unwrap();
    let answer = answer(stream);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let limits = Limits { head_time_max: Duration::from_millis(500), ..Limits::default() };
    let server = start_with(memory(), limits);
    let mut stream = connect(&server);
    write!(stream, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    answer(stream);
    let idle = connect(&server);
    answer(idle);
    is_alive(&server);
}

#[test]
fn a_body_that_breaks_off_appends_nothing() {
    let server = start();
    let body = event("t", "[1,2,3]");
    for sent in 0..body.len() {
        let mut stream = connect(&server);
        write!(stream, "{HEAD}Content-Length: {}\r\n\r\n{}", body.len(), &body[..sent]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = answer(stream);
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    server.get("/streams/s-1").problem(404, "no-stream");
}

#[test]
fn rubbish_is_answered_or_cut_and_the_server_lives() {
    let server = start();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..300 {
        let mut bytes = (0..random() % 600).map(|_| random().to_le_bytes()[3]).collect::<Vec<u8>>();
        if round % 3 == 1 {
            bytes = [b"GET /events?".as_slice(), &bytes, b" HTTP/1.1\r\n\r\n"].concat();
        }
        if round % 3 == 2 {
            let head = format!("{HEAD}Content-Length: {}\r\n\r\n", bytes.len());
            bytes = [head.as_bytes(), &bytes].concat();
        }
        let mut stream = connect(&server);
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let answer = answer(stream);
        assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    is_alive(&server);
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let limits =
        Limits { connections_max: 1, head_time_max: Duration::from_millis(200), ..Limits::default() };
    let server = start_with(memory(), limits);
    let idle = connect(&server);
    assert_eq!(server.get("/livez").status, 200, "the idle one is given up");
    drop(idle);
}

#[test]
fn a_client_that_takes_nothing_is_cut_and_what_it_held_is_free_again() {
    let limits =
        Limits { subscriptions_max: 1, write_stall_max: Duration::from_millis(50), ..Limits::default() };
    let server = start_with(memory(), limits);
    let large = format!("[{}]", vec![event("t", &format!("\"{}\"", "x".repeat(1 << 20))); 32].join(","));
    assert_eq!(server.post("/streams/large-1", &large).status, 201);
    let mut stalled = connect(&server);
    write!(stalled, "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    let mut first = [0; 16];
    stalled.read_exact(&mut first).unwrap();
    // Another client gets the one place there is, once the first one is given up.
    let mut line = String::new();
    for _ in 0..100_000 {
        let mut other = connect(&server);
        write!(
            other,
            "GET /events?from=end HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        )
        .unwrap();
        line.clear();
        BufReader::new(other).read_line(&mut line).unwrap();
        if line.starts_with("HTTP/1.1 200") {
            break;
        }
    }
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    drop(stalled);
}

#[test]
fn large_answers_that_wait_for_slow_clients_are_bounded() {
    let server = start_with(memory(), Limits { answers_bytes_max: 30 << 20, ..Limits::default() });
    let large = format!("[{}]", vec![event("t", &format!("\"{}\"", "x".repeat(1 << 20))); 20].join(","));
    assert_eq!(server.post("/streams/large-1", &large).status, 201);
    let ask = || {
        let mut stream = connect(&server);
        write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        stream
    };
    // A page of the log holds a whole batch: twenty mebibytes, more than the socket takes.
    let mut stalled = ask();
    let mut first = [0; 12];
    stalled.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    server.get("/events").problem(503, "overloaded");
    assert_eq!(server.get("/events?from=end").status, 200, "small answers go on");
    assert!(answer(stalled).len() > 20 << 20, "it gets all of it when it reads");
    let served = (0..1_000).any(|_| {
        let mut stream = ask();
        stream.read_exact(&mut first).unwrap();
        &first == b"HTTP/1.1 200"
    });
    assert!(served);
}
