//! The descriptions of the API that are checked in: those of the plain server and of the example bank.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Ran, gesta, program, serve};
use crate::hosts::{bank, bank_program};

/// Where the descriptions are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api");

/// Compares a description with the file of that name, which `cargo xtask api --write` writes anew.
#[track_caller]
fn check(file: &str, printed: Ran) -> Value {
    let printed = printed.ok();
    let written = std::fs::read_to_string(Path::new(FOLDER).join(file)).unwrap_or_default();
    let differs = printed.lines().zip(written.lines()).position(|(now, then)| now != then);
    assert!(
        printed == written,
        "`docs/api/{file}` is not what the program describes, from line {:?} on: look at what changes with `cargo xtask api --write`",
        differs.map(|line| line + 1)
    );
    serde_json::from_str(&printed).unwrap()
}

fn of_bank(command: &str) -> Ran {
    program(&bank_program(), [command]).output().unwrap().into()
}

#[test]
fn the_checked_in_description_of_the_plain_server_is_what_it_serves() {
    let described = check("gesta.openapi.json", gesta(["openapi"]));
    let server = serve(&["--store", "memory:"]);
    assert_eq!(fetch(&server.url, "/openapi.json"), described);
    assert!(described["paths"]["/streams/{stream}"]["post"].is_object());
    assert!(described["paths"].get("/commands").is_none(), "nothing is hosted");
}

#[test]
fn the_checked_in_description_of_the_bank_is_what_it_serves() {
    let described = check("bank.openapi.json", of_bank("openapi"));
    let server = bank(&["--store", "memory:"]);
    assert_eq!(fetch(&server.url, "/openapi.json"), described);
    let schemas = &described["components"]["schemas"];
    assert_eq!(schemas["command-account-deposit"]["properties"]["amount"]["minimum"], 1);
    assert_eq!(schemas["state-account"]["properties"]["balance"]["type"], "integer");
    let withdrawal = &schemas["event-bank.account.withdrawn-1"]["properties"];
    assert_eq!(withdrawal["data"]["required"][0], "amount", "{withdrawal}");
    let open = &described["paths"]["/commands/account/{id}/open"]["post"]["responses"]["422"];
    assert!(open.to_string().contains("the account is already open"), "{open}");
}

fn fetch(url: &str, path: &str) -> Value {
    let mut answer = ureq::get(format!("{url}{path}")).call().unwrap();
    serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
}

#[test]
fn the_checked_in_messages_of_the_plain_server_are_those_that_it_describes() {
    let described = check("gesta.asyncapi.json", gesta(["asyncapi"]));
    let server = serve(&["--store", "memory:"]);
    assert_eq!(fetch(&server.url, "/asyncapi.json"), described);
}

#[test]
fn the_checked_in_messages_of_the_bank_are_those_that_it_describes() {
    let described = check("bank.asyncapi.json", of_bank("asyncapi"));
    let server = bank(&["--store", "memory:"]);
    assert_eq!(fetch(&server.url, "/asyncapi.json"), described);
    let messages = &described["channels"]["log"]["messages"];
    for message in
        ["event-bank.account.withdrawn-1", "event-bank.account.withdrawn-2", "event-bank.account.audited-1"]
    {
        assert!(messages.get(message).is_some(), "{message}: {messages}");
    }
}
