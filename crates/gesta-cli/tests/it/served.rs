//! `gesta serve`, and commands on a server.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::data::{file, lines};
use crate::harness::{Server, command, gesta, serve};

pub(crate) const OWNERS: &str = "-- dialect: sqlite
create table owners (owner text primary key, times integer not null);
-- on opened
insert into owners values (:owner, 1)
on conflict do update set times = times + 1;";

#[test]
fn a_server_locks_its_folder_and_tells_where_it_listens() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().to_str().unwrap();
    let server = serve(&["--dir", log]);
    let talk = format!("use the server: `--url {}`", server.url);
    let cases = [
        (&["read", "--all"][..], talk.as_str()),
        (&["import", "-"], &talk),
        (&["verify"], "stop that server first"),
        (&["serve", "--listen", "127.0.0.1:0"], "stop that server first"),
    ];
    for (arguments, help) in cases {
        let said = gesta(arguments.iter().copied().chain(["--dir", log])).failed(1);
        assert!(said.contains(&format!("process {}", server.id())), "{said}");
        assert!(said.contains(&format!("help: {help}\n")), "{said}");
        assert_eq!(said.matches("help").count(), 1, "{said}");
    }
    assert_eq!(server.stop(), Some(0), "it stops cleanly");
    gesta(["verify", "--dir", log]).ok();
}

#[test]
fn every_data_command_gives_the_same_on_a_server_and_on_a_folder() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log").to_str().unwrap().to_owned();
    let file = file(folder.path(), "events.jsonl", &lines((0..2_500).chain([3, 2_499])));
    let server = serve(&["--dir", &log]);
    let on = |arguments: &[&str]| gesta(arguments.iter().copied().chain(["--url", &server.url]));
    let said = on(&["import", &file]).ok();
    assert!(said.starts_with("read 2502, appended 2500, repeated 1, skipped 1"), "{said}");
    let said = on(&["import", &file]).ok();
    assert!(said.starts_with("read 2502, appended 0, repeated 2501, skipped 1"), "{said}");
    on(&["append", "s-3", "odd", "{\"a\":  1}", "--expect", "249", "--tag", "a:b"]).ok();
    let said = on(&["append", "s-3", "odd", "1", "--expect", "249"]).failed(1);
    assert!(said.contains("expected to have version 249, but has version 250"), "{said}");
    let said = on(&["read", "none-1"]).failed(1);
    assert!(said.contains("`none-1` has no event"), "{said}");
    let commands: &[&[&str]] = &[
        &["read", "s-3"],
        &["read", "s-3", "--json", "--backward", "--limit", "3"],
        &["read", "--all", "--json", "--limit", "1500"],
        &["read", "--tag", "a:b"],
        &["read", "--type", "t.1", "--category", "s", "--backward", "--limit", "1200"],
        &["streams", "--json"],
        &["export", "-", "--type", "t.0"],
    ];
    let served = commands.iter().map(|command| on(command).ok()).collect::<Vec<_>>();
    let said = on(&["state", "account", "42"]).failed(1);
    assert!(said.contains("hosts no deciders"), "{said}");
    let said = on(&["export", "-", "--stream", "none-1"]).failed(1);
    assert!(said.contains("`none-1` has no event"), "{said}");
    let said = on(&["verify"]).failed(2);
    assert!(said.contains("not on a server") && said.contains("--dir <folder>"), "{said}");
    assert_eq!(server.stop(), Some(0));
    for (command, served) in commands.iter().zip(served) {
        let local = gesta(command.iter().copied().chain(["--dir", &log])).ok();
        assert_eq!(local, served, "{command:?}");
        assert!(!local.is_empty());
    }
}

#[test]
fn a_server_on_a_taken_port_leaves_no_log_behind() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in ["serve", "demo"] {
        let said = gesta([command, "--listen", &address, "--dir", log.to_str().unwrap()]).failed(1);
        assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("--listen"), "{said}");
        assert!(!log.exists());
    }
}

#[test]
fn a_log_is_not_made_among_other_files() {
    let folder = TempDir::new().unwrap();
    let letter = file(folder.path(), "letter.txt", "Dear");
    let path = folder.path().to_str().unwrap();
    for arguments in
        [&["serve", "--listen", "127.0.0.1:0"][..], &["append", "s-1", "t", "1"], &["import", "-"]]
    {
        let said = gesta(arguments.iter().copied().chain(["--dir", path])).failed(1);
        assert!(said.contains("holds other files and no log"), "{said}");
    }
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 1, "nothing but `{letter}`");
}

#[test]
fn a_server_logs_its_work_and_its_end() {
    let folder = TempDir::new().unwrap();
    let mut child = command(["serve", "--listen", "127.0.0.1:0", "--dir", folder.path().to_str().unwrap()])
        .env("GESTA_LOG", "bogus===")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut serving = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut serving).unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let server = Server::of(child, serving);
    // A server without views has nothing to reload, and goes on.
    server.signal(rustix::process::Signal::HUP);
    assert_eq!(server.stop(), Some(0));
    let mut logged = String::new();
    stderr.read_to_string(&mut logged).unwrap();
    assert!(logged.contains("WARN GESTA_LOG is not a log level"), "{logged}");
    assert!(logged.trim_end().ends_with("INFO stopped") && !logged.contains("gesta_cli"), "{logged}");
}

#[test]
fn a_missing_server_is_named() {
    let folder = TempDir::new().unwrap();
    let server = serve(&["--dir", folder.path().to_str().unwrap()]);
    let url = server.url.clone();
    assert_eq!(server.stop(), Some(0));
    let said = gesta(["read", "--all", "--url", &url]).failed(1);
    assert!(said.contains(&format!("cannot reach a server at `{url}`")), "{said}");
}

#[test]
fn views_of_a_folder_of_definitions_are_served() {
    let folder = TempDir::new().unwrap();
    let definitions = folder.path().join("definitions");
    std::fs::create_dir(&definitions).unwrap();
    file(&definitions, "owners.sql", OWNERS);
    let log = folder.path().join("log").to_str().unwrap().to_owned();
    let arguments = ["--dir", &log, "--views", definitions.to_str().unwrap()];
    for round in 1..3 {
        let server = serve(&arguments);
        let on = |arguments: &[&str]| gesta(arguments.iter().copied().chain(["--url", &server.url]));
        on(&["append", "account-42", "opened", r#"{"owner": "ann"}"#]).ok();
        let head = on(&["read", "--all", "--json", "--backward", "--limit", "1"]).ok();
        let head = serde_json::from_str::<serde_json::Value>(&head).unwrap()["position"].to_string();
        let rows =
            || on(&["view", "owners", "select times from owners where owner = :who", "--param", "who=ann"]);
        let patience = Instant::now() + Duration::from_secs(120);
        while rows().out != format!("times\n{round}\n") {
            assert!(Instant::now() < patience, "the view reaches position {head}");
        }
        let json = on(&["view", "owners", "select times from owners", "--json"]).ok();
        let json = serde_json::from_str::<serde_json::Value>(&json).unwrap();
        assert_eq!(json["rows"], serde_json::json!([[round]]));
        assert_eq!(on(&["view", "owners", crate::local::UNUSUAL]).ok(), crate::local::UNUSUAL_ROWS);
        let said = on(&["view", "none", "select 1"]).failed(1);
        assert!(said.contains("there is no view `none`"), "{said}");
        assert_eq!(server.stop(), Some(0));
    }
    std::fs::write(definitions.join("wrong.sql"), "nonsense").unwrap();
    let said = gesta(["serve", "--listen", "127.0.0.1:0"].iter().chain(&arguments)).failed(1);
    assert!(said.contains("cannot read the views") && said.contains("wrong.sql"), "{said}");
}

#[test]
fn a_server_with_too_few_open_files_does_not_start() {
    let run = "ulimit -n 60; exec \"$0\" serve --store memory: --listen 127.0.0.1:0";
    let ran = std::process::Command::new("sh").args(["-c", run, env!("CARGO_BIN_EXE_gesta")]).output();
    let said = crate::harness::Ran::from(ran.unwrap()).failed(1);
    assert!(said.contains("may have 60 files open") && said.contains("ulimit -n 4096"), "{said}");
}

/// Runs the binary with a reader that takes nothing of its output.
fn unread(arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = command(arguments).stdout(writer).output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn a_reader_that_is_gone_ends_a_listing_in_silence_and_an_export_with_an_error() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().to_str().unwrap();
    gesta(["append", "s-1", "t", "1", "--dir", log]).ok();
    for listing in [&["openapi"][..], &["asyncapi"], &["read", "--all", "--dir", log]] {
        assert_eq!(unread(listing), (Some(0), String::new()), "{listing:?}");
    }
    for export in [&["export", "-", "--dir", log][..], &["audit", "export", "-", "--dir", log]] {
        let (code, said) = unread(export);
        assert!(code == Some(1) && said.contains("cannot write the output"), "{export:?}: {code:?} {said}");
    }
}
