//! Snapshots of a host: taken beside the log, reported, listed and removed.

use std::fmt::Write;

use tempfile::TempDir;

use crate::data::file;
use crate::harness::gesta;
use crate::hosts::{bank, cluster, schema};
use crate::readme::demo;

/// Events of one account: opened, then deposits.
fn account(id: &str, events: u32) -> String {
    let mut text = String::new();
    for number in 0..events {
        let (kind, data) =
            if number == 0 { ("opened", r#"{"owner":"Ann"}"#) } else { ("deposited", r#"{"amount":1}"#) };
        writeln!(
            text,
            r#"{{"specversion":"1.0","id":"{id}-{number}","source":"urn:test","type":"bank.account.{kind}","subject":"account-{id}","time":"2024-01-01T00:00:00Z","data":{data}}}"#
        )
        .unwrap();
    }
    text
}

fn get(url: &str) -> String {
    ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap()
}

#[test]
fn snapshots_of_a_host_are_taken_beside_the_log_and_can_be_reported_listed_and_removed() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("demo").to_str().unwrap().to_owned();
    let events = format!("{}{}", account("ann", 1_200), account("bob", 3));
    gesta(["import", &file(folder.path(), "events.jsonl", &events), "--dir", &dir]).ok();
    let server = demo(&dir);
    let state = get(&format!("{}/states/account/ann", server.url));
    assert!(state.contains("\"balance\":1199"), "{state}");
    get(&format!("{}/states/account/bob", server.url));
    let taken = |line: &str| line.starts_with("gesta_snapshot_taken_total{") && line.ends_with(" 1");
    while !get(&format!("{}/metrics", server.url)).lines().any(taken) {}
    // The current state is kept in memory. One of an earlier version is loaded.
    // A load does not wait long for the snapshot store, so it is repeated until the store was in time.
    let is_hit =
        |line: &str| line.starts_with("gesta_snapshot_hits_total{state=\"Account\"") && !line.ends_with(" 0");
    loop {
        let past = get(&format!("{}/states/account/ann?version=1199", server.url));
        assert!(past.contains("\"balance\":1199"), "{past}");
        if get(&format!("{}/metrics", server.url)).lines().any(is_hit) {
            break;
        }
    }

    // While the server runs.
    let file = format!("{dir}/snapshots.db");
    let on =
        |what: &str| gesta(["snapshot", what, "--json", "--url", &server.url, "--snapshots", &file]).ok();
    let report = serde_json::from_str::<serde_json::Value>(&on("report")).unwrap();
    assert_eq!((&report["category"], &report["streams"]), (&"account".into(), &1.into()), "{report}");
    assert_eq!((&report["eventsWith"], &report["eventsWithout"]), (&0.into(), &1_200.into()), "{report}");
    let listed = serde_json::from_str::<serde_json::Value>(&on("list")).unwrap();
    assert_eq!((&listed["stream"], &listed["snapshotVersion"]), (&"account-ann".into(), &1_199.into()));
    let other = ["snapshot", "clear", "--category", "course", "--url", &server.url, "--snapshots", &file];
    assert_eq!(gesta(other).ok(), "removed 0 snapshots of 0 streams\n");
    assert_eq!(server.stop(), Some(0));

    // And on its folder.
    assert!(gesta(["snapshot", "report", "--dir", &dir]).ok().contains("account "));
    assert_eq!(gesta(["snapshot", "clear", "--dir", &dir]).ok(), "removed 1 snapshots of 1 streams\n");
    assert_eq!(gesta(["snapshot", "list", "--dir", &dir]).ok(), "");
    std::fs::remove_file(&file).unwrap();
    let said = gesta(["snapshot", "list", "--dir", &dir]).failed(1);
    assert!(said.contains("there are no snapshots there"), "{said}");
    assert!(!std::path::Path::new(&file).exists(), "a command makes no file");
}

/// Starts another bank on the store, and asks it for the balance. Returns whether it found a snapshot.
fn begins_from_a_snapshot(store: &str) -> bool {
    let bank = bank(&["--store", store]);
    assert!(get(&format!("{}/states/account/ann", bank.url)).contains("\"balance\":1199"));
    let metrics = get(&format!("{}/metrics", bank.url));
    let hits = metrics.lines().find(|line| line.starts_with("gesta_snapshot_hits_total{")).unwrap();
    let is_found = !hits.ends_with(" 0");
    assert_eq!(bank.stop(), Some(0));
    is_found
}

#[test]
fn snapshots_of_a_store_in_postgresql_are_kept_beside_it() {
    let Some(store) = schema() else { return };
    check_snapshots_beside(&store, &store);
    let said = gesta(["snapshot", "list", "--store", "postgres://ann:secret@127.0.0.1"]).failed(2);
    assert!(said.contains("names no database") && !said.contains("secret"), "{said}");
}

#[test]
fn snapshots_of_a_store_of_three_partitions_on_jetstream_are_kept_beside_it() {
    let Some(store) = cluster() else { return };
    let folder = TempDir::new().unwrap();
    let of = |name: &str| format!("{store}?partitions=3&copy={}", folder.path().join(name).display());
    check_snapshots_beside(&of("first"), &of("second"));
}

/// The store as two processes name it. The second one begins from the snapshot of the first one.
fn check_snapshots_beside(store: &str, again: &str) {
    let folder = TempDir::new().unwrap();
    let first = bank(&["--store", store, "--open-category", "account"]);
    let events = file(folder.path(), "events.jsonl", &account("ann", 1_200));
    gesta(["import", &events, "--url", &first.url]).ok();
    assert!(get(&format!("{}/states/account/ann", first.url)).contains("\"balance\":1199"));
    let taken = |line: &str| line.starts_with("gesta_snapshot_taken_total{") && line.ends_with(" 1");
    while !get(&format!("{}/metrics", first.url)).lines().any(taken) {}
    // Another process begins from it, unless the machine is so busy that the snapshot comes too late.
    while !begins_from_a_snapshot(again) {}
    assert_eq!(first.stop(), Some(0));
    let snapshot = |what: &str| gesta(["snapshot", what, "--json", "--store", store]);
    let report = serde_json::from_str::<serde_json::Value>(&snapshot("report").ok()).unwrap();
    assert_eq!((&report["streams"], &report["eventsWith"]), (&1.into(), &0.into()), "{report}");
    assert!(snapshot("list").ok().contains("\"snapshotVersion\":1199"));
    assert!(snapshot("clear").ok().contains("\"snapshots\":1"));
    assert_eq!(snapshot("list").ok(), "");
}
