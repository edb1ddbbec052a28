//! A log whose index is built beside it: what answers meanwhile, and what says that it does not.

use std::path::Path;
use std::sync::Arc;

use gesta_core::{Batch, EventId, NewEvent, Timestamp};
use gesta_log::sim::{Machine, open_unindexed};
use gesta_log::{LogStore, Options};
use gesta_server::Limits;
use serde_json::json;

use crate::harness::{event, place, start_with};

const EVENTS: u64 = 300;

/// A log without an index that is large enough for that to be built beside it, when the test says so.
fn without_index() -> Arc<LogStore> {
    let machine = Machine::new(1);
    let options = Options { segment_size_bytes: 64 << 10, index_run_bytes: 1 << 10, ..Options::default() };
    let log = open_unindexed(&machine, &options).unwrap();
    for number in 1..=EVENTS {
        let (stream, kind) = ("account-42".parse().unwrap(), "account.opened".parse().unwrap());
        let id = EventId::from_u128(number.into());
        let data = format!("\"{}\"", "1".repeat(500));
        let event = NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), data);
        log.append_blocking(Batch::new([event])).unwrap();
        log.keep_inline();
    }
    drop(log);
    let is_index = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("index"));
    machine.paths().iter().filter(|path| is_index(path)).for_each(|path| machine.unlink(path));
    Arc::new(open_unindexed(&machine, &options).unwrap())
}

#[test]
fn a_server_is_ready_once_the_index_of_its_log_is_there_and_says_how_far_it_is() {
    let log = without_index();
    let server = start_with(Arc::clone(&log) as _, Limits::default());
    let progress = format!("0 of {EVENTS} events are done");
    let refusals = [
        server.get("/readyz"),
        server.get("/streams/account-42"),
        server.post("/streams/account-42", &event("account.closed", "1")),
    ];
    for refusal in refusals {
        let said = refusal.problem(503, "unavailable");
        assert!(said.contains("the index is being rebuilt") && said.contains(&progress), "{said}");
        assert_eq!((refusal.header("retry-after"), &refusal.json()["retry"]), ("1", &json!("after-pause")));
    }
    assert_eq!(server.get("/livez").json(), json!({"status": "live"}));
    assert_eq!(server.get("/events?limit=2").json()["events"].as_array().unwrap().len(), 2);

    log.index_inline().unwrap();
    let ready = server.get("/readyz").json();
    assert_eq!(ready["status"], "ready");
    assert_eq!(place(&ready["head"]), format!("{}.{EVENTS}", log.id()));
    assert_eq!(server.get("/streams/account-42?limit=2").json()["lastVersion"], EVENTS - 1);
}
