//! Commands on a folder: append, read, streams, verify, state, view, and what is wrong with their use.

use std::path::Path;

use tempfile::TempDir;

use crate::data::file;
use crate::harness::{gesta, serve};

fn folder() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log").to_str().unwrap().to_owned();
    (folder, log)
}

#[test]
fn an_event_is_appended_and_read() {
    let (_folder, log) = folder();
    let append = |data: &str, more: &[&str]| {
        gesta(["append", "account-42", "opened", data, "--dir", &log].iter().chain(more))
    };
    let id = "018f4e3c-8a52-7c1e-9d00-3b6f1c2a4d5e";
    let said = append(r#"{"owner": "ann"}"#, &["--id", id, "--expect", "none", "--tag", "a:b"]).ok();
    assert_eq!(said, "account-42 version 0 at position 1\n");
    let said = append(r#"{"owner": "ann"}"#, &["--id", id, "--expect", "none"]).ok();
    assert_eq!(said, "account-42 version 0 at position 1, where it was already\n");
    let said = append("1", &["--expect", "none"]).failed(1);
    assert!(said.contains("expected to have no event yet, but has version 0"), "{said}");
    append("2", &["--expect", "0", "--time", "2024-01-01T00:00:00Z", "--metadata", r#"{"why": "test"}"#])
        .ok();
    let json = gesta(["read", "account-42", "--json", "--backward", "--limit", "1", "--dir", &log]).ok();
    let event = serde_json::from_str::<serde_json::Value>(&json).unwrap();
    assert_eq!((&event["version"], &event["metadata"]["why"]), (&1.into(), &"test".into()));
    let tagged = gesta(["read", "--tag", "a:b", "--dir", &log]).ok();
    assert!(tagged.contains("account-42@0  opened  {\"owner\": \"ann\"}"), "{tagged}");
    assert_eq!(gesta(["streams", "--dir", &log]).ok(), "account-42  1\n");
    let said = append("{", &[]).failed(2);
    assert!(said.contains("the data is not JSON") && said.contains("--text"), "{said}");
}

#[test]
fn what_is_wrong_with_the_use_exits_with_2_and_says_what_helps() {
    let (_folder, log) = folder();
    assert_eq!(gesta(["fly"]).code, 2);
    assert_eq!(gesta(["append", "a\nb", "t", "1", "--dir", &log]).code, 2);
    assert_eq!(gesta(["read", "--all", "--dir", &log, "--url", "http://x"]).code, 2);
    let said = gesta(["read", "--all"]).failed(2);
    assert!(said.contains("--dir <folder>") && said.contains("--url <address>"), "{said}");
    let said = gesta(["read", "--dir", &log]).failed(2);
    assert!(said.contains("--category"), "{said}");
    let said = gesta(["read", "--all", "--url", "ftp://x"]).failed(2);
    assert!(said.contains("http://127.0.0.1:2114"), "{said}");
    let said = gesta(["serve", "--dir", &log, "--listen", "0.0.0.0:0"]).failed(2);
    assert!(said.contains("--insecure"), "{said}");
    let said = gesta(["serve", "--dir", &log, "--listen", "nowhere"]).failed(2);
    assert!(said.contains("no address to listen at"), "{said}");
}

#[test]
fn a_folder_without_a_log_is_not_made_into_one_by_looking_at_it() {
    let (_folder, log) = folder();
    for arguments in [&["read", "--all"][..], &["streams"], &["export", "-"], &["verify"]] {
        let said = gesta(arguments.iter().copied().chain(["--dir", &log])).failed(1);
        assert!(said.contains("holds no log"), "{said}");
        assert!(!Path::new(&log).exists());
    }
}

#[test]
fn a_log_is_verified_and_a_flipped_byte_is_found() {
    let (_folder, log) = folder();
    for _ in 0..3 {
        gesta(["append", "account-42", "opened", r#"{"owner": "ann"}"#, "--dir", &log]).ok();
    }
    let said = gesta(["verify", "--dir", &log]).ok();
    assert!(said.starts_with("3 events of 1 streams proved themselves"), "{said}");
    flip(&log, b"ann");
    let ran = gesta(["verify", "--dir", &log]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("damage: segment 1 at offset"), "{ran:?}");
}

#[test]
fn what_lies_behind_damage_is_read_and_exported_from_the_place_that_the_message_names() {
    let (folder, log) = folder();
    for owner in ["ann", "ben", "cid"] {
        gesta(["append", "account-42", "opened", &format!(r#"{{"owner": "{owner}"}}"#), "--dir", &log]).ok();
    }
    flip(&log, b"ben");
    let read = |arguments: &[&str]| {
        let ran = gesta(["read"].iter().chain(arguments));
        let said = ran.failed(1);
        assert!(said.contains("are damaged"), "{said}");
        let (_, from) = said.split_once("to go on behind the damage, add `--from ").unwrap();
        let from = from.split('`').next().unwrap().to_owned();
        gesta(["read"].iter().chain(arguments).chain(&["--from", &from])).ok()
    };
    for which in ["--all", "account-42", "--type=opened"] {
        let behind = read(&[which, "--dir", &log]);
        assert!(behind.starts_with("3  ") && behind.contains("cid"), "{behind}");
    }
    let before = read(&["--all", "--backward", "--dir", &log]);
    assert!(before.starts_with("1  ") && before.contains("ann"), "{before}");
    let server = serve(&["--dir", &log]);
    assert!(read(&["--all", "--url", &server.url]).starts_with("3  "));
    assert_eq!(server.stop(), Some(0));

    let out = folder.path().join("out.jsonl").to_str().unwrap().to_owned();
    let said = gesta(["export", &out, "--dir", &log]).failed(1);
    assert!(said.contains(&format!("`{out}.part`")) && !Path::new(&out).exists(), "{said}");
    let part = std::fs::read_to_string(format!("{out}.part")).unwrap();
    assert!(part.lines().count() == 1 && part.contains("ann"), "{part}");
    let (_, from) = said.split_once("--from ").unwrap();
    gesta(["export", &out, "--dir", &log, "--from", from.split('`').next().unwrap()]).ok();
    let rest = std::fs::read_to_string(&out).unwrap();
    assert!(rest.lines().count() == 1 && rest.contains("cid"), "{rest}");
}

/// Flips a bit of the first byte where that stands in the log.
fn flip(log: &str, what: &[u8]) {
    let segments = std::fs::read_dir(format!("{log}/segments")).unwrap();
    for path in segments.map(|entry| entry.unwrap().path()) {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(what.len()).position(|window| window == what) {
            bytes[at] ^= 1;
            return std::fs::write(&path, bytes).unwrap();
        }
    }
    panic!("it stands in no segment");
}

#[test]
fn the_plain_binary_folds_no_state_and_says_who_does() {
    let (_folder, log) = folder();
    let said = gesta(["state", "account", "42", "--dir", &log]).failed(1);
    assert!(said.contains("hosts no deciders") && said.contains("main_with"), "{said}");
    assert_eq!(gesta(["state", "account", "42", "--version", "1", "--at", "2024-01-01T00:00:00Z"]).code, 2);
}

#[test]
fn a_view_is_queried_in_a_folder() {
    let (folder, log) = folder();
    let views = folder.path().join("definitions");
    std::fs::create_dir(&views).unwrap();
    file(&views, "owners.sql", crate::served::OWNERS);
    for owner in ["ann", "ben, the \\\"old\\\""] {
        gesta(["append", "account-42", "opened", &format!(r#"{{"owner": "{owner}"}}"#), "--dir", &log]).ok();
    }
    let query = |sql: &str, more: &[&str]| {
        let views = views.to_str().unwrap();
        gesta(["view", "owners", sql, "--dir", &log, "--views", views].iter().chain(more))
    };
    let rows = query("select owner, times from owners order by owner", &[]).ok();
    assert_eq!(rows, "owner,times\nann,1\n\"ben, the \"\"old\"\"\",1\n");
    assert_eq!(query("select :a + 1 as n", &["--param", "a=41"]).ok(), "n\n42\n");
    let json = query("select owner, x'00ff' as b, null as n from owners limit 1", &["--json"]).ok();
    let json = serde_json::from_str::<serde_json::Value>(&json).unwrap();
    assert_eq!(json["columns"], serde_json::json!(["owner", "b", "n"]));
    assert_eq!(json["rows"], serde_json::json!([["ann", {"base64": "AP8="}, null]]));
    let said = query("drop table owners", &[]).failed(1);
    assert!(said.contains("cannot query the view"), "{said}");
}
