//! Commands on a folder: append, read, streams, verify, state, view; and wrong usage.

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
    assert_eq!(said, "account-42 version 0 at position 1, appended before\n");
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
fn wrong_usage_exits_with_2_and_says_what_helps() {
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
    assert!(said.contains("is not an address to listen on") && said.contains("<host>:<port>"), "{said}");
}

#[test]
fn reading_a_folder_without_a_log_makes_no_log() {
    let (_folder, log) = folder();
    for arguments in [&["read", "--all"][..], &["streams"], &["export", "-"], &["verify"]] {
        let said = gesta(arguments.iter().copied().chain(["--dir", &log])).failed(1);
        assert!(said.contains(&format!("there is no folder `{log}`")), "{said}");
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
    assert!(said.starts_with("checked 3 events of 1 stream: "), "{said}");
    flip(&log, b"ann");
    let ran = gesta(["verify", "--dir", &log]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("damage: segment 1 at offset"), "{ran:?}");
}

#[test]
fn events_after_damage_are_read_and_exported_from_the_checkpoint_in_the_message() {
    let (folder, log) = folder();
    for owner in ["ann", "ben", "cid"] {
        gesta(["append", "account-42", "opened", &format!(r#"{{"owner": "{owner}"}}"#), "--dir", &log]).ok();
    }
    flip(&log, b"ben");
    let read = |arguments: &[&str]| {
        let ran = gesta(["read"].iter().chain(arguments));
        let said = ran.failed(1);
        assert!(said.contains("are damaged"), "{said}");
        let (_, from) = said.split_once("to continue after the damage, add `--from ").unwrap();
        let from = from.split('`').next().unwrap().to_owned();
        gesta(["read"].iter().chain(arguments).chain(&["--from", &from]))
    };
    // The rest is printed, and the exit code still tells that events are lost.
    let local = |arguments: &[&str]| {
        let ran = read(arguments);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.starts_with("error: events are lost from the log in"), "{ran:?}");
        assert!(
            ran.err.contains("because: segment 1 at offset") && ran.err.contains("gesta verify --dir"),
            "{ran:?}"
        );
        ran.out
    };
    for which in ["--all", "account-42", "--type=opened"] {
        let behind = local(&[which, "--dir", &log]);
        assert!(behind.starts_with("3  ") && behind.contains("cid"), "{behind}");
    }
    let before = local(&["--all", "--backward", "--dir", &log]);
    assert!(before.starts_with("1  ") && before.contains("ann"), "{before}");
    let server = serve(&["--dir", &log]);
    assert!(read(&["--all", "--url", &server.url]).ok().starts_with("3  "));
    assert_eq!(server.stop(), Some(0));

    let out = folder.path().join("out.jsonl").to_str().unwrap().to_owned();
    let said = gesta(["export", &out, "--dir", &log]).failed(1);
    assert!(said.contains(&format!("`{out}.part`")) && !Path::new(&out).exists(), "{said}");
    let part = std::fs::read_to_string(format!("{out}.part")).unwrap();
    assert!(part.lines().count() == 1 && part.contains("ann"), "{part}");
    let (_, from) = said.split_once("--from ").unwrap();
    let said = gesta(["export", &out, "--dir", &log, "--from", from.split('`').next().unwrap()]).failed(1);
    assert!(said.contains("events are lost"), "{said}");
    let rest = std::fs::read_to_string(&out).unwrap();
    assert!(rest.lines().count() == 1 && rest.contains("cid"), "{rest}");
}

/// Flips a bit of the first byte of `what` in the log.
fn flip(log: &str, what: &[u8]) {
    let segments = std::fs::read_dir(format!("{log}/segments")).unwrap();
    for path in segments.map(|entry| entry.unwrap().path()) {
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(what.len()).position(|window| window == what) {
            bytes[at] ^= 1;
            return std::fs::write(&path, bytes).unwrap();
        }
    }
    panic!("no segment holds it");
}

#[test]
fn the_plain_binary_cannot_fold_a_state_and_says_what_can() {
    let (_folder, log) = folder();
    let said = gesta(["state", "account", "42", "--dir", &log]).failed(1);
    assert!(said.contains("hosts no deciders") && said.contains("main_with"), "{said}");
    assert_eq!(gesta(["state", "account", "42", "--version", "1", "--at", "2024-01-01T00:00:00Z"]).code, 2);
}

/// Values that JSON has no form for, and the same rows as text from a folder and from a server.
pub(crate) const UNUSUAL: &str = "select x'00ff' as b, null as n, 1e999 as r, 0.5 as h";
pub(crate) const UNUSUAL_ROWS: &str = "b,n,r,h\nAP8=,,Infinity,0.5\n";

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
    assert_eq!(query(UNUSUAL, &[]).ok(), UNUSUAL_ROWS);
    let json = query("select owner, x'00ff' as b, null as n from owners limit 1", &["--json"]).ok();
    let json = serde_json::from_str::<serde_json::Value>(&json).unwrap();
    assert_eq!(json["columns"], serde_json::json!(["owner", "b", "n"]));
    assert_eq!(json["rows"], serde_json::json!([["ann", {"base64": "AP8="}, null]]));
    let said = query("drop table owners", &[]).failed(1);
    assert!(said.contains("cannot query view `owners`"), "{said}");
}

#[test]
fn commands_on_a_log_with_known_loss_print_what_there_is_and_fail() {
    let (_folder, log) = folder();
    for owner in ["ann", "ben"] {
        gesta(["append", "account-42", "opened", &format!(r#"{{"owner": "{owner}"}}"#), "--dir", &log]).ok();
    }
    flip(&log, b"ben");
    let cases: [&[&str]; 2] = [&["read", "account-42", "--limit", "1"], &["read", "--all", "--limit", "1"]];
    for arguments in cases {
        let ran = gesta(arguments.iter().copied().chain(["--dir", &log]));
        assert_eq!(ran.code, 1, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("events are lost from the log in"), "{arguments:?}: {ran:?}");
    }
    let first = gesta(["read", "--all", "--limit", "1", "--dir", &log]).out;
    assert!(first.contains("account-42@0"), "{first}");
    // A stream whose events cannot be found is not denied.
    let said = gesta(["read", "account-9", "--dir", &log]).failed(1);
    assert!(said.contains("events from position 2 to 2 are damaged"), "{said}");
}

#[test]
fn stat_fails_if_the_log_ends_before_its_manifest_says() {
    let (_folder, log) = folder();
    for number in ["1", "2", "3"] {
        gesta(["append", "s-1", "t", number, "--dir", &log]).ok();
    }
    gesta(["stat", "--dir", &log]).ok();
    std::fs::remove_dir_all(format!("{log}/segments")).unwrap();
    let ran = gesta(["stat", "--dir", &log]);
    assert!(ran.code == 1 && ran.out.contains("the file is missing"), "{ran:?}");
    assert!(ran.err.contains("the log ends at position 0, and position 3 was durable"), "{ran:?}");
    let ran = gesta(["read", "s-1", "--dir", &log]);
    assert!(ran.code == 1 && !ran.err.contains("has no event"), "{ran:?}");
}

#[test]
fn names_of_the_system_are_refused_on_a_folder_as_on_a_server() {
    let (folder, log) = folder();
    let other = folder.path().join("served").to_str().unwrap().to_owned();
    let server = serve(&["--dir", &other]);
    let line = |stream: &str, event_type: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/t","type":"{event_type}","subject":"{stream}","data":1}}"#
        )
    };
    for (stream, event_type) in [("$x", "t"), ("s-1", "$error")] {
        let path = file(folder.path(), "events.jsonl", &line(stream, event_type));
        for place in [["--dir", &log], ["--url", &server.url]] {
            let append = gesta(["append", stream, event_type, "1"].into_iter().chain(place));
            assert_ne!(append.code, 0, "{append:?}");
            let import = gesta(["import", &path].into_iter().chain(place));
            assert_eq!(import.code, 1, "{import:?}");
            for ran in [append, import] {
                assert!(
                    ran.err.contains("system") && ran.err.contains(stream.trim_start_matches("s-1")),
                    "{ran:?}"
                );
            }
        }
        assert!(!Path::new(&log).exists(), "no log is made");
    }
    assert_eq!(server.stop(), Some(0));
}

/// Each message names the wrong value and what helps.
#[test]
fn messages_about_mistakes_name_the_value_and_the_remedy() {
    let (folder, log) = folder();
    gesta(["append", "s-1", "t", "1", "--dir", &log]).ok();
    let letter = file(folder.path(), "letter.txt", "Dear");
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    let (half, future) = (r#"{"a":"\ud83d"}"#, "2200-01-01T00:00:00Z");
    let to = folder.path().join("excerpt");
    let to = to.to_str().unwrap();
    let cases: [(&[&str], &[&str]); 15] = [
        (&["append", "s-1", "t", half, "--dir", &log], &["in `data`", "half a surrogate pair", "column 7"]),
        (&["append", "s-1", "t", "1", "--metadata", half, "--dir", &log], &["in `metadata`", "surrogate"]),
        (&["append", "s-1", "t", &deep, "--dir", &log], &["the data nests 129 levels deep"]),
        (&["append", "s-1", "t", "1", "--metadata", &deep, "--dir", &log], &["the metadata nests 129"]),
        (&["excerpt", "--all", "--until", future, "--to", to, "--dir", &log], &["lies in the future"]),
        (&["append", "s-1", "t", "{", "--dir", &log], &["the data is not JSON", "--text"]),
        (&["append", "s-1", "t", "1", "--expect", "x", "--dir", &log], &["'x'", "`any`, `none`, `exists`"]),
        (&["append", "s-1", "t", "1", "--time", "now", "--dir", &log], &["'now'", "RFC 3339"]),
        (&["append", "s-1", "t", "1", "--tag", "a", "--dir", &log], &["`a` is not `key:value`"]),
        (&["read", "s-9", "--dir", &log], &["stream `s-9` has no event"]),
        (&["read", "--all", "--from", "x", "--dir", &log], &["'x'", "--from"]),
        (&["import", "none.jsonl", "--dir", &log], &["cannot read `none.jsonl`", "No such file"]),
        (&["stat", "--dir", &letter], &["letter.txt` is not a folder", "check the path"]),
        (&["scrub", "--rate", "fast", "--dir", &log], &["'fast'", "500K, 50M or 1G"]),
        (&["view", "v", "select 1", "--dir", &log], &["no view definitions given", "--views <folder>"]),
    ];
    for (arguments, parts) in cases {
        let ran = gesta(arguments);
        assert_ne!(ran.code, 0, "{arguments:?}: {ran:?}");
        for part in parts {
            assert!(ran.err.contains(part), "{arguments:?}: {ran:?}");
        }
    }
}

#[test]
fn the_version_names_commit_and_format() {
    let said = gesta(["--version"]).ok();
    assert!(said.starts_with(concat!("gesta ", env!("CARGO_PKG_VERSION"), " (commit ")), "{said}");
    assert!(said.contains("log format 1)"), "{said}");
}
