//! Damage that hides or loses events: the server claims nothing that the store does not know.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta::App;
use gesta_core::{
    Batch, BoxFuture, EventId, EventStore, MemoryStore, NewEvent, Page, Position, Read, ReadError, Select,
    StoreLayer, StreamInfo, StreamName, Timestamp, When,
};
use gesta_log::{LogStore, Options, Scrub};
use gesta_server::{Limits, Server};
use serde_json::{Value, json};

use crate::harness::{Running, event, memory, serve, start_with};

/// A store in memory that says of every stream that damage may hide its end.
struct Damaged(Arc<MemoryStore>);

impl Damaged {
    async fn lost<T>(&self) -> Result<T, ReadError> {
        let position = |sequence| Position { partition: 0, sequence };
        let resume = self.0.locate(When::Start).await?;
        let location = "a.log, byte 4096".to_owned();
        Err(ReadError::DataLoss { location, from: position(2), to: position(3), resume })
    }
}

impl StoreLayer for Damaged {
    fn inner(&self) -> &dyn EventStore {
        &*self.0
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        match &read.select {
            Select::Stream { name, .. } if name.as_str() == "lost-1" => Box::pin(self.lost()),
            _ => self.0.read(read),
        }
    }

    fn stream(&self, _: StreamName) -> BoxFuture<'_, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(self.lost())
    }
}

fn check(server: &Running, path: &str, events: usize) {
    for headers in [&[][..], &[("if-none-match", "\"0\"")]] {
        let answer = server.get_with(path, headers);
        assert_eq!((answer.status, answer.header("etag")), (200, ""), "{path}: {answer:?}");
        let page = answer.json();
        assert_eq!(page["lastVersion"], Value::Null, "{page}");
        assert_eq!(page["events"].as_array().unwrap().len(), events, "{page}");
    }
}

#[test]
fn a_stream_whose_end_may_be_hidden_has_no_last_version_and_no_entity_tag() {
    let server = start_with(Arc::new(Damaged(memory())), Limits::default());
    assert_eq!(server.post("/streams/s-1", &event("t", "1")).status, 201);
    check(&server, "/streams/s-1", 1);
    check(&server, "/streams/s-1?direction=backward", 1);
    check(&server, "/streams/s-1?from=7", 0);
}

#[test]
fn events_that_are_lost_are_answered_with_where_they_were_and_where_to_go_on() {
    let server = start_with(Arc::new(Damaged(memory())), Limits::default());
    let lost = server.get("/streams/lost-1");
    assert!(lost.problem(500, "data-loss").contains("events from position 2 to 3 are damaged"));
    let problem = lost.json();
    assert_eq!(
        (&problem["from"], &problem["to"], &problem["retry"]),
        (&json!(2), &json!(3), &json!("never"))
    );
    assert_eq!(problem["resume"], format!("{}.0", "07".repeat(16)));
}

#[test]
fn a_history_whose_end_may_be_hidden_has_no_last_version_and_no_entity_tag() {
    let app = Arc::new(App::new("nothing"));
    let server = serve(Server::builder(Arc::new(Damaged(memory()))).app(app).build());
    assert_eq!(server.post("/streams/s-1", &event("t", "1")).status, 201);
    check(&server, "/histories/s/1", 1);
}

const EVENTS: u64 = 40;

/// Makes a log of several segments in the folder. `when_half` runs in the middle of the appends.
fn log_of_segments(folder: &Path, when_half: impl Fn()) {
    let options = Options { segment_size_bytes: 64 << 10, scrub: Scrub::Off, ..Options::default() };
    let log = LogStore::open(folder, &options).unwrap();
    for number in 1..=EVENTS {
        let (stream, kind) = ("account-42".parse().unwrap(), "account.opened".parse().unwrap());
        let data = format!("\"{}\"", "1".repeat(5_000));
        let id = EventId::from_u128(number.into());
        let event = NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), data);
        log.append_blocking(Batch::new([event])).unwrap();
        if number == EVENTS / 2 {
            when_half();
        }
    }
}

/// The last segment of the log that holds the text of an event.
fn last_used_segment(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.join("segments")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    paths.sort();
    let is_used = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(10).any(|window| window == b"account-42")
    };
    paths.into_iter().rfind(is_used).unwrap()
}

fn shorten(path: &Path, len: u64) {
    File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// Reads pages of the log, and checks that they lead to `data-loss` and never claim to be the last.
fn check_loss_at_the_end(folder: &Path, what: &str) {
    let log = LogStore::open(folder, &Options { scrub: Scrub::Off, ..Options::default() }).unwrap();
    let server = start_with(Arc::new(log), Limits::default());
    let mut path = "/events?limit=7".to_owned();
    let mut last = 0;
    let lost = loop {
        let answer = server.get(&path);
        if answer.status != 200 {
            break answer;
        }
        let page = answer.json();
        assert_eq!(page["end"], false, "{what}: {page}");
        last = page["events"]
            .as_array()
            .unwrap()
            .last()
            .map_or(last, |event| event["position"].as_u64().unwrap());
        path = page["next"].as_str().unwrap().to_owned();
    };
    lost.problem(500, "data-loss");
    assert!(0 < last && last < EVENTS, "{what}: the intact events are served");
    assert_eq!(lost.json()["from"], last + 1, "{what}");
}

#[test]
fn a_log_that_lost_its_end_answers_data_loss_and_never_that_it_ends_there() {
    type Damage = fn(&Path);
    let kinds: [(&str, Damage); 4] = [
        ("a shorter last segment", |folder| shorten(&last_used_segment(folder), 20_000)),
        ("an empty last segment", |folder| shorten(&last_used_segment(folder), 0)),
        ("a missing last segment", |folder| fs::remove_file(last_used_segment(folder)).unwrap()),
        ("a stale manifest", |folder| fs::rename(folder.join("kept"), folder.join("manifest")).unwrap()),
    ];
    for (what, damage) in kinds {
        let folder = tempfile::tempdir().unwrap();
        let keep = || {
            fs::copy(folder.path().join("manifest"), folder.path().join("kept")).unwrap();
        };
        log_of_segments(folder.path(), keep);
        damage(folder.path());
        check_loss_at_the_end(folder.path(), what);
    }
}
