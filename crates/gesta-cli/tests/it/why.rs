//! `gesta why`: the causes and effects of an event.

use std::path::Path;

use gesta_core::{Batch, EventId, EventStore, NewEvent, Tag, Timestamp};
use gesta_log::{LogStore, Options};
use tempfile::TempDir;

use crate::harness::{Ran, gesta, serve};

/// An event, and the number of the event that caused it.
const EVENTS: [(&str, u128, Option<u128>); 5] = [
    ("order-7", 1, None),
    ("stock-pen", 2, Some(1)),
    ("mail-7", 3, Some(1)),
    ("stock-pen", 4, Some(2)),
    ("mail-8", 2, None),
];

fn id(number: u128) -> String {
    EventId::from_u128(number).to_string()
}

fn log(folder: &TempDir) -> String {
    let path = folder.path().join("log");
    let log = LogStore::open(Path::new(&path), &Options::default()).unwrap();
    for (stream, number, cause) in EVENTS {
        let (stream, kind) = (stream.parse().unwrap(), "happened".parse().unwrap());
        let mut event =
            NewEvent::json(EventId::from_u128(number), stream, kind, Timestamp::from_nanos(0), "{}");
        event.tags.extend(cause.map(|cause| Tag::from_parts("$causation", &id(cause)).unwrap()));
        pollster::block_on(log.append(Batch::new([event]))).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

fn why(on: &[&str], event: u128, more: &[&str]) -> Ran {
    gesta([&["why", id(event).as_str()], on, more].concat())
}

#[test]
fn the_tree_of_causes_and_effects_is_the_same_from_a_folder_and_from_a_server() {
    let folder = TempDir::new().unwrap();
    let log = log(&folder);
    let lines = [
        "no cause is named",
        "* 1  1970-01-01T00:00:00Z  order-7@0  happened  {}",
        "    2  1970-01-01T00:00:00Z  stock-pen@0  happened  {}",
        "      4  1970-01-01T00:00:00Z  stock-pen@1  happened  {}",
        "    3  1970-01-01T00:00:00Z  mail-7@0  happened  {}",
        "",
    ];
    let expected = lines.join("\n");
    assert_eq!(why(&["--dir", &log], 1, &[]).ok(), expected);
    let server = serve(&["--dir", &log]);
    assert_eq!(why(&["--url", &server.url], 1, &[]).ok(), expected);
    let json = why(&["--url", &server.url], 2, &["--stream", "stock-pen", "--json"]).ok();
    let lines =
        json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>();
    assert_eq!(lines[0]["causes"][0]["id"], id(1));
    assert_eq!(lines[1]["effects"][0]["event"]["id"], id(4));
}

#[test]
fn an_event_that_is_not_there_or_not_alone_is_an_error_that_says_so() {
    let folder = TempDir::new().unwrap();
    let log = log(&folder);
    let on = ["--dir", log.as_str()];
    let nothing = why(&on, 9, &[]).failed(1);
    assert!(nothing.contains(&format!("no event has the id {}", id(9))), "{nothing}");
    let several = why(&on, 2, &[]).failed(1);
    for part in ["events of 2 streams have this id", "stock-pen", "mail-8", "--stream"] {
        assert!(several.contains(part), "{several}");
    }
    let several = why(&on, 4, &[]).ok();
    assert!(several.starts_with("caused by event"), "{several}");
    assert!(
        several.lines().next().unwrap().ends_with("of one of these streams: `stock-pen`, `mail-8`"),
        "{several}"
    );
    gesta(["why", "seven", "--dir", &log]).failed(2);
}
