//! `lock` and `prove` of the example bank, and the inventory of its log.

use std::path::Path;

use tempfile::TempDir;

use crate::harness::{Ran, command, gesta, program, serve};
use crate::hosts::bank_program;

/// The lock of the bank, as it is committed.
const LOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/bank/events.lock");

fn bank(arguments: &[&str]) -> Ran {
    program(&bank_program(), arguments).output().unwrap().into()
}

/// A copy of the lock and its samples, to change.
fn copy(folder: &Path) -> String {
    let (from, to) = (Path::new(LOCK), folder.join("events.lock"));
    std::fs::copy(from, &to).unwrap();
    std::fs::create_dir(folder.join("events.samples")).unwrap();
    for file in std::fs::read_dir(from.with_extension("samples")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join("events.samples").join(file.file_name())).unwrap();
    }
    to.to_str().unwrap().to_owned()
}

/// Appends events as releases of the bank wrote them.
fn old_log(folder: &Path) -> String {
    let log = folder.join("log").to_str().unwrap().to_owned();
    let events = [
        ("opened", 1, r#"{"owner":"Anna"}"#),
        ("deposited", 1, r#"{"amount":100}"#),
        ("debited", 1, r#"{"amount":10,"fee":2}"#),
        ("audited", 1, r#"{"by":"Ben"}"#),
        ("withdrawn", 2, r#"{"amount":8}"#),
    ];
    for (name, version, data) in events {
        let (event_type, version) = (format!("bank.account.{name}"), version.to_string());
        gesta(["append", "account-anna", &event_type, data, "--schema-version", &version, "--dir", &log])
            .ok();
    }
    log
}

#[test]
fn the_bank_proves_its_lock_its_samples_and_a_log_of_its_first_release() {
    let folder = TempDir::new().unwrap();
    let log = old_log(folder.path());
    assert_eq!(bank(&["prove", "--lock", LOCK]).ok(), "proved: 5 versions, 8 samples\n");
    let said = bank(&["prove", "--lock", LOCK, "--log", &log, "--deployed", LOCK]).ok();
    assert!(said.contains("proved on the log: 5 stored events of 5 versions, 1 stream folded"), "{said}");
    let said = bank(&["prove", "--lock", LOCK, "--log", &log, "--sample", "1"]).ok();
    assert!(said.contains("proved on the log: 5 stored events"), "{said}");
    let state = bank(&["state", "account", "anna", "--dir", &log]).ok();
    assert!(state.contains(r#""balance":80"#) && state.contains(r#""version":4"#), "{state}");
    let wrong = bank(&["prove", "--lock", LOCK, "--log", "memory:"]).failed(2);
    assert!(wrong.contains("name the folder of a log"), "{wrong}");
    gesta(["append", "account-ben", "bank.account.opened", r#"{"owner":7}"#, "--dir", &log]).ok();
    let ran = bank(&["prove", "--lock", LOCK, "--log", &log]);
    assert_eq!(ran.code, 1);
    let lines = ran.out.lines().collect::<Vec<_>>();
    assert!(
        lines[0].starts_with("error: bank.account.opened version 1 at position 6: is not read: "),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("error: stream account-ben: does not fold: "), "{lines:?}");
    assert!(ran.err.contains("the events are not proved: 2 errors"), "{}", ran.err);
}

#[test]
fn the_lock_is_written_once_and_what_was_released_stays() {
    let folder = TempDir::new().unwrap();
    let lock = copy(folder.path());
    let said = bank(&["lock", "--lock", &lock, "--samples"]).ok();
    assert_eq!(said, format!("`{lock}` is as it was: 5 versions, 0 new sample files\n"));
    let released = std::fs::read_to_string(&lock).unwrap();
    std::fs::write(&lock, released.replace(r#""minimum": 1"#, r#""minimum": 0"#)).unwrap();
    let ran = bank(&["lock", "--lock", &lock]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("`amount` has `minimum` 1, not 0: leave version 1 as it was released"),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("nothing was locked"), "{}", ran.err);
    assert_eq!(
        std::fs::read_to_string(&lock).unwrap(),
        released.replace(r#""minimum": 1"#, r#""minimum": 0"#)
    );
    let said = bank(&["lock", "--lock", &lock, "--regenerate"]);
    assert!(said.code == 1 && said.out.contains("would hide a change"), "{}", said.out);

    std::fs::write(
        &lock,
        released.replace("schemars 1", "schemars 0").replace(r#""minimum": 1"#, r#""minimum": 0"#),
    )
    .unwrap();
    let said = bank(&["prove", "--lock", &lock]);
    assert!(said.code == 1 && said.out.contains("`lock --regenerate`"), "{}", said.out);
    bank(&["lock", "--lock", &lock, "--regenerate"]).ok();
    assert_eq!(std::fs::read_to_string(&lock).unwrap(), released);
}

#[test]
fn samples_are_taken_from_a_log() {
    let folder = TempDir::new().unwrap();
    let log = old_log(folder.path());
    let lock = copy(folder.path());
    let debited = folder.path().join("events.samples/bank.account.debited@1.json");
    std::fs::remove_file(&debited).unwrap();
    let ran = bank(&["prove", "--lock", &lock]);
    assert!(
        ran.code == 1 && ran.out.contains("bank.account.debited version 1: has no sample"),
        "{}",
        ran.out
    );
    let said = bank(&["lock", "--lock", &lock, "--from", &log]).ok();
    assert!(said.contains("1 new sample file"), "{said}");
    let misspelt = folder.path().join("events.samples/bank.account.debitd@1.json");
    std::fs::copy(&debited, &misspelt).unwrap();
    let ran = bank(&["prove", "--lock", &lock]);
    assert!(
        ran.code == 1 && ran.out.contains("debitd@1.json` belongs to no version of the lock"),
        "{}",
        ran.out
    );
    std::fs::remove_file(misspelt).unwrap();
    let text = std::fs::read_to_string(&debited).unwrap();
    let sample = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let withdrawn = |amount| serde_json::json!(["bank.account.withdrawn", 2, {"amount": amount}]);
    assert_eq!(sample[0]["stored"], serde_json::json!({"amount": 10, "fee": 2}));
    assert_eq!(sample[0]["reads_as"], serde_json::json!([withdrawn(10), withdrawn(2)]));
    bank(&["prove", "--lock", &lock]).ok();
}

#[test]
fn a_host_without_schemas_and_the_plain_binary_have_nothing_to_prove() {
    assert_eq!(gesta(["prove"]).code, 2);
    let said = bank(&["prove", "--lock", "nowhere/events.lock"]).failed(1);
    assert!(said.contains("there is no `nowhere/events.lock`: make it with the command `lock`"), "{said}");
}

#[test]
fn the_inventory_counts_the_events_of_each_version() {
    let folder = TempDir::new().unwrap();
    let log = old_log(folder.path());
    gesta(["append", "account-ben", "bank.account.opened", r#"{"owner":"Ben"}"#, "--dir", &log]).ok();
    let expected = "type,version,partition,count,first,last\n\
        bank.account.audited,1,0,1,4,4\n\
        bank.account.debited,1,0,1,3,3\n\
        bank.account.deposited,1,0,1,2,2\n\
        bank.account.opened,1,0,2,1,6\n\
        bank.account.withdrawn,2,0,1,5,5\n";
    assert_eq!(gesta(["inventory", "--dir", &log]).ok(), expected);
    let server = serve(&["--dir", &log, "--inventory"]);
    let appended = gesta(["append", "account-ben", "bank.account.opened", "{}", "--url", &server.url]).ok();
    assert!(appended.contains("position 7"), "{appended}");
    let checkpoint = gesta([
        "view",
        "gesta-inventory",
        "select sum(count) from inventory",
        "--json",
        "--url",
        &server.url,
    ]);
    assert!(checkpoint.ok().contains("\"checkpoint\""));
    server.stop();
    let expected = expected.replace("opened,1,0,2,1,6", "opened,1,0,3,1,7");
    assert_eq!(gesta(["inventory", "--dir", &log]).ok(), expected);
    let server = serve(&["--dir", &log]);
    let said = gesta(["inventory", "--url", &server.url]).failed(1);
    assert!(said.contains("gesta-inventory"), "{said}");
    assert!(command(["inventory", "--help"]).output().unwrap().status.success());
}
