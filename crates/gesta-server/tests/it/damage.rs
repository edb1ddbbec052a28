//! Streams whose last events damage may hide: what the store cannot know, the server does not claim.

use std::sync::Arc;

use gesta::App;
use gesta_core::{
    AppendError, Appended, Batch, BoxFuture, Capabilities, Checkpoint, CommandKey, EventStore, Listing,
    MemoryStore, Page, Position, Read, ReadError, Select, StreamInfo, StreamName, StreamPage, When,
};
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

impl EventStore for Damaged {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        self.0.append(batch)
    }

    fn repeat_of(
        &self,
        command: CommandKey,
        near: StreamName,
    ) -> BoxFuture<'_, Result<Option<Appended>, AppendError>> {
        self.0.repeat_of(command, near)
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

    fn streams(&self, listing: Listing) -> BoxFuture<'_, Result<StreamPage, ReadError>> {
        self.0.streams(listing)
    }

    fn locate(&self, at: When) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.0.locate(at)
    }

    fn wait_past(&self, after: Checkpoint) -> BoxFuture<'_, Result<Checkpoint, ReadError>> {
        self.0.wait_past(after)
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
