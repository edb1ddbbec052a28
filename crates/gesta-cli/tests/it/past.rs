//! The past on the command line: views at moments, steps, what-ifs, series of a category.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Ran, gesta, gesta_with, program, run_with, serve};
use crate::hosts::{VIEWS, bank as bank_server, bank_program};

/// A log of the bank: deposits on three days, the last one recorded late.
fn log() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log").to_str().unwrap().to_owned();
    let append = |stream: &str, name: &str, data: &str, day: &str, more: &[&str]| {
        let (event_type, time) = (format!("bank.account.{name}"), format!("2026-01-{day}T12:00:00Z"));
        let arguments = ["append", stream, &event_type, data, "--time", &time, "--dir", &log];
        gesta(arguments.iter().chain(more)).ok();
    };
    append("account-anna", "opened", r#"{"owner":"Anna"}"#, "01", &[]);
    let why = ["--tag", "branch:7", "--metadata", r#"{"reason":"a gift"}"#];
    append("account-anna", "deposited", r#"{"amount":100}"#, "01", &why);
    append("account-ben", "opened", r#"{"owner":"Ben"}"#, "02", &[]);
    append("account-anna", "withdrawn", r#"{"amount":30}"#, "03", &["--schema-version", "2"]);
    (folder, log)
}

fn bank(arguments: &[&str], input: &str) -> Ran {
    run_with(program(&bank_program(), arguments), input.as_bytes())
}

const ALL: &str = "select account, balance from balances order by 1";

#[test]
fn a_view_is_queried_as_of_the_past_in_a_folder_and_at_a_server() {
    let (_folder, log) = log();
    let check = |place: &[&str]| {
        let view = |more: &[&str]| gesta(["view", "balances", ALL].iter().chain(more).chain(place));
        assert_eq!(view(&["--at", "2"]).ok(), "account,balance\nanna,100\n");
        assert_eq!(view(&["--time", "2026-01-02T23:00:00Z"]).ok(), "account,balance\nanna,100\nben,0\n");
        let days = view(&["--every", "day", "--by-time", "--from", "2026-01-02T00:00:00Z"]).ok();
        let cut = |day: u8| format!("2026-01-0{day}T23:59:59.999999999Z");
        let (second, third) = (cut(2), cut(3));
        assert_eq!(
            days,
            format!(
                "cut,account,balance\n{second},anna,100\n{second},ben,0\n{third},anna,70\n{third},ben,0\n"
            )
        );
        let json = view(&["--at", "1", "--json"]).ok();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["rows"], json!([["anna", 0]]));
        assert!(view(&["--at", "2200-01-01T00:00:00Z"]).failed(1).contains("in the future"));
        assert!(view(&["--at", "soon"]).failed(1).contains("`soon` is no position"));
        assert_eq!(
            view(&["--every", "3"]).ok(),
            "cut,account,balance\n3,anna,100\n3,ben,0\n4,anna,70\n4,ben,0\n"
        );
        for (bad, reason) in [
            (&["--every", "0"][..], "`0` is not a step"),
            (&["--every", "3", "--by-time"], "belong to a step of the calendar"),
        ] {
            let refused = view(bad);
            assert!(refused.code != 0 && refused.err.contains(reason), "{refused:?}");
        }
        let both = view(&["--at", "1", "--time", "2026-01-01T00:00:00Z"]);
        assert!(both.code == 2 && both.err.contains("cannot be used with"), "{both:?}");
    };
    check(&["--dir", &log, "--views", VIEWS]);
    let server = serve(&["--dir", &log, "--views", VIEWS]);
    check(&["--url", &server.url]);
    check(&["--url", &server.url, "--views", VIEWS]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_walk_reads_its_steps_from_the_input() {
    let (_folder, log) = log();
    let walk = |input: &str| bank(&["state", "account", "anna", "--step", "--dir", &log], input).ok();
    let said = walk("\nn\n2\nb\n");
    let lines = said.lines().collect::<Vec<_>>();
    assert!(lines[0].contains("account-anna@0") && lines[0].contains("bank.account.opened"), "{said}");
    assert_eq!(lines[1], "    /open: false -> true");
    assert!(lines[2].contains("account-anna@1"), "{said}");
    assert_eq!(lines[3..5], ["    reason: a gift", "    /balance: 0 -> 100"]);
    assert_eq!(lines[6], "    /balance: 100 -> 70");
    assert!(lines[7].contains("account-anna@1"), "{said}");
    assert_eq!(walk("b\n"), "before the first event\n");
    assert!(walk("9\nn\n").ends_with("its last version is 2\nno more events\n"));
    assert!(walk("x\nq\nn\n").starts_with("`x` is no step") && walk("q\n").is_empty());
    let server = bank_server(&["--dir", &log]);
    let remote = |id: &str, input: &str| {
        let arguments = ["state", "account", id, "--step", "--url", &server.url];
        gesta_with(arguments, input.as_bytes()).ok()
    };
    let first =
        lines[1].replace("/open: false -> true", r#"the state: nothing -> {"balance":0,"open":true}"#);
    let there = said.replacen(lines[1], &first, 1);
    assert_eq!(remote("anna", "\nn\n2\nb\n"), there);
    assert_eq!(remote("anna", "b\n"), "before the first event\n");
    assert_eq!(remote("anna", "2\nn\n").lines().next_back(), Some("no more events"));
    assert_eq!(remote("zoe", "n\n7\n"), "before the first event\nstream `account-zoe` has no version 7\n");
    assert_eq!(server.stop(), Some(0));
    let hosts_nothing = gesta(["state", "account", "anna", "--step", "--dir", &log]).failed(1);
    assert!(hosts_nothing.contains("hosts no deciders"), "{hosts_nothing}");
}

#[test]
fn a_state_with_other_events_is_printed_and_nothing_is_written() {
    let (folder, log) = log();
    let state = |more: &[&str]| {
        let arguments = [&["state", "account", "anna", "--dir", &log], more].concat();
        serde_json::from_str::<Value>(&bank(&arguments, "").ok()).unwrap()["state"]["balance"].clone()
    };
    assert_eq!(state(&["--without", "2"]), 100);
    assert_eq!(state(&["--without", "1", "--without", "2"]), 0);
    let file = folder.path().join("what-if.json");
    std::fs::write(
        &file,
        r#"{"insert": [{"after": 1, "type": "bank.account.deposited", "data": {"amount": 5}}]}"#,
    )
    .unwrap();
    assert_eq!(state(&["--what-if", file.to_str().unwrap()]), 75);
    assert_eq!(state(&[]), 70);
    let wrong = bank(&["state", "account", "anna", "--dir", &log, "--what-if", "-"], r#"{"wihtout": [1]}"#);
    assert!(wrong.failed(1).contains("wihtout"));
    let nobody = bank(&["state", "account", "nobody", "--dir", &log, "--what-if", "-"], "{}").failed(1);
    assert!(nobody.contains("`account-nobody` has no event"), "{nobody}");
}

#[test]
fn the_states_of_a_category_are_printed_at_many_moments() {
    let (_folder, log) = log();
    let arguments = ["state", "account", "--every", "day", "--by-time", "--dir", &log];
    let lines = bank(&arguments, "").ok();
    let shown = lines.lines().map(|line| {
        let line = serde_json::from_str::<Value>(line).unwrap();
        (line["id"].as_str().unwrap().to_owned(), line["state"]["balance"].as_i64().unwrap())
    });
    let expected = [("anna", 100), ("anna", 100), ("ben", 0), ("anna", 70), ("ben", 0)];
    assert_eq!(shown.collect::<Vec<_>>(), expected.map(|(id, balance)| (id.to_owned(), balance)));
    let missing = bank(&["state", "account", "--dir", &log], "");
    assert!(missing.code == 2 && missing.err.contains("<ID>"), "{missing:?}");
}

#[test]
fn a_closed_series_is_final_and_refuses_what_can_never_be() {
    let (_folder, log) = log();
    let state = |flags: &[&str]| bank(&[&["state", "account", "anna", "--dir", &log], flags].concat(), "");
    // All was recorded after this moment, and before the moment closed.
    let early = state(&["--every", "year", "--closed", "--to", "2020-01-01T00:00:00Z"]).failed(1);
    assert!(early.contains("no event at that point"), "{early}");
    assert!(state(&["--every", "2", "--closed"]).failed(2).contains("final already"));
    assert!(state(&["--every", "day", "--closed", "--by-time"]).failed(2).contains("cannot be used with"));
    assert!(state(&["--closed"]).failed(2).contains("--every"));
}
