//! Subscriptions: server-sent events.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gesta_core::{BoxFuture, EventStore, MemoryStore, Page, Read, ReadError, StoreLayer};
use gesta_log::{LogStore, Options};
use gesta_server::Limits;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::harness::{Running, event, memory, place, start, start_with};

/// One event of a stream of server-sent events.
#[derive(Debug, Default, PartialEq)]
struct Sent {
    id: String,
    event: String,
    data: String,
}

/// A reader of server-sent events that keeps the last id as the specification says.
struct Reader {
    lines: BufReader<TcpStream>,
    last_id: String,
}

impl Reader {
    fn open(server: &Running, path: &str, last_id: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let resume = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{resume}\r\n")
            .unwrap();
        let mut lines = BufReader::new(stream);
        let mut status = String::new();
        lines.read_line(&mut status).unwrap();
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        while status != "\r\n" {
            status.clear();
            lines.read_line(&mut status).unwrap();
        }
        Self { lines, last_id: last_id.unwrap_or("").to_owned() }
    }

    /// The next line of the body, without the framing of chunked transfer.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // Chunks begin with their size on a line of its own that ends in CRLF; the events here never hold CR.
            if !line.ends_with("\r\n") {
                return Some(line.trim_end_matches('\n').to_owned());
            }
        }
    }

    /// The next event that is dispatched.
    fn next(&mut self) -> Option<Sent> {
        let mut sent = Sent::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = id.to_owned(),
                Some(("event", event)) => sent.event = event.to_owned(),
                Some(("data", data)) => sent.data.push_str(data),
                _ if line.is_empty() && !sent.data.is_empty() => {
                    sent.id.clone_from(&self.last_id);
                    return Some(sent);
                }
                _ => {}
            }
        }
    }

    fn position(&mut self) -> Option<u64> {
        let sent = self.next()?;
        serde_json::from_str::<Value>(&sent.data).unwrap()["position"].as_u64()
    }
}

fn append(server: &Running, stream: &str, events: usize) {
    let body = format!("[{}]", vec![event("t", "{\"a\":\\n1}").replace("\\n", "\n"); events].join(","));
    assert_eq!(server.post(&format!("/streams/{stream}"), &body).status, 201);
}

#[test]
fn a_subscription_catches_up_and_goes_on_live() {
    let server = start();
    append(&server, "a-1", 2);
    let mut reader = Reader::open(&server, "/events?category=a", None);
    let first = reader.next().unwrap();
    assert_eq!(first.event, "t");
    assert_eq!(place(&first.id.into()), format!("{}.1", "07".repeat(16)));
    assert_eq!(serde_json::from_str::<Value>(&first.data).unwrap()["stream"], "a-1");
    assert_eq!(reader.position(), Some(2));
    append(&server, "b-1", 1);
    append(&server, "a-2", 1);
    assert_eq!(reader.position(), Some(4));
    let mut from_end = Reader::open(&server, "/events?from=end", None);
    append(&server, "a-2", 1);
    assert_eq!(from_end.position(), Some(5));
}

#[test]
fn a_client_that_comes_back_gets_everything_once_while_appends_go_on() {
    comes_back_again_and_again(&start());
}

#[test]
fn a_client_that_comes_back_to_a_log_gets_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path(), &Options::default()).unwrap();
    comes_back_again_and_again(&start_with(Arc::new(log), Limits::default()));
}

/// Reads while batches of 1 to 7 events are appended, and breaks off after every few events, within a batch or between two.
fn comes_back_again_and_again(server: &Running) {
    const EVENTS: usize = 600;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut left = EVENTS;
            for size in (1..=7).cycle() {
                let size = left.min(size);
                if size == 0 {
                    break;
                }
                append(server, "a-1", size);
                left -= size;
            }
        });
        let mut seen = Vec::new();
        let mut last_id: Option<String> = None;
        for session in 0.. {
            let mut reader = Reader::open(server, "/events", last_id.as_deref());
            let wanted = (1 + session % 11).min(EVENTS - seen.len());
            seen.extend((0..wanted).map(|_| reader.position().unwrap()));
            last_id = Some(reader.last_id.clone());
            if seen.len() == EVENTS {
                break;
            }
        }
        assert_eq!(seen, (1..=EVENTS as u64).collect::<Vec<_>>());
    });
}

#[test]
fn a_client_may_name_its_last_event_in_the_address_and_the_header_counts_more() {
    let server = start();
    append(&server, "a-1", 4);
    let place = |sequence: u64| format!("{}.{sequence}", "07".repeat(16));
    let mut reader = Reader::open(&server, &format!("/events?from=start&lastEventId={}", place(2)), None);
    assert_eq!(reader.position(), Some(3));
    let path = format!("/events?lastEventId={}", place(1));
    assert_eq!(Reader::open(&server, &path, Some(&place(3))).position(), Some(4));
    server.get(&path).problem(400, "invalid-request");
}

#[test]
fn a_subscription_follows_some_lanes() {
    let server = start();
    append(&server, "a-1", 2);
    append(&server, "b-1", 1);
    let lane = gesta_core::Lane::of("b-1").get();
    assert_ne!(gesta_core::Lane::of("a-1").get(), lane);
    let mut reader = Reader::open(&server, &format!("/events?lanes={lane}"), None);
    assert_eq!(reader.position(), Some(3));
    append(&server, "a-1", 1);
    append(&server, "b-1", 1);
    assert_eq!(reader.position(), Some(5));
}

#[test]
fn all_events_may_be_sent_under_one_name() {
    let server = start();
    append(&server, "a-1", 1);
    let named = Reader::open(&server, "/events?event_name=message", None).next().unwrap();
    assert_eq!(named.event, "message");
    assert_eq!(serde_json::from_str::<Value>(&named.data).unwrap()["type"], "t");
    let wrong = server.get_with("/events?event_name=a%0Ab", &[("accept", "text/event-stream")]);
    assert!(wrong.problem(400, "invalid-request").contains("control character"));
    let wrong = server.get_with("/events?event_name=$error", &[("accept", "text/event-stream")]);
    assert!(wrong.problem(400, "invalid-request").contains("begins with `$`"));
}

#[test]
fn a_client_moves_on_although_nothing_matches() {
    let server = start();
    append(&server, "a-1", 3);
    let mut reader = Reader::open(&server, "/events?category=b", None);
    while reader.last_id.is_empty() {
        let line = reader.line().unwrap();
        if let Some(id) = line.strip_prefix("id: ") {
            reader.last_id = id.to_owned();
        }
    }
    assert_eq!(place(&reader.last_id.into()), format!("{}.3", "07".repeat(16)));
}

#[test]
fn a_quiet_subscription_is_kept_alive_by_comments() {
    let limits = Limits { heartbeat: Duration::from_millis(10), ..Limits::default() };
    let server = start_with(memory(), limits);
    let mut reader = Reader::open(&server, "/events", None);
    let lines = std::iter::from_fn(|| reader.line()).filter(|line| line.starts_with(':'));
    assert_eq!(lines.take(3).count(), 3);
}

/// A store whose reads wait, all but the first one.
struct Slow {
    store: Arc<MemoryStore>,
    begun: AtomicU64,
    permits: Semaphore,
}

impl StoreLayer for Slow {
    fn inner(&self) -> &dyn EventStore {
        &*self.store
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        let is_first = self.begun.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if !is_first {
                self.permits.acquire().await.unwrap().forget();
            }
            self.store.read(read).await
        })
    }
}

#[test]
fn a_read_that_is_slower_than_the_heartbeat_is_not_begun_again() {
    let slow = Slow { store: memory(), begun: AtomicU64::new(0), permits: Semaphore::new(0) };
    let slow = Arc::new(slow);
    let limits = Limits { heartbeat: Duration::from_millis(10), ..Limits::default() };
    let server = start_with(Arc::clone(&slow) as _, limits);
    append(&server, "a-1", 1);
    let mut reader = Reader::open(&server, "/events?from=start", None);
    let comments = std::iter::from_fn(|| reader.line()).filter(|line| line.starts_with(':'));
    assert_eq!(comments.take(3).count(), 3);
    assert_eq!(slow.begun.load(Ordering::SeqCst), 2, "the check of the place, and one page");
    slow.permits.add_permits(100);
    assert!(std::iter::from_fn(|| reader.line()).any(|line| line.starts_with("data: ")));
}

#[test]
fn a_subscription_that_cannot_be_opened_is_refused_with_a_status() {
    let server = start();
    append(&server, "a-1", 1);
    let open = |path: &str, headers: &[(&str, &str)]| {
        server.get_with(path, &[&[("accept", "text/event-stream")], headers].concat())
    };
    open("/events?limit=3", &[]).problem(400, "invalid-request");
    open("/events?direction=backward", &[]).problem(400, "invalid-request");
    open("/events", &[("last-event-id", "17")]).problem(400, "invalid-request");
    let ahead = format!("{}.99", "07".repeat(16));
    open("/events", &[("last-event-id", &ahead)]).problem(409, "checkpoint-ahead");
    let foreign = format!("{}.1", "09".repeat(16));
    open(&format!("/events?from={foreign}"), &[]).problem(400, "foreign-checkpoint");
}

#[test]
fn the_number_of_subscriptions_is_bounded() {
    let server = start_with(memory(), Limits { subscriptions_max: 1, ..Limits::default() });
    let reader = Reader::open(&server, "/events", None);
    let refused = server.get_with("/events", &[("accept", "text/event-stream")]);
    refused.problem(503, "overloaded");
    assert_eq!(refused.header("retry-after"), "1");
    drop(reader);
}

#[test]
fn a_client_that_does_not_read_does_not_slow_others() {
    let server = start();
    let large = format!("[{}]", vec![event("t", &format!("\"{}\"", "x".repeat(1 << 20))); 32].join(","));
    server.post("/streams/large-1", &large);
    let stalled = Reader::open(&server, "/events", None);
    let mut lively = Reader::open(&server, "/events?from=end", None);
    for expected in 33..40 {
        append(&server, "a-1", 1);
        assert_eq!(lively.position(), Some(expected));
    }
    drop(stalled);
}

#[test]
fn subscriptions_end_when_the_server_stops() {
    let server = start();
    let mut reader = Reader::open(&server, "/events", None);
    assert_eq!(reader.line().as_deref(), Some("retry: 1000"));
    drop(server);
    assert_eq!(reader.next(), None);
}

/// A log that is put back from an older copy and goes on differently, and the server on it.
fn put_back() -> (Vec<String>, Running) {
    let store = memory();
    let before = start_with(store.clone(), Limits::default());
    append(&before, "a-1", 1);
    let copy = store.copy();
    append(&before, "a-1", 2);
    let mut reader = Reader::open(&before, "/events?category=a", None);
    let ids = std::iter::from_fn(|| reader.next()).take(3).map(|event| event.id).collect::<Vec<_>>();
    drop(before);
    let after = start_with(Arc::new(copy), Limits::default());
    append(&after, "a-1", 5);
    (ids, after)
}

#[test]
fn a_client_that_saw_events_which_were_lost_is_told() {
    let (ids, server) = put_back();
    let follow =
        |id: &str| server.get_with("/events", &[("accept", "text/event-stream"), ("last-event-id", id)]);
    for id in &ids[1..] {
        let refused = follow(id);
        assert!(refused.problem(409, "diverged").contains("another history"), "{refused:?}");
        let (sent, found) = (refused.json()["checkpoint"].clone(), refused.json()["found"].clone());
        assert_eq!((sent.as_str().unwrap(), place(&sent)), (id.as_str(), place(&found)));
        assert_ne!(sent, found, "the same place, with another mark");
        server.get(&format!("/events?from={id}")).problem(409, "diverged");
        server.get(&format!("/streams/a-1?until={id}")).problem(409, "diverged");
        let batch = format!(
            r#"{{"events":[{{"stream":"b-1","type":"t","data":1}}],
                "conditions":[{{"failIfAny":[{{"types":["x"]}}],"after":"{id}"}}]}}"#
        );
        server.post("/batches", &batch).problem(409, "diverged");
    }
}

#[test]
fn a_client_that_saw_no_lost_event_goes_on() {
    let (ids, server) = put_back();
    let mut reader = Reader::open(&server, "/events", Some(&ids[0]));
    let ids = std::iter::from_fn(|| reader.next()).take(5).map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids.len(), 5);
}
