//! `gesta consumers`, on a server that is killed meanwhile.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::data::file;
use crate::harness::{Server, gesta, serve};
use crate::hosts::get;
use crate::served::OWNERS;

/// Asks until the consumer is in this state. Its thread needs a moment.
fn until(server: &Server, state: &str) -> String {
    let patience = Instant::now() + Duration::from_secs(120);
    loop {
        let shown = gesta(["consumers", "show", "owners", "--url", &server.url]).ok();
        if shown.contains(&format!("owners  view  {state}  ")) {
            return shown;
        }
        assert!(Instant::now() < patience, "not `{state}`: {shown}");
    }
}

#[test]
fn a_pause_outlives_a_server_that_is_killed() {
    let folder = TempDir::new().unwrap();
    let (log, views) = (folder.path().join("log"), folder.path().join("views"));
    std::fs::create_dir(&views).unwrap();
    file(&views, "owners.sql", OWNERS);
    let arguments = ["--dir", log.to_str().unwrap(), "--views", views.to_str().unwrap()];
    let server = serve(&arguments);
    let on =
        |server: &Server, arguments: &[&str]| gesta(arguments.iter().copied().chain(["--url", &server.url]));
    on(&server, &["append", "account-1", "opened", r#"{"owner": "Ann"}"#]).ok();
    until(&server, "live");
    let paused = on(&server, &["consumers", "pause", "owners"]).ok();
    assert!(paused.contains("paused by anonymous since 2"), "{paused}");
    // Killed, without any time to write.
    drop(server);
    let server = serve(&arguments);
    on(&server, &["append", "account-2", "opened", r#"{"owner": "Bob"}"#]).ok();
    assert!(until(&server, "paused").contains("paused by anonymous since 2"));
    let list = on(&server, &["consumers", "list"]).ok();
    assert_eq!(list.lines().count(), 1, "{list}");
    let restarted = on(&server, &["consumers", "restart", "owners"]).ok();
    assert!(restarted.contains("paused by anonymous"), "{restarted}");
    on(&server, &["consumers", "resume", "owners"]).ok();
    let live = until(&server, "live");
    assert_eq!(live, "owners  view  live  0 events, 0.0 s behind\n");
    let json = on(&server, &["consumers", "list", "--json"]).ok();
    assert!(json.contains(r#""lagEvents":0"#), "{json}");
    let unknown = on(&server, &["consumers", "pause", "other"]).failed(1);
    assert!(unknown.contains("there is no consumer `other`"), "{unknown}");
    let said = gesta(["consumers", "list", "--dir", "x"]).failed(2);
    assert!(said.contains("on a server, not on the files"), "{said}");
    assert!(gesta(["consumers", "list"]).failed(2).contains("no server given"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_file_of_a_view_is_reloaded_and_rolled_back_without_a_restart() {
    let folder = TempDir::new().unwrap();
    let (log, views) = (folder.path().join("log"), folder.path().join("views"));
    std::fs::create_dir(&views).unwrap();
    file(&views, "owners.sql", OWNERS);
    let server = serve(&["--dir", log.to_str().unwrap(), "--views", views.to_str().unwrap()]);
    let on = |arguments: &[&str]| gesta(arguments.iter().copied().chain(["--url", &server.url]));
    on(&["append", "account-1", "opened", r#"{"owner": "Ann"}"#]).ok();
    let patience = Instant::now() + Duration::from_secs(120);
    let until = |wanted: &str| loop {
        let shown = on(&["view", "status"]).ok();
        if shown.contains(wanted) {
            break shown;
        }
        assert!(Instant::now() < patience, "not `{wanted}`: {shown}");
    };
    until("owners  live");
    let none = on(&["view", "rollback", "owners"]).failed(1);
    assert!(none.contains("no version before the present one is kept"), "{none}");
    // An error leaves the definition before.
    file(&views, "owners.sql", "-- dialect: sqlite\nno statement;\n-- on opened\n-- ignore");
    let refused = on(&["view", "reload"]).failed(1);
    assert!(refused.contains("1 definition not taken"), "{refused}");
    assert!(until("runs on with the definition before").contains("owners.sql:2"));
    assert_eq!(on(&["consumers", "list"]).ok().matches("not taken").count(), 1);
    // Another definition, and a new view that the signal brings.
    file(&views, "owners.sql", &OWNERS.replace("-- dialect: sqlite", "-- dialect: sqlite\n-- version: 2"));
    assert_eq!(on(&["view", "reload"]).ok(), "owners  changed\n");
    until("is kept");
    file(&views, "more.sql", OWNERS);
    server.signal(rustix::process::Signal::HUP);
    until("more  live");
    assert_eq!(on(&["consumers", "list"]).ok().lines().count(), 2);
    let done = on(&["view", "rollback", "owners"]).ok();
    assert!(done.starts_with("rolled back: version "), "{done}");
    until("rolled back from");
    assert!(on(&["view", "drop-old", "owners"]).ok().contains("is removed"));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_stream_that_a_view_parks_is_shown_replayed_and_skipped() {
    let folder = TempDir::new().unwrap();
    let (log, views) = (folder.path().join("log"), folder.path().join("views"));
    std::fs::create_dir(&views).unwrap();
    let text = "-- dialect: sqlite\n-- on-error: park\ncreate table amounts (account text, amount integer check (amount > 0));
        -- on deposited\ninsert into amounts values ($entity, :amount);";
    file(&views, "amounts.sql", text);
    file(&views, "strict.sql", &text.replace("-- on-error: park\n", ""));
    let server = serve(&["--dir", log.to_str().unwrap(), "--views", views.to_str().unwrap()]);
    let on = |arguments: &[&str]| gesta(arguments.iter().copied().chain(["--url", &server.url]));
    for amount in ["0", "1"] {
        on(&["append", "account-1", "deposited", &format!(r#"{{"amount": {amount}}}"#)]).ok();
    }
    on(&["append", "account-2", "deposited", r#"{"amount": 5}"#]).ok();
    let sum = || on(&["view", "amounts", "select sum(amount) as sum from amounts"]).ok();
    let patience = Instant::now() + Duration::from_secs(120);
    while sum() != "sum\n5\n" {
        assert!(Instant::now() < patience, "{}", on(&["view", "status"]).ok());
    }
    let warned = on(&["view", "amounts", "select 1", "--json"]);
    assert!(
        warned.code == 0 && warned.err.starts_with("warning: the rows of view `amounts` lack"),
        "{warned:?}"
    );
    let strict = || on(&["view", "strict", "select count(*) as n from amounts"]);
    while !strict().err.contains("the view `strict` has stopped, so its rows are out of date") {
        assert!(Instant::now() < patience, "{:?}", strict());
    }
    assert_eq!((strict().code, strict().out.as_str()), (1, "n\n0\n"));
    assert!(on(&["view", "status"]).ok().contains("degraded: 1 stream parked (account-1)"));
    assert!(on(&["consumers", "list"]).ok().contains("1 stream parked"));
    let listed = on(&["view", "parked", "amounts"]).ok();
    assert!(listed.starts_with("account-1  from version 0: event `deposited`"), "{listed}");
    assert!(on(&["view", "parked", "amounts", "account-1"]).ok().ends_with("  version 1  deposited\n"));
    assert!(on(&["view", "replay", "amounts"]).failed(2).contains("no stream given"));
    let again = on(&["view", "replay", "amounts", "--all"]).failed(1);
    assert!(again.contains("1 stream parked again"), "{again}");
    let skip = ["view", "skip", "amounts", "account-1", "--through", "0", "--reason", "a test"];
    assert_eq!(on(&skip).ok(), "1 stream, 1 event applied\n");
    assert_eq!(sum(), "sum\n6\n");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_log_is_served_without_a_key_value_store_that_is_damaged() {
    let folder = TempDir::new().unwrap();
    let (log, views) = (folder.path().join("log"), folder.path().join("views"));
    std::fs::create_dir(&views).unwrap();
    file(&views, "owners.sql", OWNERS);
    let arguments = ["--dir", log.to_str().unwrap(), "--views", views.to_str().unwrap()];
    assert_eq!(serve(&arguments).stop(), Some(0));
    std::fs::write(log.join("state.db"), "no database at all, but long enough to look like one, really")
        .unwrap();
    let server = serve(&arguments);
    until(&server, "live");
    let refused = gesta(["consumers", "pause", "owners", "--url", &server.url]).failed(1);
    assert!(refused.contains("the change could not be kept"), "{refused}");
    let (status, problem) = get(&server.url, "/readyz?strict");
    let said = problem["detail"].as_str().unwrap();
    assert!(status == 503 && said.contains("the list of groups cannot be read"), "{problem}");
    assert_eq!(get(&server.url, "/readyz").0, 200);
    until(&server, "live");
    assert_eq!(server.stop(), Some(0));
}
