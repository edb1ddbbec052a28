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
    let (server, introduction) = demo_with_introduction(&dir);
    assert!(introduction.contains(&format!("{}/commands/account/anna/open", server.url)), "{introduction}");
    assert_eq!(server.stop(), Some(0));
}
