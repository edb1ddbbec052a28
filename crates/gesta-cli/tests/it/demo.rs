//! `gesta demo` and its bank.

use serde_json::json;
use tempfile::TempDir;

use crate::harness::gesta;
use crate::readme::{demo, demo_with_introduction};

#[test]
fn no_amount_stops_the_view_of_balances() {
    let folder = TempDir::new().unwrap();
    let server = demo(folder.path().join("demo").to_str().unwrap());
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let send = |command: &str, body: &str| {
        let url = format!("{}/commands/account/anna/{command}", server.url);
        let mut answer = agent.post(&url).header("content-type", "application/json").send(body).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str::<serde_json::Value>(&text).unwrap())
    };
    assert_eq!(send("open", r#"{"owner": "Anna"}"#).0, 200);
    for wrong in ["18446744073709551615", "4294967296", "0", "-1", "1.5"] {
        let (status, said) = send("deposit", &format!(r#"{{"amount": {wrong}}}"#));
        assert!((400..500).contains(&status), "{wrong}: {status} {said}");
    }
    let mut checkpoint = json!(null);
    for _ in 0..3 {
        let (status, answer) = send("deposit", r#"{"amount": 4294967295}"#);
        assert_eq!(status, 200, "{answer}");
        checkpoint = answer["checkpoint"].clone();
    }
    let wait = ["--wait-for", checkpoint.as_str().unwrap(), "--url", &server.url];
    let rows = gesta(["view", "balances", "select balance from balances"].iter().chain(&wait)).ok();
    assert_eq!(rows, format!("balance\n{}\n", 3 * u64::from(u32::MAX)));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn the_introduction_is_printed_once_the_server_listens_and_names_its_port() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = folder.path().join("demo").to_str().unwrap().to_owned();
    let ran = gesta(["demo", "--listen", &address, "--dir", &dir]);
    assert!(ran.code == 1 && ran.out.is_empty(), "{ran:?}");
    assert!(ran.err.contains("cannot listen on"), "{ran:?}");
    let (server, introduction) = demo_with_introduction(&dir, &[]);
    assert!(introduction.contains(&format!("{}/commands/account/anna/open", server.url)), "{introduction}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_hosted_category_takes_an_import_only_if_it_is_opened() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("demo").to_str().unwrap().to_owned();
    let file = folder.path().join("events.jsonl");
    let event = r#"{"specversion":"1.0","id":"1","source":"urn:x","type":"bank.account.opened","subject":"account-ben","data":{"owner":"Ben"}}"#;
    std::fs::write(&file, event).unwrap();
    let import = |url: &str| gesta(["import", file.to_str().unwrap(), "--url", url]);
    let server = demo(&dir);
    let refused = import(&server.url);
    assert!(refused.code == 1 && refused.err.contains("--open-category account"), "{refused:?}");
    assert_eq!(server.stop(), Some(0));
    let (server, _) = demo_with_introduction(&dir, &["--open-category", "account"]);
    let said = import(&server.url).ok();
    assert!(said.contains("appended 1"), "{said}");
    let state = gesta(["state", "account", "ben", "--url", &server.url]).ok();
    assert!(state.contains(r#""open":true"#), "{state}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_category_that_is_not_hosted_cannot_be_opened() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("demo").to_str().unwrap().to_owned();
    let open = ["--open-category", "acount", "--dir", &dir];
    let refused = gesta(["demo"].iter().chain(&open));
    assert!(refused.code == 2 && refused.err.contains("name one of `account`"), "{refused:?}");
    let refused = gesta(["serve"].iter().chain(&open));
    assert!(refused.code == 2 && refused.err.contains("leave out `--open-category`"), "{refused:?}");
    assert!(!folder.path().join("demo").exists(), "no log is made");
}

#[test]
fn of_64_clients_that_reverse_a_transfer_one_does() {
    let folder = TempDir::new().unwrap();
    let server = demo(folder.path().join("demo").to_str().unwrap());
    let send = |path: &str, body: serde_json::Value| {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let request = agent.post(format!("{}{path}", server.url)).header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str::<serde_json::Value>(&text).unwrap())
    };
    for id in ["anna", "ben"] {
        send(&format!("/commands/account/{id}/open"), json!({"owner": id}));
    }
    for id in ["anna", "ben"] {
        send(&format!("/commands/account/{id}/deposit"), json!({"amount": 100}));
    }
    let (_, transfer) = send("/commands/transfer", json!({"from": "anna", "to": "ben", "amount": 30}));
    let id = |event: usize| transfer["events"][event]["id"].clone();
    let reversal = json!({"from": "anna", "withdrawal": id(0), "to": "ben", "deposit": id(1)});
    let answers = std::thread::scope(|scope| {
        let clients = (0..64).map(|_| scope.spawn(|| send("/commands/reverse", reversal.clone())));
        let clients = clients.collect::<Vec<_>>();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let (done, refused) = answers.iter().partition::<Vec<_>, _>(|(status, _)| *status == 200);
    assert_eq!((done.len(), refused.len()), (1, 63));
    for (status, problem) in refused {
        let expected = (&409, &json!("urn:gesta:problem:already-compensated"));
        assert_eq!((status, &problem["type"]), expected, "{problem}");
    }
    let balances = "select balance from balances order by account";
    let wait = ["--wait-for", done[0].1["checkpoint"].as_str().unwrap(), "--url", &server.url];
    let rows = gesta(["view", "balances", balances].iter().chain(&wait)).ok();
    assert_eq!(rows, "balance\n100\n100\n");
    let wrong = json!({"from": "anna", "withdrawal": "x", "to": "ben", "deposit": id(1)});
    let (status, problem) = send("/commands/reverse", wrong);
    assert_eq!((status, &problem["field"]), (400, &json!("withdrawal")), "{problem}");
    assert_eq!(server.stop(), Some(0));
}
