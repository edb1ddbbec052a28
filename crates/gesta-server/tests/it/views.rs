//! Views over HTTP.

use std::sync::Arc;
use std::time::Duration;

use gesta_server::{Limits, Server};
use gesta_views::{Definition, Views};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Running, event, memory, serve, start};

const BALANCES: &str = "-- dialect: sqlite
create table balances (account text primary key, amount integer not null);
-- on account.deposited
insert into balances values ($entity, :amount)
on conflict do update set amount = amount + excluded.amount;";

/// A server with the view `balances`.
pub(crate) fn viewing(limits: Limits) -> (Running, TempDir) {
    let folder = TempDir::new().unwrap();
    let store = memory();
    let definition = Definition::parse("balances", BALANCES).unwrap();
    let views = Views::open(store.clone(), folder.path().join("views"), vec![definition]).unwrap();
    (serve(Server::builder(store).views(Arc::new(views)).limits(limits).build()), folder)
}

fn deposit(server: &Running, account: &str, data: &str) -> String {
    let answer = server.post(&format!("/streams/account-{account}"), &event("account.deposited", data));
    answer.json()["checkpoint"].as_str().unwrap().to_owned()
}

const ALL: &str = "select%20account,amount%20from%20balances%20order%20by%201";

#[test]
fn a_view_is_queried_as_of_ones_own_write() {
    let (server, _folder) = viewing(Limits::default());
    for amount in 1..20 {
        let checkpoint = deposit(&server, "42", &format!(r#"{{"amount": {amount}}}"#));
        let query = format!("/views/balances/query?sql={ALL}");
        let answer = match amount % 2 {
            0 => server.get_with(&query, &[("wait-for", &checkpoint)]),
            _ => server.get(&format!("{query}&wait_for={checkpoint}")),
        };
        let expected = json!({
            "columns": ["account", "amount"],
            "rows": [["42", (1..=amount).sum::<i32>()]],
            "checkpoint": checkpoint,
            "state": answer.json()["state"],
            "error": null,
        });
        assert_eq!(answer.json(), expected);
        assert!(["live", "catching-up"].contains(&answer.json()["state"].as_str().unwrap()));
    }
    let body = r#"{"sql": "select amount, :text, :none, x'00ff' from balances where amount > :least", "params": {"least": 1.5, "text": "é", "none": null}}"#;
    let answer = server.post("/views/balances/query", body);
    assert_eq!(answer.json()["rows"], json!([[190, "é", null, {"base64": "AP8="}]]), "{answer:?}");
}

#[test]
fn views_are_listed_with_their_states() {
    let (server, _folder) = viewing(Limits::default());
    let checkpoint = deposit(&server, "42", r#"{"amount": 1}"#);
    server.get(&format!("/views/balances/query?sql={ALL}&wait_for={checkpoint}"));
    let status = server.get("/views/balances").json();
    assert_eq!((&status["name"], &status["checkpoint"]), (&json!("balances"), &json!(checkpoint)));
    assert_eq!((&status["lagEvents"], &status["error"]), (&json!(0), &json!(null)));
    assert_eq!(server.get("/views").json()["views"][0]["name"], "balances");
    server.get("/views/none").problem(404, "no-view");
    assert_eq!(start().get("/views").json(), json!({"views": []}));
    assert_eq!(server.get("/readyz?strict=true").json()["views"]["balances"], status["state"]);
    let both = format!("/views/balances/query?sql={ALL}&wait_for={checkpoint}");
    server.get_with(&both, &[("wait-for", &checkpoint)]).problem(400, "invalid-request");
}

#[test]
fn a_query_that_is_not_allowed_or_wrong_says_so() {
    let limits =
        Limits { query_time_max: Duration::from_millis(200), query_rows_max: 10, ..Limits::default() };
    let (server, _folder) = viewing(limits);
    let checkpoint = deposit(&server, "42", r#"{"amount": 1}"#);
    server.get(&format!("/views/balances/query?sql={ALL}&wait_for={checkpoint}"));
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select ";
    let cases = [
        ("delete from balances".to_owned(), 403, "not-allowed"),
        ("select 1; select 2".to_owned(), 400, "invalid-query"),
        ("select nothing from balances".to_owned(), 400, "invalid-query"),
        ("select :x".to_owned(), 400, "invalid-query"),
        (format!("{endless} count(*) from n"), 422, "query-limit"),
        (format!("{endless} i from n limit 11"), 422, "query-limit"),
    ];
    for (sql, status, kind) in cases {
        let body = json!({"sql": sql}).to_string();
        server.post("/views/balances/query", &body).problem(status, kind);
    }
    server.get("/views/balances/query").problem(400, "invalid-request");
    server
        .post("/views/balances/query", r#"{"sql": "select :x", "params": {"x": []}}"#)
        .problem(400, "invalid-request");
    server.get(&format!("/views/none/query?sql={ALL}")).problem(404, "no-view");
}

#[test]
fn waiting_for_a_view_has_an_end() {
    let (server, _folder) = viewing(Limits { wait_time_max: Duration::from_millis(50), ..Limits::default() });
    let wait =
        |checkpoint: &str| server.get(&format!("/views/balances/query?sql={ALL}&wait_for={checkpoint}"));
    wait(&format!("{}.99", "07".repeat(16))).problem(409, "checkpoint-ahead");
    wait(&format!("{}.0", "08".repeat(16))).problem(400, "foreign-checkpoint");
    wait("soon").problem(400, "invalid-request");
    let checkpoint = deposit(&server, "42", "{}");
    let refused = wait(&checkpoint);
    assert!([409, 504].contains(&refused.status), "{refused:?}");
    let patient = (0..100).map(|_| wait(&checkpoint)).find(|answer| answer.status == 409);
    assert!(patient.unwrap().problem(409, "view-stopped").contains("/restart"));
    assert_eq!(server.get("/views/balances").json()["state"], "stopped");
    let stale = server.get(&format!("/views/balances/query?sql={ALL}"));
    assert!(stale.status == 409 || stale.json()["state"] == "stopped", "{stale:?}");
    assert_eq!(server.get("/readyz").json()["views"], json!({"balances": "stopped"}));
    let refused = server.get("/readyz?strict");
    assert!(refused.problem(503, "not-ready").contains("`balances`"));
    assert_eq!(refused.json()["views"], json!(["balances"]));
    assert_eq!(server.post("/views/balances/restart", "").status, 200);
}

#[test]
fn an_infinite_number_in_an_answer_is_not_null() {
    let (server, _folder) = viewing(Limits::default());
    let answer = server.post("/views/balances/query", r#"{"sql": "select 1e400, -1e400, 1e300"}"#);
    assert_eq!(
        answer.json()["rows"],
        json!([[{"real": "Infinity"}, {"real": "-Infinity"}, 1e300]]),
        "{answer:?}"
    );
}

#[test]
fn a_query_behind_too_many_others_is_refused_as_overloaded() {
    let limits = Limits {
        query_time_max: Duration::from_secs(2),
        query_wait_max: Duration::from_millis(10),
        ..Limits::default()
    };
    let (server, _folder) = viewing(limits);
    let endless = "with recursive c(x) as (select 1 union all select x from c) select count(*) from c";
    let endless = json!({"sql": endless}).to_string();
    let answers = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| server.post("/views/balances/query", &endless));
        let asked = (0..32).map(|_| ask()).collect::<Vec<_>>();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
    });
    let refused = answers.iter().find(|answer| answer.status == 503);
    refused.unwrap().problem(503, "overloaded");
    assert!(answers.iter().any(|answer| answer.status == 422), "those that run reach their time limit");
}
