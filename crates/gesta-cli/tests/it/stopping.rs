//! A server that is told to stop while clients append without a break.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{gesta, serve};

const CLIENTS: usize = 8;
/// Acknowledged appends before the signal.
const BEFORE: u64 = 400;
/// A server gives open requests 5 s. The rest is room for a busy machine; a server that waits for its clients never ends.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Appends numbers from 0 to a stream over one connection, until the server refuses one or is gone. Returns how many were
/// acknowledged.
fn append_until_refused(url: &str, stream: &str, all: &AtomicU64) -> u64 {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    for number in 0.. {
        let body = json!({"type": "load.sent", "data": {"number": number}}).to_string();
        let request =
            agent.post(format!("{url}/streams/{stream}")).header("content-type", "application/json");
        let is_acknowledged = request.send(body).is_ok_and(|answer| answer.status().is_success());
        if !is_acknowledged {
            return number;
        }
        all.fetch_add(1, Ordering::SeqCst);
    }
    unreachable!("numbers have no end")
}

#[test]
fn a_server_stops_in_time_under_load_and_loses_nothing_that_it_acknowledged() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().to_str().unwrap();
    let server = serve(&["--dir", log]);
    let (url, all) = (server.url.clone(), AtomicU64::new(0));
    let acknowledged = std::thread::scope(|scope| {
        let (url, all) = (&url, &all);
        let clients = (0..CLIENTS)
            .map(|client| scope.spawn(move || append_until_refused(url, &format!("load-{client}"), all)))
            .collect::<Vec<_>>();
        while all.load(Ordering::SeqCst) < BEFORE {
            assert!(
                !clients.iter().any(|client| client.is_finished()),
                "no append is refused before the signal"
            );
            std::thread::yield_now();
        }
        let begun = Instant::now();
        server.signal(Signal::TERM);
        let (code, _) = server.end();
        let took = begun.elapsed();
        assert!(code == Some(0) && took < STOP_MAX, "exit code {code:?} after {took:?}");
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(acknowledged.iter().sum::<u64>() >= BEFORE);
    for (client, acknowledged) in acknowledged.into_iter().enumerate() {
        let read = gesta(["read", &format!("load-{client}"), "--json", "--dir", log]).ok();
        let events = read.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let numbers = events.map(|event| event["data"]["number"].as_u64().unwrap()).collect::<Vec<_>>();
        let kept = numbers.len() as u64;
        assert!(numbers.into_iter().eq(0..kept), "client {client}: each append once, in order");
        // The answer to the last one may have been lost with the connection.
        assert!(
            (acknowledged..=acknowledged + 1).contains(&kept),
            "client {client}: {kept} of {acknowledged}"
        );
    }
}

#[test]
fn a_server_whose_folder_was_removed_is_not_ready_and_ends_with_an_error() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let server = serve(&["--dir", log.to_str().unwrap()]);
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let get = |path: &str| {
        let mut answer = agent.get(format!("{}{path}", server.url)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    assert_eq!(get("/readyz").0, 200);
    std::fs::rename(&log, folder.path().join("moved")).unwrap();
    // It looks once a second.
    let said = loop {
        match get("/readyz") {
            (200, _) => std::thread::yield_now(),
            (503, said) => break said,
            other => panic!("{other:?}"),
        }
    };
    assert!(said.contains("was moved or removed while the log was open"), "{said}");
    assert_eq!(server.stop(), Some(1));
    assert!(!log.exists());
}
