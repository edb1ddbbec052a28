//! Gesta over HTTP: `gesta serve` as a child process, and a minimal client with one kept connection each.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{DATA, Event};
use crate::gesta::{stream_name, tag_name};
use crate::program::gesta_program;
use crate::rival::{BoxFuture, Client, Guard, Rival, ready};
use crate::usage::Process;

/// A server over a folder; it is killed when dropped.
pub struct GestaServer {
    process: Child,
    address: String,
}

impl GestaServer {
    /// Starts a server over a folder on a free port.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let mut process = Command::new(gesta_program())
            .args(["serve", "--listen", "127.0.0.1:0", "--dir"])
            .arg(folder)
            .env("GESTA_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut said = String::new();
        BufReader::new(process.stdout.take().expect("an output")).read_line(&mut said).expect("a line");
        let (_, address) = said.trim().rsplit_once("http://").expect("it says where it listens");
        Self { process, address: address.to_owned() }
    }

    /// The address, for clients of other kinds.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for GestaServer {
    fn drop(&mut self) {
        // It may have exited already. Then its clients have reported errors.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Rival for GestaServer {
    fn process(&self) -> Process {
        Process::Other(self.process.id())
    }

    fn takes(&self, _guard: Guard) -> bool {
        true
    }

    fn client(&self, number: u64) -> Box<dyn Client> {
        let connection = TcpStream::connect(&self.address).expect("a connection");
        connection.set_nodelay(true).expect("an option");
        Box::new(HttpClient { connection: BufReader::new(connection), number, seen: None })
    }
}

struct HttpClient {
    connection: BufReader<TcpStream>,
    number: u64,
    /// The checkpoint of its last append.
    seen: Option<String>,
}

/// The part of an append's answer that a client needs.
#[derive(Deserialize)]
struct Appended {
    checkpoint: String,
}

/// A page whose events are parsed member by member.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow)]
    events: Vec<Got<'a>>,
    scanned_to: &'a str,
    end: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a client reads more of an event than its data")]
struct Got<'a> {
    id: &'a str,
    stream: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    version: u64,
    position: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Client for HttpClient {
    fn append<'a>(&'a mut self, events: &'a [Event], guard: Guard) -> BoxFuture<'a, ()> {
        let body = self.body_of(events, guard);
        let answer = self.call("POST", "/batches", &body);
        let appended: Appended = serde_json::from_slice(&answer).expect("the answer to an append");
        self.seen = Some(appended.checkpoint);
        ready(())
    }

    fn read_all(&mut self) -> BoxFuture<'_, u64> {
        let (mut from, mut count) = ("start".to_owned(), 0);
        loop {
            let answer = self.call("GET", &format!("/events?limit=10000&from={from}"), "");
            let page: Page<'_> = serde_json::from_slice(&answer).expect("a page");
            count += events_in(&page);
            if page.end {
                return ready(count);
            }
            page.scanned_to.clone_into(&mut from);
        }
    }

    fn read_stream(&mut self, stream: u64) -> BoxFuture<'_, u64> {
        let name = stream_name(stream);
        let mut count = 0;
        loop {
            let answer = self.call("GET", &format!("/streams/{name}?limit=10000&from={count}"), "");
            let page: Page<'_> = serde_json::from_slice(&answer).expect("a page");
            count += events_in(&page);
            if page.end {
                return ready(count);
            }
        }
    }
}

fn events_in(page: &Page<'_>) -> u64 {
    assert!(page.events.iter().all(|event| event.data.get().len() == DATA.len()), "events are whole");
    page.events.len() as u64
}

impl HttpClient {
    fn body_of(&self, events: &[Event], guard: Guard) -> String {
        let data = std::str::from_utf8(&DATA).expect("the data is JSON");
        let mut body = String::from(r#"{"events":["#);
        for (at, event) in events.iter().enumerate() {
            let (comma, id) = (if at == 0 { "" } else { "," }, gesta_core::EventId::from_u128(event.id));
            let stream = stream_name(event.stream);
            let tags = event.tag.map_or_else(String::new, |tag| format!(r#""{}""#, tag_name(tag)));
            let written = write!(
                body,
                r#"{comma}{{"id":"{id}","stream":"{stream}","type":"bench.happened","data":{data},"tags":[{tags}]}}"#
            );
            written.expect("a string takes everything");
        }
        body.push(']');
        if guard == Guard::OwnTag {
            let after = self.seen.as_ref().map_or_else(|| "null".to_owned(), |seen| format!(r#""{seen}""#));
            let tag = tag_name(self.number);
            let condition =
                format!(r#","conditions":[{{"failIfAny":[{{"tags":["{tag}"]}}],"after":{after}}}]"#);
            body.push_str(&condition);
        }
        body.push('}');
        body
    }

    /// Sends a request and returns the body of its answer, which must be a success.
    fn call(&mut self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.connection.get_mut().write_all(request.as_bytes()).expect("a request");
        let status = self.line();
        let mut length = None;
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            let value = line.strip_prefix("content-length:");
            length = value.map(|value| value.trim().parse().expect("a length")).or(length);
        }
        let mut answer = vec![0; length.unwrap_or_else(|| panic!("an answer without its length: {status}"))];
        self.connection.read_exact(&mut answer).expect("an answer");
        assert!(status.starts_with("HTTP/1.1 2"), "{status}: {}", String::from_utf8_lossy(&answer));
        answer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.connection.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}
