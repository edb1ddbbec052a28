//! Imports a quarter of a million real events: once, twice, and killed on the way.

use std::io::{Read, Write};
use std::process::Stdio;

use flate2::read::GzDecoder;
use tempfile::TempDir;

use crate::data::real;
use crate::harness::{command, gesta};

const FILE: &str = "loan-applications.jsonl.gz";
/// The number of events and streams in the file, and of events of some types.
const EVENTS: usize = 262_200;
const STREAMS: usize = 13_087;
const TYPES: [(&str, usize); 4] = [
    ("loan.a_submitted", 13_087),
    ("loan.a_declined", 7_635),
    ("loan.a_approved", 2_246),
    ("loan.o_cancelled", 3_655),
];

fn file() -> Option<String> {
    real(FILE).map(|path| path.to_str().unwrap().to_owned())
}

/// Compares a log with the known numbers.
fn check(log: &str) {
    let said = gesta(["verify", "--dir", log]).ok();
    assert!(said.starts_with(&format!("checked {EVENTS} events of {STREAMS} streams: ")), "{said}");
    let all = gesta(["read", "--all", "--dir", log]).ok();
    for (name, expected) in TYPES {
        let name = format!("  {name}  ");
        assert_eq!(all.lines().filter(|line| line.contains(&name)).count(), expected, "{name}");
    }
    assert!(all.starts_with("1  2011-09-30T22:38:44.546Z  loan-173688@0"));
    assert!(all.lines().next_back().unwrap().starts_with("262200  2012-03-14T15:04:54.681Z"));
}

#[test]
fn real_events_are_imported_once_by_two_imports() {
    let Some(file) = file() else {
        println!("not run: no `{FILE}` in `shared/data` beside the checkout");
        return;
    };
    let folder = TempDir::new().unwrap();
    let log = folder.path().to_str().unwrap();
    let said = gesta(["import", &file, "--dir", log]).ok();
    println!("{said}");
    assert!(said.starts_with("read 262200, appended 262200, repeated 0, skipped 0 in"), "{said}");
    check(log);
    let said = gesta(["import", &file, "--dir", log]).ok();
    assert!(said.starts_with("read 262200, appended 0, repeated 262200, skipped 0 in"), "{said}");
    let streams = gesta(["streams", "--category", "loan", "--dir", log]).ok();
    assert_eq!(streams.lines().count(), STREAMS);
}

#[test]
fn a_killed_import_continues_without_lost_or_doubled_events() {
    let Some(file) = file() else {
        println!("not run: no `{FILE}` in `shared/data` beside the checkout");
        return;
    };
    let folder = TempDir::new().unwrap();
    let log = folder.path().to_str().unwrap();
    let mut text = Vec::new();
    GzDecoder::new(std::fs::File::open(&file).unwrap()).read_to_end(&mut text).unwrap();
    for share in [5, 2] {
        let mut child = command(["import", "-", "--dir", log]).stdin(Stdio::piped()).spawn().unwrap();
        // A pipe holds little. Once this much is taken, most of it is being appended.
        child.stdin.take().unwrap().write_all(&text[..text.len() / share]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = gesta(["import", &file, "--dir", log]).ok();
    println!("{said}");
    let appended = said.split([' ', ',']).filter_map(|word| word.parse::<usize>().ok()).nth(1).unwrap();
    assert!((1..EVENTS).contains(&appended), "the import was killed before its end: {said}");
    check(log);
}
