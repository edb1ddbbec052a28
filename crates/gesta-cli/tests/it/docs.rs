//! Runs the examples of `docs/http.md` and `docs/corrections.md` against `gesta demo`, and the walk through `docs/services.md`.

use std::process::Command;

use tempfile::TempDir;

use crate::harness::serve;
use crate::hosts::{VIEWS, bank};
use crate::readme::demo;

const PAGE: &str = include_str!("../../../../docs/http.md");
const CORRECTIONS: &str = include_str!("../../../../docs/corrections.md");
const SERVICES: &str = include_str!("../../../../docs/services.md");
/// Set before the examples: a refused request ends the script and is named.
const BEFORE: &str = "set -eu\ncurl() { command curl --silent --show-error --fail \"$@\"; echo; }\n";

fn has_curl() -> bool {
    let has_curl = Command::new("curl").args(["--json", "{}", "--version"]).output();
    has_curl.is_ok_and(|output| output.status.success())
}

/// Set before examples that are refused: each answer is followed by its status.
const BEFORE_REFUSED: &str = "curl() { command curl --silent --write-out '\\n%{http_code}\\n' \"$@\"; }\n";

/// Runs examples to their end. Returns their answers.
fn run(script: &str) -> String {
    let ran = Command::new("sh").args(["-xc", &format!("{BEFORE}{script}")]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}", said.lines().rev().take(5).collect::<Vec<_>>().join("\n"));
    String::from_utf8(ran.stdout).unwrap()
}

fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap())
}

#[test]
fn every_example_of_the_http_page_works() {
    if !has_curl() {
        println!("not run: no curl with `--json`");
        return;
    }
    let folder = TempDir::new().unwrap();
    let server = demo(folder.path().join("demo").to_str().unwrap());
    // Leave out the examples that follow the log: they do not end.
    let script = blocks(PAGE).filter(|block| !block.contains("curl -N")).collect::<String>();
    let script = script.replace("http://127.0.0.1:2114", &server.url);
    assert!(script.matches("curl").count() > 30, "the page has examples");
    run(&script);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_bank_reverses_a_transfer_as_the_page_says() {
    if !has_curl() {
        println!("not run: no curl with `--json`");
        return;
    }
    let folder = TempDir::new().unwrap();
    let server = demo(folder.path().join("demo").to_str().unwrap());
    let mut steps = blocks(CORRECTIONS).map(|block| block.replace("http://127.0.0.1:2114", &server.url));
    let (reversed, refused) = (steps.next().unwrap(), steps.next().unwrap());
    let answers = run(&format!("{reversed}{BEFORE_REFUSED}{refused}"));
    assert!(answers.contains(r#""balance":100"#), "{answers}");
    assert!(answers.contains("compensatedBy") && answers.contains("compensates"), "{answers}");
    let kinds = ["urn:gesta:problem:already-compensated", "\n409\n", r#""code":"IsReversal""#, "\n422\n"];
    assert!(kinds.iter().all(|kind| answers.contains(kind)), "{answers}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_walk_through_several_services_on_one_log_works() {
    if !has_curl() {
        println!("not run: no curl with `--json`");
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = serve(&["--dir", &path("log")]);
    let host = |state: &str| bank(&["--store", &server.url, "--state", &path(state), "--views", VIEWS]);
    let (first, second) = (host("state-1"), host("state-2"));
    let urls = [("2114", server.url.clone()), ("2115", first.url.clone()), ("2116", second.url.clone())];
    let mut steps = blocks(SERVICES).filter(|block| block.contains("curl")).map(|block| {
        let places = urls.iter().map(|(port, url)| (format!("http://127.0.0.1:{port}"), url));
        places.fold(block.to_owned(), |block, (shown, url)| block.replace(&shown, url))
    });
    run(&steps.next().unwrap());
    drop(second);
    let answers = run(&steps.next().unwrap());
    assert!(answers.contains(r#""repeated":true"#) && answers.contains(r#""balance":100"#), "{answers}");
    let events = run(&steps.next().unwrap());
    assert_eq!(events.matches("bank.account.").count(), 2, "{events}");
    assert_eq!((first.stop(), server.stop()), (Some(0), Some(0)));
}
