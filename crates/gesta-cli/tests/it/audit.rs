//! `gesta audit`: files that are checked without the log, and against it.

use std::fs;

use gesta_core::{Batch, EventId, EventStore, NewEvent, Timestamp};
use gesta_log::{LogStore, Options};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::harness::{Ran, gesta, serve};

/// Events of two streams, some with data that is no JSON on one line.
fn log(folder: &TempDir) -> String {
    let path = folder.path().join("log");
    let log = LogStore::open(&path, &Options::default()).unwrap();
    let data = [r#"{"iban":"DE01","amount":1.50}"#, "{\n \"iban\": \"DE02\"\n}", r#"{"iban":"DE03"}"#, "[1]"];
    for (number, data) in (1..).zip(data) {
        let stream = if number == 3 { "account-b" } else { "account-a" };
        let kind = "account.moved".parse().unwrap();
        let time = Timestamp::from_nanos(7);
        let mut event = NewEvent::json(EventId::from_u128(number), stream.parse().unwrap(), kind, time, data);
        event.tags.push(if number == 2 { "$actor:ann" } else { "$actor:ben" }.parse().unwrap());
        pollster::block_on(log.append(Batch::new([event]))).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

struct Audited {
    folder: TempDir,
    log: String,
}

impl Audited {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let log = log(&folder);
        Self { folder, log }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn export(&self, name: &str, more: &[&str]) -> String {
        let file = self.file(name);
        gesta([&["audit", "export", &file, "--dir", &self.log], more].concat()).ok();
        file
    }
}

fn check(file: &str, more: &[&str]) -> Ran {
    gesta([&["audit", "check", file], more].concat())
}

fn lines(file: &str) -> Vec<String> {
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn an_export_is_checked_alone_against_the_log_and_against_its_server() {
    let audited = Audited::new();
    let file = audited.export("all", &[]);
    let said = check(&file, &[]).ok();
    assert!(
        said.starts_with("checked 4 events of store ") && said.contains("later events may match as well"),
        "{said}"
    );
    let said = check(&file, &["--dir", &audited.log]).ok();
    assert!(said.ends_with("the log holds the same events\n"), "{said}");
    let packed = audited.export("packed.gz", &["--stream", "account-b"]);
    let server = serve(&["--dir", &audited.log]);
    let said = check(&packed, &["--url", &server.url]).ok();
    assert!(said.starts_with("checked 1 event of store "), "{said}");
    let manifest = lines(&file).pop().unwrap();
    let manifest = serde_json::from_str::<Value>(&manifest).unwrap();
    assert_eq!(
        (&manifest["audit"], &manifest["events"], &manifest["query"]),
        (&2.into(), &4.into(), &"all".into())
    );
}

#[test]
fn events_are_selected_by_actor_and_by_time() {
    let audited = Audited::new();
    let file = audited.export("ann", &["--actor", "ann"]);
    assert_eq!(lines(&file).len(), 2);
    let never = ["--between", "2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z"];
    let file = audited.export("never", &never);
    let said = check(&file, &[]).ok();
    assert!(
        said.starts_with("checked 0 events") && said.contains("no event can come into this time"),
        "{said}"
    );
    let file = audited.export("until-later", &["--between", "2001-01-01T00:00:00Z", "2199-01-01T00:00:00Z"]);
    let said = check(&file, &[]).ok();
    assert!(said.starts_with("checked 4 events") && said.contains("later events may match"), "{said}");
    assert!(said.contains(", recorded from 2001-01-01T00:00:00Z to 2199-01-01T00:00:00Z\n"), "{said}");
    check(&file, &["--dir", &audited.log]).ok();
    let swapped = ["--between", "2002-01-01T00:00:00Z", "2001-01-01T00:00:00Z"];
    let file = audited.file("swapped");
    gesta([&["audit", "export", &file, "--dir", &audited.log], &swapped[..]].concat()).failed(2);
}

#[test]
fn every_change_of_a_line_is_found() {
    let audited = Audited::new();
    let file = audited.export("all", &[]);
    let lines = lines(&file);
    let with = |name: &str, lines: &[String]| {
        let changed = audited.file(name);
        fs::write(&changed, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        check(&changed, &[]).failed(1)
    };
    let mut changed = lines.clone();
    changed[0] = changed[0].replace("1.50", "1.51");
    assert!(with("amount", &changed).contains("line 1: the event does not have the digest"));
    let mut changed = lines.clone();
    changed.swap(0, 1);
    assert!(with("order", &changed).contains("line 2: the event is not later than the one before"));
    let mut changed = lines.clone();
    changed.remove(1);
    assert!(with("gap", &changed).contains("it has 3 events, the manifest names 4"));
    assert!(with("cut", &lines[..3]).contains("it ends without a manifest"));
    assert!(
        with("more", &[&lines[..], &lines[..1]].concat()).contains("line 5: a line follows the manifest")
    );
    let mut changed = lines.clone();
    changed[4] = changed[4].replace("\"events\":4", "\"events\":5");
    assert!(with("count", &changed).contains("the manifest names 5"));
    let mut changed = lines.clone();
    changed[4] = changed[4].replace("\"redacted\":0", "\"redacted\":1");
    let said = with("redacted", &changed);
    assert!(said.contains("it has 0 redacted events, the manifest names 1"), "{said}");
    let mut changed = lines;
    changed[0] = changed[0].replace("{\"leaf\"", "{ \"leaf\"");
    assert!(with("space", &changed).contains("the sum that the manifest names"));
}

#[test]
fn what_is_redacted_is_marked_and_compared_with_the_log() {
    let audited = Audited::new();
    let file = audited.export("redacted", &["--redact", "/iban"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("DE0") && text.contains("1.50"), "{text}");
    let said = check(&file, &[]).ok();
    assert!(said.contains("3 events redacted, so their digests need the log"), "{said}");
    let said = check(&file, &["--dir", &audited.log]).ok();
    assert!(said.contains("3 events redacted\n") && said.contains("the log holds the same events"), "{said}");

    let other = Audited::new();
    let refused = check(&file, &["--dir", &other.log]).failed(1);
    assert!(refused.contains("line 1: the log does not hold this event in this place"), "{refused}");
    let pointer = gesta(["audit", "export", "-", "--dir", &audited.log, "--redact", "iban"]).failed(2);
    assert!(pointer.contains("a JSON pointer begins with `/`"), "{pointer}");
}

/// Writes lines with a manifest that has their number and their sum.
fn write_mended(file: &str, events: &[String], manifest: &str) {
    let text = events.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut manifest = serde_json::from_str::<Value>(manifest).unwrap();
    manifest["events"] = events.len().into();
    manifest["sha256"] =
        Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    fs::write(file, format!("{text}{manifest}\n")).unwrap();
}

#[test]
fn a_log_shows_that_events_are_missing_although_the_manifest_was_changed_too() {
    let audited = Audited::new();
    let all = lines(&audited.export("all", &[]));
    let (events, manifest) = (&all[..4], &all[4]);
    let against_log = |name: &str, events: &[String], manifest: &str| {
        let file = audited.file(name);
        write_mended(&file, events, manifest);
        check(&file, &["--dir", &audited.log])
    };
    against_log("same", events, manifest).ok();
    for missing in 0..4 {
        let mut left = events.to_vec();
        left.remove(missing);
        let said = against_log(&format!("without-{missing}"), &left, manifest).failed(1);
        let expected = format!("a matching event at position {}, which is missing in the file", missing + 1);
        assert!(said.contains(&expected), "{said}");
    }
    let of_ann = lines(&audited.export("ann", &["--actor", "ann"]));
    let said = against_log("other-query", &of_ann[..1], manifest).failed(1);
    assert!(said.contains("at position 1, which is missing"), "{said}");
    let said = against_log("not-asked-for", events, &of_ann[1]).failed(1);
    assert!(said.contains("line 1: the log does not hold this event in this place"), "{said}");
    let closed = |manifest: &str| manifest.replace("\"closed\":false", "\"closed\":true");
    let said = against_log("closed", events, &closed(manifest)).failed(1);
    assert!(said.contains("says that a time is closed, and names none"), "{said}");
    let timed = ["--between", "2001-01-01T00:00:00Z", "2199-01-01T00:00:00Z"];
    let timed = lines(&audited.export("timed", &timed));
    let said = against_log("closed-time", &timed[..4], &closed(&timed[4])).failed(1);
    assert!(said.contains("the log has no later event"), "{said}");
}

#[test]
fn the_times_of_a_manifest_are_compared_with_the_events_and_with_the_log() {
    let audited = Audited::new();
    let all = ["--between", "2001-01-01T00:00:00Z", "2199-01-01T00:00:00Z"];
    let all = lines(&audited.export("all", &all));
    let (events, manifest) = (&all[..4], &all[4]);
    let with_times = |from: &str, to: &str| {
        let mut changed = serde_json::from_str::<Value>(manifest).unwrap();
        assert_eq!(changed["between"]["from"], "2001-01-01T00:00:00Z");
        changed["between"] = serde_json::json!({"from": from, "to": to});
        let file = audited.file("changed");
        write_mended(&file, events, &changed.to_string());
        file
    };
    let earlier = with_times("2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z");
    let said = check(&earlier, &[]).failed(1);
    assert!(said.contains("it has events outside the times that the manifest names"), "{said}");
    let swapped = with_times("2199-01-01T00:00:00Z", "2001-01-01T00:00:00Z");
    check(&swapped, &[]).failed(1);
    // The places of another time: the file leaves events out that the time has.
    let mut without_last = serde_json::from_str::<Value>(manifest).unwrap();
    let until = without_last["until"].as_str().unwrap().to_owned();
    without_last["after"] = until.into();
    let file = audited.file("fewer");
    write_mended(&file, &[], &without_last.to_string());
    check(&file, &[]).ok();
    let said = check(&file, &["--dir", &audited.log]).failed(1);
    assert!(said.contains("are not the places of its times in the log"), "{said}");
}

#[test]
fn a_pointer_that_names_nothing_is_reported() {
    let audited = Audited::new();
    let file = audited.file("typo");
    let typo = ["--redact", "/iban", "--redact", "/ibna"];
    let said = gesta([&["audit", "export", &file, "--dir", &audited.log], &typo[..]].concat()).failed(1);
    assert!(said.contains("no event has anything at `/ibna`"), "{said}");
    check(&file, &["--dir", &audited.log]).ok();
    let said = gesta(["audit", "export", "-", "--dir", &audited.log, "--redact", "/~2"]).failed(2);
    assert!(said.contains("`~` is written `~0`"), "{said}");
}
