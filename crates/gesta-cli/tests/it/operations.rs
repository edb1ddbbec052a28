//! The operator's commands: backup, restore, scrub, repair, stat, and the proof of a backup.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ran, command, gesta, gesta_with, serve};

/// A folder with a log of so many events.
fn log_of(events: u64) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let log = path(&folder, "log");
    append(&log, 1..=events);
    (folder, log)
}

fn append(log: &str, numbers: std::ops::RangeInclusive<u64>) {
    let event = |number: u64| {
        format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/test","type":"account.opened","subject":"account-{number}","data":{{"number":{number}}}}}"#
        ) + "\n"
    };
    gesta_with(["import", "-", "--dir", log], numbers.map(event).collect::<String>().as_bytes()).ok();
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn on(log: &str, arguments: &[&str]) -> Ran {
    gesta(arguments.iter().copied().chain(["--dir", log]))
}

fn read(log: &str) -> String {
    on(log, &["read", "--all"]).ok()
}

/// Flips a bit in a file.
fn flip(path: impl AsRef<Path>, at: usize) {
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_log_is_backed_up_added_to_proven_and_restored() {
    let (folder, log) = log_of(100);
    let (to, restored) = (path(&folder, "backup"), path(&folder, "restored"));
    let said = on(&log, &["backup", "--to", &to]).ok();
    assert!(said.contains("up to position 100") && said.contains("1 segments copied now"), "{said}");
    let said = on(&log, &["backup", "--to", &to]).ok();
    assert!(said.contains("0 bytes in 0 segments copied now"), "{said}");
    let first = read(&log);
    append(&log, 101..=150);
    on(&log, &["backup", "--to", &to, "--link"]).ok();
    let said = gesta(["verify", "--backup", &to]).ok();
    assert!(said.contains("150 events of store") && said.contains("ends at position 150"), "{said}");
    let from_environment = command(["verify", "--backup", &to]).env("GESTA_DIR", &log).output().unwrap();
    assert_eq!(Ran::from(from_environment).ok(), said, "a flag goes before the environment");
    assert_eq!(on(&log, &["verify", "--backup", &to]).code, 2, "one or the other");

    let said = gesta(["restore", "--from", &to, "--dir", &restored]).ok();
    assert!(said.contains("up to position 150") && said.contains("new store"), "{said}");
    assert!(read(&restored).starts_with(&first));
    assert_eq!(read(&restored), read(&log));
    let stat = on(&restored, &["stat"]).ok();
    assert!(stat.contains("restored from store") && stat.contains("  restored\n"), "{stat}");
    append(&restored, 151..=160);
    on(&restored, &["verify"]).ok();

    let said = gesta(["restore", "--from", &to, "--dir", &restored]).failed(1);
    assert!(said.contains("is not empty"), "{said}");
    let segments = fs::read_dir(Path::new(&to).join("segments")).unwrap();
    let segment = segments.map(|entry| entry.unwrap().path()).next().unwrap();
    flip(segment, 5_000);
    let ran = gesta(["verify", "--backup", &to]);
    assert!(ran.code == 1 && ran.out.contains("damage: segment 1 at offset"), "{ran:?}");
}

#[test]
fn a_log_that_a_server_has_is_named_and_where_there_is_none_none_is_made() {
    let (folder, log) = log_of(1);
    let to = path(&folder, "backup");
    let server = serve(&["--dir", &log]);
    let commands =
        [&["backup", "--to", &to][..], &["scrub"], &["repair"], &["repair", "--manifest"], &["stat"]];
    for arguments in commands {
        let said = on(&log, arguments).failed(1);
        assert!(said.contains("is in use by") && said.contains("stop that server first"), "{said}");
    }
    assert_eq!(server.stop(), Some(0));
    let nowhere = path(&folder, "nowhere");
    for arguments in commands {
        let said = on(&nowhere, arguments).failed(1);
        assert!(said.contains("holds no log"), "{said}");
        let said = gesta(arguments).failed(2);
        assert!(said.contains("--dir <folder>"), "{said}");
    }
    assert!(!Path::new(&nowhere).exists() && !Path::new(&to).exists());
}

#[test]
fn a_log_is_scrubbed() {
    let (_folder, log) = log_of(100);
    let said = on(&log, &["scrub", "--rate", "100M"]).ok();
    assert!(said.contains("are not sealed yet"), "{said}");
    assert_eq!(on(&log, &["scrub", "--rate", "0"]).code, 2);
}

#[test]
fn a_lost_manifest_is_made_anew_when_it_is_asked_for() {
    let (_folder, log) = log_of(100);
    let before = read(&log);
    for name in ["manifest", "manifest.previous"] {
        fs::remove_file(Path::new(&log).join(name)).unwrap();
    }
    let said = on(&log, &["read", "--all"]).failed(1);
    assert!(said.contains("gesta repair --manifest"), "{said}");
    let said = on(&log, &["repair"]).ok();
    assert!(said.contains("found: there is no manifest") && said.contains("nothing was changed"), "{said}");
    on(&log, &["read", "--all"]).failed(1);
    let said = on(&log, &["repair", "--manifest"]).ok();
    assert!(said.contains("done: write a manifest") && said.contains("repair-"), "{said}");
    assert_eq!(read(&log), before);
    append(&log, 101..=110);
    on(&log, &["verify"]).ok();
    let said = on(&log, &["repair", "--manifest"]).failed(1);
    assert!(said.contains("nothing to repair"), "{said}");
    let said = on(&log, &["repair"]).ok();
    assert!(said.contains("nothing that a repair could do"), "{said}");
    assert_eq!(on(&log, &["repair", "--manifest", "--drop-tail"]).code, 2);
}

#[test]
fn a_tail_that_proves_nothing_is_dropped_when_it_is_asked_for() {
    let (_folder, log) = log_of(100);
    let segment = Path::new(&log).join("segments").join("000000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    // The last frame is idle: its kind is the last byte that is not zero, three bytes before its end.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 4;
    bytes[end..end + 700].fill(7);
    fs::write(&segment, bytes).unwrap();
    let ran = on(&log, &["verify"]);
    assert!(ran.code == 1 && ran.err.contains("gesta repair"), "{ran:?}");
    let said = on(&log, &["repair"]).ok();
    assert!(said.contains("to do: move 700 bytes") && said.contains("--drop-tail"), "{said}");
    on(&log, &["repair", "--drop-tail"]).ok();
    on(&log, &["verify"]).ok();
    append(&log, 101..=110);
    let stat = on(&log, &["stat"]).ok();
    assert!(
        stat.contains("quarantine: ") && stat.contains(", 700 bytes") && stat.contains("repaired: "),
        "{stat}"
    );
}

#[test]
fn what_a_log_consists_of_is_said_to_people_and_to_programs() {
    let (_folder, log) = log_of(100);
    let said = on(&log, &["stat"]).ok();
    assert!(said.contains("100 events up to position 100") && said.contains("active"), "{said}");
    assert!(said.contains("a backup copies 0 sealed segments"), "{said}");
    let said = serde_json::from_str::<Value>(&on(&log, &["stat", "--json"]).ok()).unwrap();
    let segment = &said["segments"][0];
    assert_eq!(
        (&said["position"], &segment["events"], &segment["lastPosition"]),
        (&100.into(), &100.into(), &100.into())
    );
    assert!(segment["firstRecordedAt"].as_str().unwrap().ends_with('Z'), "{segment}");
}
