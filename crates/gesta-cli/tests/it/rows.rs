//! A host with a view in Rust, the example `owners`: the view is listed, queried and evaluated as those in SQL.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Server, gesta, program, serving};

/// The program of the example, which cargo builds beside the tests.
fn owners() -> PathBuf {
    let gesta = PathBuf::from(env!("CARGO_BIN_EXE_gesta"));
    gesta.parent().unwrap().join("examples/owners")
}

fn start(folder: &str) -> Server {
    let mut command = program(&owners(), ["serve", "--listen", "127.0.0.1:0", "--dir", folder]);
    serving(command.env("GESTA_LOG", "warn").stdout(Stdio::piped()).spawn().unwrap())
}

fn post(url: &str, path: &str, body: &Value) -> Value {
    let request = ureq::post(format!("{url}{path}")).header("content-type", "application/json");
    let text = request.send(body.to_string()).unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

const QUERY: &str = "select name, accounts, money from owners order by name";

#[test]
fn a_view_in_rust_is_listed_queried_and_evaluated_as_one_in_sql() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let server = start(folder);
    let url = server.url.clone();
    for (account, owner) in [("a", "Anna"), ("b", "Ben"), ("c", "Anna")] {
        post(&url, &format!("/commands/account/{account}/open"), &json!({ "owner": owner }));
    }
    post(&url, "/commands/account/a/deposit", &json!({"amount": 100}));
    let before = post(&url, "/commands/account/c/deposit", &json!({"amount": 5}));
    let moved = post(&url, "/commands/transfer", &json!({"from": "a", "to": "b", "amount": 30}));
    let checkpoint = |answer: &Value| answer["checkpoint"].as_str().unwrap().to_owned();

    let asked = format!("/views/owners/query?wait_for={}", checkpoint(&moved));
    let answer = post(&url, &asked, &json!({ "sql": QUERY }));
    assert_eq!(answer["rows"], json!([["Anna", 2, 75], ["Ben", 1, 30]]));
    let asked = format!("/views/owners/query?at={}", checkpoint(&before));
    let answer = post(&url, &asked, &json!({ "sql": QUERY }));
    assert_eq!(answer["rows"], json!([["Anna", 2, 105], ["Ben", 1, 0]]));
    let listed = ureq::get(format!("{url}/views")).call().unwrap().body_mut().read_to_string().unwrap();
    let listed = serde_json::from_str::<Value>(&listed).unwrap().to_string();
    assert!(listed.contains(r#""name":"owners""#) && listed.contains(r#""state":"live""#), "{listed}");

    let rows = "name,accounts,money\nAnna,2,75\nBen,1,30\n";
    // The plain binary asks the server, and needs no view for that.
    assert_eq!(gesta(["view", "owners", QUERY, "--url", &url]).ok(), rows);
    assert_eq!(server.stop(), Some(0));
    let here = program(&owners(), ["view", "owners", QUERY, "--dir", folder]).output().unwrap();
    assert_eq!(String::from_utf8(here.stdout).unwrap(), rows);
}
