//! `gesta serve --publish`: what operators see and do, with a webhook.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data::file;
use crate::harness::{Server, gesta, serve};
use crate::hosts::cluster;

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A webhook that answers by one status after the other, then 200. Returns its URL and the events that it got.
fn webhook(mut answers: Vec<u16>) -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut reader = BufReader::new(connection.unwrap());
            let lines = reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let length =
                lines.filter_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let Some(length) = length.last() else { continue };
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = if answers.is_empty() { 200 } else { answers.remove(0) };
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            if tell.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, told)
}

fn publishers(folder: &Path, url: &str) -> String {
    file(folder, "secret", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\n");
    let text = format!("[publisher.orders]\nto = \"{url}\"\nfrom = \"start\"\nsecret_file = \"secret\"\n");
    file(folder, "publish.toml", &text)
}

/// Appends an event without content.
pub(crate) fn append(server: &Server, stream: &str) {
    gesta(["append", stream, "order.placed", "{}", "--url", &server.url]).ok();
}

/// Asks until the group of the publisher `orders` shows these words.
pub(crate) fn until(server: &Server, words: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let shown = gesta(["groups", "show", "publish-orders", "--url", &server.url]).ok();
        if shown.contains(words) {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "not `{words}`: {shown}");
    }
}

#[test]
fn a_publisher_is_a_group_that_operators_see_pause_and_resume_and_that_goes_on_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let (url, events) = webhook(vec![410, 422]);
    let log = folder.path().join("log").display().to_string();
    let file = publishers(folder.path(), &url);
    let arguments = ["--dir", log.as_str(), "--publish", &file];
    let server = serve(&arguments);
    let on = |server: &Server, arguments: &[&str]| {
        gesta(["groups"].iter().chain(arguments).copied().chain(["--url", &server.url])).ok()
    };
    append(&server, "order-1");
    until(&server, "it answered 410");
    let strict = ureq::get(format!("{}/readyz?strict", server.url));
    let refused = strict.config().http_status_as_error(false).build().call().unwrap();
    assert_eq!(refused.status(), 503);
    let refused = refused.into_body().read_to_string().unwrap();
    let refused = serde_json::from_str::<Value>(&refused).unwrap();
    assert_eq!(refused["groups"], json!(["publish-orders"]), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("it answered 410"), "{refused}");
    assert!(on(&server, &["list"]).contains("publish-orders"));
    on(&server, &["resume", "publish-orders"]);
    until(&server, "1 parked");
    assert!(on(&server, &["parked", "publish-orders"]).contains("it answered 422"));
    on(&server, &["replay", "publish-orders", "order-1"]);
    let seen = [(); 3].map(|()| events.recv_timeout(PATIENCE).unwrap());
    assert!(seen.iter().all(|event| event["id"] == seen[0]["id"]), "the same event, until it was confirmed");
    let metrics =
        ureq::get(format!("{}/metrics", server.url)).call().unwrap().into_body().read_to_string().unwrap();
    assert!(metrics.contains("gesta_group_members{group=\"publish-orders\"} 1"), "{metrics}");
    on(&server, &["pause", "publish-orders"]);
    append(&server, "order-2");
    assert_eq!(server.stop(), Some(0));
    let server = serve(&arguments);
    on(&server, &["resume", "publish-orders"]);
    let event = events.recv_timeout(PATIENCE).unwrap();
    assert_eq!(event["subject"], "order-2", "what was confirmed does not come again");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_publisher_sends_what_is_in_all_three_partitions_of_a_store_on_jetstream() {
    let Some(store) = cluster() else { return };
    let folder = TempDir::new().unwrap();
    let (url, events) = webhook(Vec::new());
    let file = publishers(folder.path(), &url);
    let store = format!("{store}?partitions=3&copy={}", folder.path().join("copy").display());
    let arguments = ["--store", store.as_str(), "--publish", &file];
    let server = serve(&arguments);
    let streams = (0..12).map(|number| format!("order-{number}")).collect::<BTreeSet<_>>();
    streams.iter().for_each(|stream| append(&server, stream));
    let read = gesta(["read", "--all", "--url", &server.url]).ok();
    assert!(["1/", "2/"].iter().all(|partition| read.contains(partition)), "{read}");
    let mut seen = BTreeSet::new();
    while seen != streams {
        let event = events.recv_timeout(PATIENCE).unwrap();
        seen.insert(event["subject"].as_str().unwrap().to_owned());
    }
    // A change by an operator is durable with all that was confirmed before it.
    for what in ["pause", "resume"] {
        gesta(["groups", what, "publish-orders", "--url", &server.url]).ok();
    }
    assert_eq!(server.stop(), Some(0));
    let server = serve(&arguments);
    append(&server, "order-12");
    let event = events.recv_timeout(PATIENCE).unwrap();
    assert_eq!(event["subject"], "order-12", "what was confirmed does not come again");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_file_that_is_wrong_ends_the_start_and_is_named() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log").display().to_string();
    let file = publishers(folder.path(), "http://user:password@127.0.0.1/hook");
    let ran = gesta(["serve", "--listen", "127.0.0.1:0", "--dir", &log, "--publish", &file]);
    let error = ran.failed(2);
    assert!(error.contains("[publisher.orders]: `to` holds a user or a password"), "{error}");
    assert!(!Path::new(&log).exists(), "no log is made");
}
