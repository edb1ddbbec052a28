//! The routes of consumer groups: what they pass on, how they answer, and what becomes of a reply that cannot be sent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use gesta::http::Principal;
use gesta_consumer::group::{
    ChangeError, Delivery, DeliveryId, GroupSettings, GroupState, GroupStatus, Held, LookError, Parked,
    PutError, SettingsVersion, Settled, TakeError, Taken,
};
use gesta_core::{
    Checkpoint, EventId, NewEvent, Position, Query, ReadError, RecordedEvent, StoreId, StreamName, Timestamp,
    Version,
};
use gesta_server::{Limits, Server};
use serde_json::json;

use crate::harness::{Running, memory, serve, start};
use crate::scripted::{Scripted, shared};

const STORE: StoreId = StoreId::from_bytes([7; 16]);
const JSON: (&str, &str) = ("content-type", "application/json");
const ALL: &str = r#"{"query":"all"}"#;
const TAKE: &str = r#"{"member":"m-1","max":8,"waitMs":20000,"holds":[]}"#;

fn status() -> GroupStatus {
    let start = Checkpoint::start(STORE, 1);
    GroupStatus {
        name: "mail".parse().unwrap(),
        settings: GroupSettings::new(Query::All),
        settings_version: SettingsVersion::new(3),
        items: Vec::new(),
        is_hosted: false,
        state: GroupState::Running,
        members: Vec::new(),
        scanned: start.clone(),
        head: start,
        lag_events: Some(0),
        lag: Some(Duration::ZERO),
        parked: 0,
        waiting: 0,
        in_flight_events: 0,
        window_events: 0,
        window_bytes: 0,
        is_window_full: false,
        settled: Settled::default(),
        puts: 0,
        puts_time: Duration::ZERO,
    }
}

fn stream() -> StreamName {
    "order-1".parse().unwrap()
}

fn recorded(version: u64, data: String) -> RecordedEvent {
    let time = Timestamp::from_nanos(1_000_000_000);
    let event = NewEvent::json(
        EventId::from_u128(version.into()),
        stream(),
        "order.placed".parse().unwrap(),
        time,
        data,
    );
    let position = Position { partition: 0, sequence: version + 1 };
    RecordedEvent::new(position, Version::new(version), time, event.to_bytes())
}

fn delivery(counter: u64, bytes: usize) -> Delivery {
    Delivery {
        id: DeliveryId::new(STORE, 1, counter),
        attempt: 1,
        ack_time: Duration::from_secs(30),
        events: vec![recorded(counter, format!("\"{}\"", "x".repeat(bytes)))],
    }
}

/// A server with groups that a test scripts.
fn scripted(script: impl FnOnce(&mut Scripted)) -> (Running, Receiver<String>) {
    let (mut groups, calls) = Scripted::new(status());
    script(&mut groups);
    (serve(Server::builder(memory()).groups(shared(groups)).build()), calls)
}

fn next(calls: &Receiver<String>) -> String {
    calls.recv_timeout(Duration::from_secs(120)).expect("a call")
}

#[test]
fn groups_that_cannot_be_listed_are_unready_when_asked_strictly_unless_another_process_may_deal_them() {
    for (is_shared, status) in [(false, 503), (true, 200)] {
        let (server, _calls) = scripted(|groups| {
            groups.look = Err(LookError::Unavailable { reason: "away".to_owned() });
            groups.is_shared = is_shared;
        });
        assert_eq!(server.get("/readyz?strict").status, status);
        assert_eq!(server.get("/readyz").status, 200);
    }
}

#[test]
fn a_server_without_groups_has_none_of_their_routes() {
    let server = start();
    server.get("/groups").problem(404, "no-route");
    server.post("/groups/mail/take", TAKE).problem(404, "no-route");
    assert_eq!(server.get("/store").json()["features"], json!([]));
    let (server, _calls) = scripted(|_| ());
    assert_eq!(server.get("/store").json()["features"], json!(["groups"]));
}

#[test]
fn settings_are_put_under_a_precondition_and_tagged_with_their_version() {
    let (server, calls) = scripted(|_| ());
    let put = |headers: &[(&str, &str)], body| {
        server.call("PUT", "/groups/mail", &[&[JSON], headers].concat(), Some(body))
    };
    put(&[], ALL).problem(400, "invalid-request");
    put(&[("if-match", "*")], ALL).problem(400, "invalid-request");
    let created = put(&[("if-none-match", "*")], r#"{"query":"all","runMax":7}"#);
    assert_eq!((created.status, created.header("etag")), (201, "\"3\""));
    assert_eq!(created.json(), json!({"group": "mail", "settingsVersion": 3}));
    assert_eq!(put(&[("if-match", "\"2\"")], ALL).status, 200);
    assert_eq!(next(&calls), "put mail None 7");
    assert_eq!(next(&calls), "put mail Some(SettingsVersion(2)) 32");
    let looked = server.get("/groups/mail");
    assert_eq!((looked.status, looked.header("etag")), (200, "\"3\""));
    assert_eq!(looked.json()["settings"]["attemptsMax"], 10);
    assert_eq!(server.get("/groups").json()["groups"][0]["group"], "mail");
    let consumer = &server.get("/consumers").json()["consumers"][0];
    assert_eq!((&consumer["kind"], &consumer["group"]), (&json!("group"), &json!("/groups/mail")));
}

#[test]
fn settings_out_of_range_are_refused_with_the_setting() {
    let (server, calls) = scripted(|_| ());
    let put = |body| server.call("PUT", "/groups/mail", &[JSON, ("if-none-match", "*")], Some(body));
    let wrong = put(r#"{"query":"all","ackMs":1}"#);
    let detail = wrong.problem(400, "invalid-group");
    assert!(detail.contains("`ackMs` is"), "{detail}");
    assert_eq!(wrong.json()["setting"], "ackMs");
    put(r#"{"query":"all","runmax":1}"#).problem(400, "invalid-json");
    put(r#"{"query":"all","runMax":0}"#).problem(400, "invalid-json");
    put(r#"{"query":[{"stream":""}]}"#).problem(400, "invalid-name");
    put(r#"{"query":"all","from":"yesterday"}"#).problem(400, "invalid-request");
    server.get("/groups/.hidden").problem(400, "invalid-name");
    assert!(calls.try_recv().is_err(), "no call got through");
}

#[test]
fn a_put_that_failed_for_its_precondition_names_the_version_to_expect() {
    let group = || "mail".parse().unwrap();
    let version = SettingsVersion::new;
    let changed = PutError::Changed { group: group(), expected: version(2), actual: version(5) };
    let cases = [
        (PutError::Exists { group: group(), actual: version(4) }, 412, "group-exists", "\"4\""),
        (changed, 412, "group-changed", "\"5\""),
        (PutError::NoGroup { group: group() }, 404, "no-group", ""),
        (PutError::Hosted { group: group() }, 409, "hosted-group", ""),
        (PutError::Busy { group: group(), reason: "3 in flight".to_owned() }, 409, "group-busy", ""),
        (PutError::TooMany { groups_max: 256 }, 409, "too-many-groups", ""),
        (PutError::Query(ReadError::Invalid { reason: "r".to_owned() }), 400, "invalid-read", ""),
        (PutError::InDoubt { reason: "r".to_owned() }, 500, "group-in-doubt", ""),
        (PutError::Unavailable { reason: "r".to_owned() }, 503, "unavailable", ""),
    ];
    for (error, status, kind, tag) in cases {
        let (server, _calls) = scripted(|groups| groups.put = Err(error));
        let answer = server.call("PUT", "/groups/mail", &[JSON, ("if-match", "\"2\"")], Some(ALL));
        answer.problem(status, kind);
        assert_eq!(answer.header("etag"), tag, "{kind}");
    }
}

#[test]
fn a_member_gets_its_deliveries_with_their_events() {
    let (server, calls) = scripted(|groups| {
        groups.taken = Some(Ok(Taken { deliveries: vec![delivery(7, 3)], refused: Vec::new() }));
    });
    let id = "ab".repeat(20);
    let body = format!(
        r#"{{"member":"m-1","max":8,"waitMs":20000,"holds":["{id}"],"settle":[{{"id":"{}"}}]}}"#,
        "cd".repeat(20)
    );
    let taken = server.post("/groups/mail/take", &body).json();
    assert_eq!(next(&calls), "take mail m-1 8 20s holds Some(1) settles 1");
    let delivery = &taken["deliveries"][0];
    assert_eq!(delivery["id"], DeliveryId::new(STORE, 1, 7).to_string());
    assert_eq!((&delivery["attempt"], &delivery["ackMs"]), (&json!(1), &json!(30_000)));
    let event = &delivery["events"][0];
    assert_eq!(
        (&event["stream"], &event["version"], &event["data"]),
        (&json!("order-1"), &json!(7), &json!("xxx"))
    );
    assert_eq!(taken["refused"], json!([]));
    assert!(calls.try_recv().is_err(), "nothing is given back");
}

#[test]
fn a_malformed_call_of_a_member_is_refused_before_it_settles_anything() {
    let (server, calls) = scripted(|_| ());
    let take = |body: &str| server.post("/groups/mail/take", body);
    take(r#"{"member":"m","max":8}"#).problem(400, "invalid-take");
    take(r#"{"member":"m","max":8,"holds":[],"waitMs":60001}"#).problem(400, "invalid-take");
    take(r#"{"member":"","max":8,"holds":[]}"#).problem(400, "invalid-name");
    take(r#"{"member":"m","max":8,"holds":["7"]}"#).problem(400, "invalid-request");
    take(r#"{"member":"m","max":8,"hold":[]}"#).problem(400, "invalid-json");
    server
        .post_with("/groups/mail/take", &[("content-type", "text/plain")], TAKE)
        .problem(415, "unsupported-type");
    assert!(calls.try_recv().is_err(), "no call got through");
    assert_eq!(take(r#"{"member":"m","max":0}"#).status, 200);
}

#[test]
fn a_stopped_or_missing_group_is_named_to_its_members() {
    let group = || "mail".parse().unwrap();
    let stopped = TakeError::Stopped { group: group(), reason: "the target is gone".to_owned() };
    let (server, _calls) = scripted(|groups| groups.taken = Some(Err(stopped)));
    let answer = server.post("/groups/mail/take", TAKE);
    answer.problem(409, "group-stopped");
    assert_eq!(answer.json()["reason"], "the target is gone");
    let (server, _calls) = scripted(|groups| {
        groups.taken = Some(Err(TakeError::NoGroup { group: group() }));
        groups.look = Err(LookError::NoGroup { group: group() });
        groups.change = Err(ChangeError::NoGroup { group: group() });
    });
    server.post("/groups/mail/take", TAKE).problem(404, "no-group");
    server.get("/groups/mail").problem(404, "no-group");
    server.post("/groups/mail/pause", "").problem(404, "no-group");
    server.call("DELETE", "/groups/mail", &[], None).problem(404, "no-group");
}

#[test]
fn a_reply_holds_4_mib_or_one_delivery_and_the_rest_is_given_back() {
    let deliveries = [1, 2, 3].map(|counter| delivery(counter, 3 << 20));
    let ids = [2, 3].map(|counter| DeliveryId::new(STORE, 1, counter));
    let (server, calls) = scripted(|groups| {
        groups.taken = Some(Ok(Taken { deliveries: deliveries.to_vec(), refused: Vec::new() }));
    });
    let taken = server.post("/groups/mail/take", TAKE).json();
    assert_eq!(taken["deliveries"].as_array().unwrap().len(), 1);
    next(&calls);
    assert_eq!(next(&calls), format!("unwritten mail {ids:?}"));
    let (server, calls) = scripted(|groups| {
        groups.taken = Some(Ok(Taken { deliveries: vec![delivery(1, 9 << 20)], refused: Vec::new() }));
    });
    let taken = server.post("/groups/mail/take", TAKE).json();
    assert_eq!(taken["deliveries"].as_array().unwrap().len(), 1, "one delivery may be larger");
    next(&calls);
    assert!(calls.try_recv().is_err(), "nothing is given back");
}

fn send_take(server: &Running) -> TcpStream {
    let mut connection = TcpStream::connect(server.address).unwrap();
    let head = "POST /groups/mail/take HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    write!(connection, "{head}Content-Length: {}\r\n\r\n{TAKE}", TAKE.len()).unwrap();
    connection
}

#[test]
fn a_member_that_hangs_up_while_it_waits_gives_up_its_call() {
    let (server, calls) = scripted(|groups| groups.taken = None);
    let connection = send_take(&server);
    assert!(next(&calls).starts_with("take mail m-1"));
    drop(connection);
    assert_eq!(next(&calls), "dropped");
}

#[test]
fn a_reply_whose_connection_breaks_gives_its_deliveries_back() {
    let (server, calls) = scripted(|groups| {
        let events =
            (0..4).map(|version| recorded(version, format!("\"{}\"", "x".repeat(8 << 20)))).collect();
        let large = Delivery { events, ..delivery(1, 0) };
        groups.taken = Some(Ok(Taken { deliveries: vec![large], refused: Vec::new() }));
    });
    let mut connection = send_take(&server);
    assert!(next(&calls).starts_with("take mail m-1"));
    // The reply has begun, and is larger than the buffers between.
    connection.read_exact(&mut [0; 16]).unwrap();
    drop(connection);
    assert_eq!(next(&calls), format!("unwritten mail [{}]", DeliveryId::new(STORE, 1, 1)));
}

#[test]
fn a_stop_of_the_server_ends_a_waiting_call_with_an_empty_reply() {
    let limits = Limits { shutdown_time_max: Duration::from_secs(3_600), ..Limits::default() };
    let (mut groups, calls) = Scripted::new(status());
    groups.taken = None;
    let server = serve(Server::builder(memory()).groups(shared(groups)).limits(limits).build());
    let mut connection = send_take(&server);
    assert!(next(&calls).starts_with("take mail m-1"));
    drop(server);
    let mut reply = String::new();
    connection.read_to_string(&mut reply).unwrap();
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.ends_with(r#"{"deliveries":[],"refused":[]}"#),
        "{reply}"
    );
}

#[test]
fn what_an_operator_asks_for_is_passed_on_with_the_operator() {
    let (server, calls) = scripted(|_| ());
    let actor = [("x-actor", "ops")];
    assert_eq!(server.post("/groups/mail/pause", "").status, 204);
    assert_eq!(server.post_with("/groups/mail/pause", &actor, "").status, 204);
    assert_eq!(server.post("/groups/mail/resume", "").status, 204);
    let skip = r#"{"stream":"order-1","through":17,"reason":"a test"}"#;
    assert_eq!(server.post_with("/groups/mail/parked/skip", &actor, skip).status, 204);
    let replayed = server.post("/groups/mail/parked/replay", r#"{"streams":["order-1"]}"#);
    assert_eq!(replayed.json(), json!({"replayed": 3}));
    server.post("/groups/mail/parked/replay", r#"{"all":true}"#);
    server.post("/groups/mail/parked/replay", r#"{"streams":[]}"#).problem(400, "invalid-request");
    let reset = server.post("/groups/mail/reset", r#"{"to":{"time":"1970-01-01T00:00:01Z"}}"#);
    assert_eq!(reset.json()["wereParked"], 2);
    assert_eq!(server.post("/groups/mail/narrow", "").json()["settingsVersion"], 9);
    assert_eq!(server.call("DELETE", "/groups/mail", &[], None).status, 204);
    let expected = [
        "pause mail by anonymous",
        "pause mail by ops",
        "resume mail",
        "skip mail order-1 17 by ops: a test",
        "replay mail [\"order-1\"]",
        "replay mail []",
        "reset mail Time(Timestamp(1000000000))",
        "narrow mail",
        "remove mail",
    ];
    for expected in expected {
        assert_eq!(next(&calls), expected);
    }
}

#[test]
fn an_authenticated_operator_is_recorded_whatever_the_header_says() {
    let (groups, calls) = Scripted::new(status());
    let server = Server::builder(memory()).groups(shared(groups));
    let server = serve(server.authenticate(|_| Ok(Some(Principal("alice".to_owned())))).build());
    assert_eq!(server.post_with("/groups/mail/pause", &[("x-actor", "mallory")], "").status, 204);
    assert_eq!(next(&calls), "pause mail by alice");
}

#[test]
fn a_refused_change_is_answered_with_its_data() {
    let group = || "mail".parse().unwrap();
    let through = Version::new(7);
    let cases = [
        (ChangeError::NotParked { group: group(), stream: stream() }, 404, "not-parked", "stream"),
        (ChangeError::NotReached { stream: stream(), through }, 409, "not-reached", "through"),
        (ChangeError::Busy { group: group(), reason: "r".to_owned() }, 409, "group-busy", "reason"),
        (ChangeError::NotHosted { group: group() }, 409, "not-hosted-group", "group"),
        (ChangeError::Hosted { group: group() }, 409, "hosted-group", "group"),
        (ChangeError::InDoubt { reason: "r".to_owned() }, 500, "group-in-doubt", "reason"),
        (ChangeError::Place(ReadError::Closed), 503, "closed", "part"),
    ];
    for (error, status, kind, member) in cases {
        let (server, _calls) = scripted(|groups| groups.change = Err(error));
        let answer = server.post("/groups/mail/reset", r#"{"to":"start"}"#);
        answer.problem(status, kind);
        assert!(!answer.json()[member].is_null(), "{kind} has `{member}`: {answer:?}");
    }
}

#[test]
fn parked_streams_are_listed_page_by_page_and_shown_with_their_events() {
    let one = |name: &str| Parked {
        stream: name.parse().unwrap(),
        version: Version::new(7),
        position: Position { partition: 0, sequence: 8 },
        attempts: 10,
        error: Some("no such account".to_owned()),
        by: Some("m-1".to_owned()),
        since: Some(Timestamp::from_nanos(1_000_000_000)),
    };
    let (server, calls) = scripted(|groups| {
        groups.parked = vec![one("a-1"), one("b 2"), one("c-3")];
        groups.held = Some(Held { parked: one("b 2"), events: vec![recorded(7, "1".to_owned())] });
    });
    let page = server.get("/groups/mail/parked?limit=2").json();
    assert_eq!(page["parked"][1]["error"], "no such account");
    let next_page = page["next"].as_str().unwrap();
    assert_eq!(next_page, "/groups/mail/parked?limit=2&after=b%202");
    server.get(next_page);
    assert_eq!(next(&calls), "parked mail None 2");
    assert_eq!(next(&calls), "parked mail Some(\"b 2\") 2");
    assert!(server.get("/groups/mail/parked").json()["next"].is_null());
    assert_eq!(next(&calls), "parked mail None 100");
    let held = server.get("/groups/mail/parked/b%202?limit=5").json();
    assert_eq!((&held["parked"]["stream"], &held["events"][0]["version"]), (&json!("b 2"), &json!(7)));
    assert_eq!(next(&calls), "held mail b 2 5");
    for limit in ["0", "1025", "x"] {
        server.get(&format!("/groups/mail/parked?limit={limit}")).problem(400, "invalid-request");
    }
    let (server, _calls) = scripted(|_| ());
    server.get("/groups/mail/parked/b%202").problem(404, "not-parked");
}

#[test]
fn the_figures_of_groups_are_in_the_metrics() {
    let (mut groups, _calls) = Scripted::new(GroupStatus {
        state: GroupState::Stopped { reason: "r".to_owned() },
        lag_events: None,
        lag: Some(Duration::from_millis(1_500)),
        parked: 2,
        in_flight_events: 7,
        settled: Settled { handled: 40, stale: 1, ..Settled::default() },
        puts: 4,
        puts_time: Duration::from_millis(250),
        ..status()
    });
    groups.taken = None;
    let server = serve(Server::builder(memory()).groups(shared(groups)).build());
    let figures = server.get("/metrics").text;
    for line in [
        "# TYPE gesta_group_lag_seconds gauge",
        r#"gesta_group_lag_seconds{group="mail"} 1.5"#,
        r#"gesta_group_in_flight_events{group="mail"} 7"#,
        r#"gesta_group_parked_streams{group="mail"} 2"#,
        r#"gesta_group_state{group="mail",state="stopped"} 1"#,
        r#"gesta_group_state{group="mail",state="running"} 0"#,
        "# TYPE gesta_group_settled_total counter",
        r#"gesta_group_settled_total{group="mail",result="handled"} 40"#,
        r#"gesta_group_settled_total{group="mail",result="stale"} 1"#,
        "# TYPE gesta_group_put_seconds summary",
        r#"gesta_group_put_seconds_sum{group="mail"} 0.25"#,
        r#"gesta_group_put_seconds_count{group="mail"} 4"#,
    ] {
        assert!(figures.lines().any(|found| found == line), "{line}: {figures}");
    }
    assert!(!figures.contains("gesta_group_lag_events"), "what is not known is left out: {figures}");
}

#[test]
fn a_request_for_the_process_that_deals_is_refused_by_every_other_one_and_does_nothing() {
    let (server, calls) = scripted(|_| ());
    let other = [("gesta-holder", "process-2")];
    for (method, path, body) in [
        ("GET", "/groups", None),
        ("GET", "/groups/mail", None),
        ("POST", "/groups/mail/take", Some(r#"{"member":"m","max":0}"#)),
        ("POST", "/groups/mail/pause", Some("")),
        ("POST", "/groups/mail/host", Some(r#"{"query":"all"}"#)),
        ("DELETE", "/groups/mail", None),
    ] {
        let refused = server.call(method, path, &other, body);
        refused.problem(421, "not-holder");
        assert_eq!(refused.json()["retry"], "after-pause", "{path}");
    }
    let holder = [("gesta-holder", crate::scripted::HOLDER)];
    let hosted = server.post_with("/groups/mail/host", &holder, r#"{"query":"all","runMax":7}"#);
    assert_eq!(hosted.status, 200);
    assert_eq!(next(&calls), "host mail 7", "nothing came before it");
    let ready = server.get("/readyz").json();
    assert_eq!(ready["groups"], json!({"dealtHere": true, "dealtAt": "http://10.0.0.7:2114"}));
    assert!(server.get("/metrics").text.contains("gesta_groups_dealt_here 1"));
}

#[test]
fn a_stopped_group_is_unready_when_asked_strictly() {
    for (state, is_ready) in [
        (GroupState::Stopped { reason: "the target is gone".to_owned() }, false),
        (GroupState::Running, true),
    ] {
        let (groups, _calls) = Scripted::new(GroupStatus { state, ..status() });
        let server = serve(Server::builder(memory()).groups(shared(groups)).build());
        assert_eq!(server.get("/readyz").status, 200);
        let strict = server.get("/readyz?strict");
        if is_ready {
            assert_eq!(strict.status, 200, "{strict:?}");
            continue;
        }
        let said = strict.problem(503, "not-ready");
        assert!(said.contains("group `mail`: the target is gone"), "{said}");
        assert_eq!(strict.json()["groups"], json!(["mail"]));
        assert_eq!((&strict.json()["views"], &strict.json()["consumers"]), (&json!([]), &json!([])));
    }
}
