//! Runs the examples of `docs/http.md` against `gesta demo`.

use std::process::Command;

use tempfile::TempDir;

use crate::readme::demo;

const PAGE: &str = include_str!("../../../../docs/http.md");
/// Set before the examples: a refused request ends the script and is named.
const BEFORE: &str = "set -eu\ncurl() { command curl --silent --show-error --fail \"$@\"; echo; }\n";

#[test]
fn every_example_of_the_http_page_works() {
    let has_curl = Command::new("curl").args(["--json", "{}", "--version"]).output();
    if !has_curl.is_ok_and(|output| output.status.success()) {
        println!("not run: no curl with `--json`");
        return;
    }
    let folder = TempDir::new().unwrap();
    let server = demo(folder.path().join("demo").to_str().unwrap());
    let blocks = PAGE.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // Leave out the examples that follow the log: they do not end.
    let script = blocks.filter(|block| !block.contains("curl -N")).collect::<String>();
    let script = format!("{BEFORE}{script}").replace("http://127.0.0.1:2114", &server.url);
    assert!(script.matches("curl").count() > 30, "the page has examples");
    let ran = Command::new("sh").args(["-xc", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}", said.lines().rev().take(5).collect::<Vec<_>>().join("\n"));
    assert_eq!(server.stop(), Some(0));
}
