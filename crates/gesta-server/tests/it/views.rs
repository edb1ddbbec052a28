//! Views over HTTP.

use std::sync::Arc;
use std::time::Duration;

use gesta_consumer::{Consumers, SystemClock};
use gesta_core::MemoryKeyValueStore;
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
    let beyond = r#"{"sql": "select :x", "params": {"x": 18446744073709551615}}"#;
    let refused = server.post("/views/balances/query", beyond).problem(400, "invalid-request");
    assert!(refused.contains("`x` is 18446744073709551615, which is no integer of SQL"), "{refused}");
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
    let patient = (0..2_000).map(|_| wait(&checkpoint)).find(|answer| answer.status == 409);
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
fn a_changed_view_is_rolled_back_and_its_old_version_dropped() {
    let (folder, store) = (TempDir::new().unwrap(), memory());
    let serving = |text: &str| {
        let definition = Definition::parse("balances", text).unwrap();
        let views = Views::open(store.clone(), folder.path().join("views"), vec![definition]).unwrap();
        serve(Server::builder(store.clone()).views(Arc::new(views)).build())
    };
    let amount = |server: &Running, checkpoint: &str| {
        let query = format!("/views/balances/query?sql={ALL}&wait_for={checkpoint}");
        server.get(&query).json()["rows"][0][1].clone()
    };
    let until = |server: &Running, is_so: &dyn Fn(&serde_json::Value) -> bool| loop {
        let status = server.get("/views/balances").json();
        if is_so(&status) {
            return status;
        }
    };
    let server = serving(BALANCES);
    let checkpoint = deposit(&server, "42", r#"{"amount": 1}"#);
    assert_eq!(amount(&server, &checkpoint), 1);
    server.post("/views/balances/rollback", "").problem(409, "no-old-version");
    server.post("/views/balances/drop-old", "").problem(409, "no-old-version");
    server.post("/views/none/rollback", "").problem(404, "no-view");
    drop(server);
    let server = serving(&BALANCES.replace(":amount)", ":amount * 100)"));
    let has_served =
        |status: &serde_json::Value| status["progress"].is_null() && status["checkpoint"].is_string();
    let built = until(&server, &has_served);
    assert_eq!((&built["servesPredecessor"], &built["rolledBack"]), (&json!(false), &json!(null)));
    assert_eq!(amount(&server, &checkpoint), 100);
    let old = built["old"]["version"].as_str().unwrap().to_owned();
    let done = server.post("/views/balances/rollback", "").json();
    assert_eq!((&done["to"], &done["isGiven"]), (&json!(old), &json!(false)));
    until(&server, &|status| status["servesPredecessor"] == false && status["state"] == "live");
    assert_eq!(done["view"]["rolledBack"], built["hash"]);
    assert_eq!(amount(&server, &checkpoint), 1);
    let done = server.post("/views/balances/rollback", "").json();
    assert_eq!((&done["from"], &done["isGiven"]), (&json!(old), &json!(true)));
    until(&server, &|status| status["servesPredecessor"] == false && status["state"] == "live");
    assert_eq!(server.post("/views/balances/drop-old", "").json(), json!({"dropped": old}));
    assert_eq!(until(&server, &|status| status["state"] == "live")["old"], json!(null));
    assert_eq!(amount(&server, &checkpoint), 100);
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

/// A deposit that happened at a time, and the checkpoint after it.
fn deposit_at(server: &Running, amount: u32, time: &str) -> String {
    let event = json!({"type": "account.deposited", "data": {"amount": amount}, "time": time}).to_string();
    let answer = server.post("/streams/account-42", &event);
    answer.json()["checkpoint"].as_str().unwrap().to_owned()
}

const SUM: &str = "/views/balances/query?sql=select%20amount%20from%20balances";

#[test]
fn a_view_is_queried_as_of_an_earlier_moment() {
    let (server, _folder) = viewing(Limits::default());
    let first = deposit_at(&server, 1, "2026-01-01T10:00:00Z");
    deposit_at(&server, 2, "2026-01-03T10:00:00Z");
    deposit_at(&server, 4, "2026-01-02T10:00:00Z");
    let rows = |moment: &str| server.get(&format!("{SUM}&{moment}")).json()["rows"].clone();
    for _ in 0..2 {
        assert_eq!(rows(&format!("at={first}")), json!([[1]]));
        assert_eq!(rows("at=2"), json!([[3]]));
        assert_eq!(rows("at=0"), json!([]));
        assert_eq!(rows("time=2026-01-02T23:59:59Z"), json!([[5]]));
    }
    let recorded = server.get("/streams/account-42").json()["events"][1]["recordedAt"].clone();
    assert_eq!(rows(&format!("at={}", recorded.as_str().unwrap())), json!([[7]]));
    let answer = server.get(&format!("{SUM}&at={first}")).json();
    assert_eq!((&answer["checkpoint"], answer.get("state")), (&json!(first), None));
    let body = r#"{"sql": "select amount + :more from balances", "params": {"more": 10}}"#;
    let posted = server.post("/views/balances/query?at=1", body);
    assert_eq!(posted.json()["rows"], json!([[11]]));
}

#[test]
fn a_position_may_lie_within_a_batch_and_a_time_may_not() {
    let (server, _folder) = viewing(Limits::default());
    let deposit = |amount: u32| json!({"stream": "account-42", "type": "account.deposited", "data": {"amount": amount}});
    for amount in [1, 4] {
        let batch = json!({"events": [deposit(amount), deposit(2 * amount)]}).to_string();
        assert_eq!(server.post("/batches", &batch).status, 201);
    }
    let rows = |moment: &str| server.get(&format!("{SUM}&{moment}")).json()["rows"].clone();
    let sums = (1..=4).map(|position| rows(&format!("at={position}"))).collect::<Vec<_>>();
    assert_eq!(sums, [json!([[1]]), json!([[3]]), json!([[7]]), json!([[15]])]);
    assert_eq!(rows("at=1970-01-01T00:00:00.999Z"), json!([]));
    assert_eq!(rows("at=1970-01-01T00:00:01Z"), json!([[15]]));
}

#[test]
fn days_of_a_series_end_with_the_clocks_of_the_zone() {
    let (server, _folder) = viewing(Limits::default());
    // The clocks of Prague go forward in the night before the second day, which has 23 hours.
    for time in
        ["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"]
    {
        deposit_at(&server, 1, time);
    }
    let days = server.get(&format!("{SUM}&every=day&by=time&zone=Europe/Prague")).json();
    let cut = |time: &str| format!("2026-03-{time}:59:59.999999999Z");
    assert_eq!(days["rows"], json!([[cut("28T22"), 1], [cut("29T21"), 3], [cut("30T21"), 4]]));
}

#[test]
fn a_moment_that_is_none_is_refused() {
    let (server, _folder) = viewing(Limits { evaluation_events_max: 1, ..Limits::default() });
    deposit_at(&server, 1, "2026-01-01T10:00:00Z");
    deposit_at(&server, 2, "2026-01-02T10:00:00Z");
    let refused = |params: &str, status, kind| server.get(&format!("{SUM}&{params}")).problem(status, kind);
    let invalid = |params: &str| refused(params, 400, "invalid-request");
    assert!(invalid("at=soon").contains("`soon` is no position, no time in RFC 3339 and no checkpoint"));
    assert!(invalid("at=2200-01-01T00:00:00Z").contains("lies in the future"));
    assert!(invalid("time=2200-01-01T00:00:00Z").contains("lies in the future"));
    assert!(invalid("time=yesterday").contains("is not a time"));
    assert!(invalid("at=1&time=2026-01-01T00:00:00Z").contains("give one"));
    assert!(invalid("at=1&every=day").contains("give one"));
    assert!(invalid("at=1&wait_for=x").contains("wait_for"));
    assert!(invalid("at=0/1").contains("`0/1` is no position"));
    assert!(invalid("zone=UTC").contains("`zone` is unknown"));
    for bad in ["every=0", "every=-1", "every=1.5", "every=decade"] {
        assert!(invalid(bad).contains("is not a step: give `hour`, `day`"), "{bad}");
    }
    for bad in ["every=7&by=time", "every=7&from=2026-01-01T00:00:00Z", "every=7&to=2026-01-01T00:00:00Z"] {
        assert!(invalid(bad).contains("belong to a step of the calendar"), "{bad}");
    }
    refused("at=9", 409, "checkpoint-ahead");
    refused(&format!("at={}.0", "08".repeat(16)), 400, "foreign-checkpoint");
    let too_much = refused("at=2", 422, "query-limit");
    assert!(
        too_much.contains("more than 1 events") && too_much.contains("gesta view balances"),
        "{too_much}"
    );
    server.get(&format!("/views/none/query?sql={ALL}&at=1")).problem(404, "no-view");
}

#[test]
fn a_view_is_queried_at_many_moments() {
    let (server, _folder) = viewing(Limits { query_rows_max: 3, ..Limits::default() });
    deposit_at(&server, 1, "2026-01-01T10:00:00Z");
    deposit_at(&server, 2, "2026-01-03T10:00:00Z");
    let series = |params: &str| server.get(&format!("{SUM}&{params}"));
    let days = series("every=day&by=time").json();
    assert_eq!(days["columns"], json!(["cut", "amount"]));
    let cut = |day| format!("2026-01-0{day}T23:59:59.999999999Z");
    assert_eq!(days["rows"], json!([[cut(1), 1], [cut(2), 1], [cut(3), 3]]));
    let prague = series("every=day&by=time&zone=Europe/Prague&from=2026-01-03T00:00:00Z").json();
    assert_eq!(prague["rows"], json!([["2026-01-03T22:59:59.999999999Z", 3]]));
    let recorded = series("every=year").json();
    assert_eq!(recorded["rows"].as_array().unwrap().len(), 1);
    // The clock of the store stands in the first day of 1970, and it decides what has passed.
    assert_eq!(series("every=day&closed=true").json()["rows"], json!([]));
    let late = series("every=day&by=time&closed=true").problem(400, "invalid-request");
    assert!(late.contains("cannot be closed"), "{late}");
    let too_many = series("every=hour&by=time").problem(422, "query-limit");
    assert!(too_many.contains("more than 3 rows"), "{too_many}");
    let runs = series("every=1").json();
    assert_eq!(runs["columns"], json!(["cut", "amount"]));
    assert_eq!(runs["rows"], json!([[1, 1], [2, 3]]));
    deposit_at(&server, 4, "2026-01-02T10:00:00Z");
    assert_eq!(series("every=2").json()["rows"], json!([[2, 3], [3, 7]]));
    series("every=day&by=time").problem(422, "late-event");
    series("every=day&by=neither").problem(400, "invalid-request");
}

#[test]
fn parked_streams_of_a_view_are_shown_replayed_and_skipped() {
    let folder = TempDir::new().unwrap();
    let store = memory();
    let text = BALANCES.replace("-- dialect: sqlite", "-- dialect: sqlite\n-- on-error: park");
    let text = text.replace("not null);", "not null check (amount >= 0));");
    let definition = Definition::parse("balances", &text).unwrap();
    let views = Arc::new(Views::open(store.clone(), folder.path().join("views"), vec![definition]).unwrap());
    let consumers = Consumers::new(Arc::new(MemoryKeyValueStore::default()), Arc::new(SystemClock));
    views.consumers().into_iter().for_each(|view| consumers.add(view).unwrap());
    let server = serve(Server::builder(store).views(views).consumers(Arc::new(consumers)).build());
    deposit(&server, "1", r#"{"amount": -5}"#);
    deposit(&server, "2", r#"{"amount": -6}"#);
    deposit(&server, "2", r#"{"amount": 7}"#);
    let checkpoint = deposit(&server, "3", r#"{"amount": 1}"#);
    let answer = server.get(&format!("/views/balances/query?sql={ALL}&wait_for={checkpoint}")).json();
    assert_eq!(answer["rows"], json!([["3", 1]]));
    assert_eq!(answer["parked"], json!(["account-1", "account-2"]));
    let past = server.get(&format!("/views/balances/query?sql={ALL}&at={checkpoint}")).json();
    assert_eq!((&past["rows"], &past["parked"]), (&answer["rows"], &answer["parked"]));
    let status = server.get("/views/balances").json();
    assert_eq!((&status["degraded"], &status["parkedStreams"]), (&json!(true), &json!(2)));
    assert_eq!(server.get("/consumers/balances").json()["parkedStreams"], 2);
    assert!(server.get("/metrics").text.contains("gesta_view_parked_streams{view=\"balances\"} 2\n"));
    assert_eq!(server.get("/readyz?strict").json()["degraded"], json!(["balances"]));
    let listed = server.get("/views/balances/parked").json();
    assert_eq!(listed["parked"], status["parked"]);
    assert_eq!(
        (&listed["parked"][1]["stream"], &listed["parked"][1]["version"]),
        (&json!("account-2"), &json!(0))
    );
    assert!(listed["parked"][1]["error"].as_str().unwrap().contains("CHECK constraint failed"), "{listed}");
    let held = server.get("/views/balances/parked/account-2").json();
    assert_eq!(held["events"][1]["data"], json!({"amount": 7}));
    server.get("/views/balances/parked/account-3").problem(404, "not-parked");
    let again = server.post("/views/balances/parked/replay", r#"{"all": true}"#).json();
    assert_eq!(
        (&again["replayed"], &again["events"], &again["parked"]),
        (&json!(2), &json!(0), &listed["parked"])
    );
    let body = r#"{"stream": "account-2", "through": 0, "reason": "a test"}"#;
    let skipped = server.post("/views/balances/parked/skip", body).json();
    assert_eq!(skipped, json!({"replayed": 1, "events": 1, "parked": []}));
    server.post("/views/balances/parked/skip", body).problem(404, "not-parked");
    server.post("/views/none/parked/replay", r#"{"all": true}"#).problem(404, "no-view");
    server.post("/views/balances/parked/replay", "{}").problem(400, "invalid-request");
    let answer = server.get(&format!("/views/balances/query?sql={ALL}")).json();
    assert_eq!((&answer["rows"], &answer["parked"]), (&json!([["2", 7], ["3", 1]]), &json!(["account-1"])));
}
