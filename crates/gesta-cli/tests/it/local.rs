//! Commands on a folder: append, read, streams, verify, state, view, and what is wrong with their use.

use std::path::Path;

use tempfile::TempDir;

use crate::data::file;
use crate::harness::gesta;

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
    let segment = std::fs::read_dir(format!("{log}/segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|window| window == b"ann").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let ran = gesta(["verify", "--dir", &log]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("damage: segment 1 at offset"), "{ran:?}");
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
    let said = query("drop table owners", &[]).failed(1);
    assert!(said.contains("cannot query the view"), "{said}");
}
