//! The HTTP router, one request at a time.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use gesta::http::{Principal, router_on};
use gesta::testing::{block_on, json, store};
use serde_json::Value;
use tower::ServiceExt;

use crate::app::bank;

fn router() -> Router {
    router_on(Arc::new(bank()), store())
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    etag: Option<String>,
    content_type: String,
    correlation: Option<String>,
    pub(crate) body: Value,
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let builder = Request::builder().method(method).uri(uri);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::from(body.to_owned())).unwrap()
}

fn send(router: &Router, request: Request<Body>) -> Answer {
    block_on(async {
        let response: Response<Body> = router.clone().oneshot(request).await.unwrap();
        let text = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, etag) = (response.status(), text(header::ETAG));
        let content_type = text(header::CONTENT_TYPE).unwrap_or_default();
        let correlation = text(header::HeaderName::from_static("x-correlation-id"));
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer {
            status,
            etag,
            content_type,
            correlation,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    })
}

pub(crate) fn post(router: &Router, uri: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send(router, request("POST", uri, headers, body))
}

pub(crate) fn get(router: &Router, uri: &str) -> Answer {
    send(router, request("GET", uri, &[], ""))
}

fn opened() -> Router {
    let router = router();
    assert_eq!(post(&router, "/commands/account/ann/open", &[], r#"{"owner":"Ann"}"#).status, 200);
    router
}

#[test]
fn a_command_is_answered_with_what_it_led_to() {
    let router = opened();
    let answer = post(&router, "/commands/account/ann/deposit", &[], r#"{"amount":5}"#);
    assert_eq!((answer.status, answer.etag.as_deref()), (StatusCode::OK, Some("\"1\"")));
    assert_eq!(answer.body["streams"], json!([{"stream": "account-ann", "version": 1}]));
    assert!(answer.body["checkpoint"].as_str().unwrap().contains(".2-"));
    assert_eq!(answer.body["repeated"], json!(false));
    let event = &answer.body["events"][0];
    assert_eq!(event["data"], json!({"amount": 5}));
    let history = get(&router, "/histories/account/ann").body;
    assert_eq!(history["events"][1]["id"], event["id"], "the id of the recorded event");
}

#[test]
fn a_decision_moves_money() {
    let router = opened();
    post(&router, "/commands/account/ben/open", &[], r#"{"owner":"Ben"}"#);
    post(&router, "/commands/account/ann/deposit", &[], r#"{"amount":5}"#);
    let answer = post(&router, "/commands/transfer", &[], r#"{"from":"ann","to":"ben","amount":2}"#);
    assert_eq!((answer.status, answer.etag), (StatusCode::OK, None));
    let streams = json!([{"stream": "account-ann", "version": 2}, {"stream": "account-ben", "version": 1}]);
    assert_eq!(answer.body["streams"], streams);
    assert_eq!(get(&router, "/states/account/ben").body["state"]["balance"], json!(2));
}

#[test]
fn an_event_of_a_newer_program_is_503_for_its_stream_and_for_no_other() {
    let gesta = store();
    let router = router_on(Arc::new(bank()), gesta.clone());
    for account in ["ann", "ben"] {
        let opened = post(&router, &format!("/commands/account/{account}/open"), &[], r#"{"owner":"x"}"#);
        assert_eq!(opened.status, 200);
    }
    let (id, time) = (gesta::EventId::from_u128(1_000), gesta::Timestamp::from_nanos(0));
    let (stream, event_type) = ("account-ann".parse().unwrap(), "bank.account.opened".parse().unwrap());
    let newer = gesta::NewEvent::json(id, stream, event_type, time, "{}");
    let newer = gesta::NewEvent { schema_version: 9, ..newer };
    block_on(gesta.event_store().append(gesta::Batch::new([newer]))).unwrap();
    let state = get(&router, "/states/account/ann");
    let deposit = post(&router, "/commands/account/ann/deposit", &[], r#"{"amount":1}"#);
    for answer in [state, deposit] {
        assert_eq!(answer.status, 503);
        let members = ["type", "retry", "stream", "version", "found", "newest"];
        let members = members.map(|name| answer.body[name].clone());
        let expected = json!(["urn:gesta:problem:newer-event", "after-pause", "account-ann", 1, 9, 1]);
        assert_eq!(json!(members), expected);
    }
    assert_eq!(get(&router, "/states/account/ben").status, 200);
    assert_eq!(post(&router, "/commands/account/ben/deposit", &[], r#"{"amount":1}"#).status, 200);
}

#[test]
fn problems_say_what_is_wrong_and_what_helps() {
    let router = opened();
    let deposit = "/commands/account/ann/deposit";
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, Value);
    let cases: [Case<'_>; 10] = [
        ("/commands/acount/ann/open", &[], "{}", 404, json!({"known": ["account"]})),
        ("/commands/account/ann/opn", &[], "{}", 404, json!({"type": "urn:gesta:problem:not-hosted"})),
        ("/commands/transfr", &[], "{}", 404, json!({"known": ["transfer"]})),
        (deposit, &[], r#"{"amount":"x"}"#, 400, json!({"field": "amount"})),
        (deposit, &[], "{", 400, json!({"type": "urn:gesta:problem:invalid-input"})),
        (
            "/commands/account/ann/withdraw",
            &[],
            r#"{"amount":1}"#,
            422,
            json!({"code": "InsufficientFunds", "detail": "only 0 is left, 1 was asked for"}),
        ),
        (deposit, &[("if-match", "\"7\"")], r#"{"amount":1}"#, 412, json!({"expected": 7, "actual": 0})),
        (deposit, &[("if-match", "seven")], r#"{"amount":1}"#, 400, json!({"retry": "never"})),
        (deposit, &[("content-type", "text/plain")], r#"{"amount":1}"#, 415, json!({})),
        (
            "/commands/transfer",
            &[("if-match", "\"0\"")],
            r#"{"from":"ann","to":"ann","amount":1}"#,
            400,
            json!({}),
        ),
    ];
    for (uri, headers, body, status, members) in cases {
        let answer = post(&router, uri, headers, body);
        assert_eq!(answer.status.as_u16(), status, "{uri} {body}: {}", answer.body);
        assert_eq!(answer.content_type, "application/problem+json");
        assert_eq!(answer.body["status"], json!(status));
        for (name, value) in members.as_object().unwrap() {
            assert_eq!(answer.body[name], *value, "{uri} {body}: {}", answer.body);
        }
    }
}

#[test]
fn a_command_may_require_a_version() {
    let router = opened();
    let deposit = |if_match| {
        post(&router, "/commands/account/ann/deposit", &[("if-match", if_match)], r#"{"amount":1}"#)
    };
    assert_eq!(deposit("\"0\"").status, 200);
    let late = deposit("\"0\"");
    assert_eq!((late.status.as_u16(), late.etag.as_deref()), (412, Some("\"1\"")));
    assert_eq!(deposit("*").status, 200);
    let again = post(&router, "/commands/account/ann/open", &[("if-none-match", "*")], r#"{"owner":"x"}"#);
    assert_eq!(again.status, 412);
}

#[test]
fn a_repeated_request_gets_the_first_answer() {
    let router = opened();
    let uri = "/commands/account/ann/deposit";
    let send =
        |key: &str, body: &str| post(&router, uri, &[("idempotency-key", key), ("x-actor", "ann")], body);
    let (first, second) = (send("k1", r#"{"amount":5}"#), send("\"k1\"", r#"{"amount":5}"#));
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(second.body["repeated"], json!(true));
    assert_eq!(first.body["events"], second.body["events"]);
    assert_eq!(first.etag, second.etag);
    let other = send("k1", r#"{"amount":6}"#);
    assert_eq!((other.status.as_u16(), &other.body["type"]), (422, &json!("urn:gesta:problem:key-reused")));
    assert_eq!(get(&router, "/states/account/ann").body["state"]["balance"], json!(5));
    let ben = post(&router, uri, &[("idempotency-key", "k1"), ("x-actor", "ben")], r#"{"amount":5}"#);
    assert_eq!(ben.body["repeated"], json!(true), "the header proves nothing, so it makes no other caller");
    assert_eq!(get(&router, "/states/account/ann").body["state"]["balance"], json!(5));
}

#[test]
fn keys_of_two_principals_never_meet() {
    let router = opened();
    let send = |name: Option<&str>| {
        let key = [("idempotency-key", "k1")];
        let mut deposit = request("POST", "/commands/account/ann/deposit", &key, r#"{"amount":5}"#);
        deposit.extensions_mut().extend(
            name.map(|name| {
                let mut extensions = axum::http::Extensions::new();
                extensions.insert(Principal(name.to_owned()));
                extensions
            })
            .unwrap_or_default(),
        );
        send(&router, deposit).body["repeated"].clone()
    };
    for repeated in [false, true] {
        for name in [Some("ann"), Some("ben"), None] {
            assert_eq!(send(name), json!(repeated), "{name:?}");
        }
    }
    assert_eq!(get(&router, "/states/account/ann").body["state"]["balance"], json!(15));
}

#[test]
fn a_state_is_given_now_and_as_it_was() {
    let router = opened();
    let deposited = post(&router, "/commands/account/ann/deposit", &[], r#"{"amount":5}"#);
    post(&router, "/commands/account/ann/deposit", &[], r#"{"amount":7}"#);
    let now = get(&router, "/states/account/ann");
    assert_eq!((now.status, now.etag.as_deref()), (StatusCode::OK, Some("\"2\"")));
    assert_eq!(now.body["state"], json!({"open": true, "balance": 12}));
    let checkpoint = deposited.body["checkpoint"].as_str().unwrap();
    for (parameter, balance) in [
        ("version=1".to_owned(), 5),
        (format!("checkpoint={checkpoint}"), 5),
        ("recorded_at=2026-01-01T00:00:00.001Z".to_owned(), 5),
        ("time=2026-01-01T00:00:00.001Z".to_owned(), 5),
        ("time=2027-01-01T00:00:00Z".to_owned(), 12),
    ] {
        let then = get(&router, &format!("/states/account/ann?{parameter}"));
        assert_eq!(then.body["state"]["balance"], json!(balance), "{parameter}: {}", then.body);
    }
    for (uri, status) in [
        ("/states/account/ben", 404),
        ("/states/account/ann?version=9", 404),
        ("/states/account/ann?version=x", 400),
        ("/states/account/ann?version=1&time=2026-01-01T00:00:00Z", 400),
        ("/states/account/ann?time=yesterday", 400),
        ("/states/account/ann?recorded_at=2200-01-01T00:00:00Z", 400),
        ("/states/account/ann/diff?from=0&to=2200-01-01T00:00:00Z", 400),
        ("/states/account/ann?every=day&from=2026-01-03T00:00:00Z&to=2026-01-02T00:00:00Z", 400),
        ("/states/account/ann?verison=1", 400),
        ("/states/order/ann", 404),
    ] {
        let answer = get(&router, uri);
        assert_eq!(answer.status.as_u16(), status, "{uri}: {}", answer.body);
        assert_eq!(answer.content_type, "application/problem+json", "{uri}");
    }
    let unchanged = send(&router, request("GET", "/states/account/ann", &[("if-none-match", "\"2\"")], ""));
    assert_eq!(unchanged.status, 304);
}

#[test]
fn a_history_says_who_what_and_when() {
    let router = opened();
    let trace = TRACE;
    let headers = [
        ("x-actor", "ann"),
        ("x-correlation-id", "c-1"),
        ("x-causation-id", "e-1"),
        ("x-reason", "salary"),
        ("traceparent", trace),
    ];
    post(&router, "/commands/account/ann/deposit", &headers, r#"{"amount":5}"#);
    let history = get(&router, "/histories/account/ann").body;
    assert_eq!(history["stream"], json!("account-ann"));
    assert_eq!(history["events"].as_array().unwrap().len(), 2);
    assert_eq!(
        history["events"][1],
        json!({
            "id": "00000000-0000-0000-0000-000000000003", "type": "bank.account.deposited", "schemaVersion": 1,
            "version": 1, "position": 2, "time": "2026-01-01T00:00:00.001Z", "recordedAt": "2026-01-01T00:00:00.001Z",
            "actor": "ann", "correlation": "c-1", "causation": "e-1", "data": {"amount": 5},
            "metadata": {"reason": "salary", "traceparent": trace},
        })
    );
    let head = history["checkpoint"].as_str().unwrap();
    assert!(head.contains(".2-"), "{head}");
    let newest = get(&router, "/histories/account/ann?direction=backward&limit=1").body;
    let next = "/histories/account/ann?direction=backward&limit=1&from=0";
    assert_eq!((&newest["events"][0]["version"], &newest["next"]), (&json!(1), &json!(next)));
    assert_eq!(get(&router, next).body["next"], json!(null));
    let first = get(&router, "/histories/account/ann?limit=1").body;
    let next = "/histories/account/ann?limit=1&from=1";
    assert_eq!((&first["events"][0]["version"], &first["next"]), (&json!(0), &json!(next)));
    for page in [newest, first, get(&router, "/histories/account/ann?direction=backward").body] {
        assert_eq!(page["checkpoint"], json!(head), "the head, whatever was asked for: {page}");
    }
    assert_eq!(get(&router, "/histories/account/ben").status, 404);
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_command_has_a_correlation_which_is_recorded_and_answered() {
    let router = opened();
    let recorded = || {
        let newest = get(&router, "/histories/account/ann?direction=backward&limit=1").body;
        newest["events"][0]["correlation"].as_str().map(str::to_owned)
    };
    let deposit = "/commands/account/ann/deposit";
    for (headers, expected) in [
        (&[("x-correlation-id", "c-1"), ("traceparent", TRACE)][..], "c-1"),
        (&[("traceparent", TRACE)], "4bf92f3577b34da6a3ce929d0e0e4736"),
    ] {
        let answer = post(&router, deposit, headers, r#"{"amount":5}"#);
        assert_eq!((answer.status.as_u16(), answer.correlation.as_deref()), (200, Some(expected)));
        assert_eq!(recorded().as_deref(), Some(expected));
    }
    let made = [&[][..], &[("traceparent", "made up")]].map(|headers| {
        let answer = post(&router, deposit, headers, r#"{"amount":5}"#);
        let made = answer.correlation.expect("an id is made");
        assert_eq!(recorded().as_ref(), Some(&made));
        made.parse::<gesta::EventId>().expect("it is a UUID")
    });
    assert_ne!(made[0], made[1]);
    assert_eq!(get(&router, "/states/account/ann").correlation, None);
}

#[test]
fn a_refusal_answers_its_correlation_too() {
    let router = opened();
    let named = [("x-correlation-id", "c-1")];
    for (uri, headers, body, status) in [
        ("/commands/account/ann/withdraw", &named[..], r#"{"amount":5}"#, 422),
        ("/commands/account/ann/deposit", &named, "{", 400),
        ("/commands/account/ann/fly", &named, "{}", 404),
        ("/commands/nothing", &named, "{}", 404),
        ("/commands/account/ann/deposit?x=1", &named, "{}", 400),
    ] {
        let answer = post(&router, uri, headers, body);
        let found = (answer.status.as_u16(), answer.correlation.as_deref());
        assert_eq!(found, (status, Some("c-1")), "{uri}: {}", answer.body);
    }
    for wrong in [&[("x-correlation-id", "")][..], &[("x-correlation-id", "a"), ("x-correlation-id", "b")]] {
        let answer = post(&router, "/commands/account/ann/deposit", wrong, r#"{"amount":5}"#);
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(answer.correlation.is_some_and(|made| made != "a" && made != "b"));
    }
}

#[test]
fn a_repeat_answers_the_correlation_that_was_recorded() {
    let router = opened();
    let deposit = |correlation| {
        let headers = [("idempotency-key", "k-1"), ("x-correlation-id", correlation)];
        post(&router, "/commands/account/ann/deposit", &headers, r#"{"amount":5}"#)
    };
    assert_eq!(deposit("c-1").correlation.as_deref(), Some("c-1"));
    let again = deposit("c-2");
    assert_eq!((&again.body["repeated"], again.correlation.as_deref()), (&json!(true), Some("c-1")));
}

#[test]
fn a_principal_is_the_actor_whatever_the_headers_say() {
    let router = opened();
    let mut deposit =
        request("POST", "/commands/account/ann/deposit", &[("x-actor", "ben")], r#"{"amount":5}"#);
    deposit.extensions_mut().insert(Principal("ann".to_owned()));
    assert_eq!(send(&router, deposit).status, 200);
    assert_eq!(get(&router, "/histories/account/ann?from=1").body["events"][0]["actor"], json!("ann"));
}

#[test]
fn commands_and_decisions_are_listed() {
    let hosted = get(&router(), "/commands").body;
    assert_eq!(hosted["app"], json!("bank"));
    assert_eq!(
        hosted["decisions"],
        json!([{"name": "transfer", "fields": [
            {"name": "from", "type": "id", "category": "account"},
            {"name": "to", "type": "id", "category": "account"},
            {"name": "amount", "type": "whole number from 0"},
        ]}])
    );
    assert_eq!(
        hosted["deciders"][0]["commands"][1],
        json!({"name": "deposit", "fields": [{"name": "amount", "type": "whole number from 0"}]})
    );
}

#[test]
fn wrong_parameters_and_names_are_refused_in_plain_words() {
    let router = opened();
    for (uri, said) in [
        (
            "/states/account/ann?tme=x",
            "parameter `tme` is unknown: known are `every`, `version`, `checkpoint`, `recorded_at`, `time`",
        ),
        (
            "/histories/account/ann?form=1",
            "parameter `form` is unknown: known are `from`, `direction`, `limit`",
        ),
        ("/histories/account/ann?from=x", "parameter `from`: `x`: it is not a whole number"),
        ("/histories/account/ann?limit=0", "limit 0 is not between 1 and 10000"),
        ("/histories/account/ann?limit=10001", "limit 10001 is not between 1 and 10000"),
        ("/histories/account/ann?direction=up", "direction `up` is neither `forward` nor `backward`"),
        ("/commands?all=1", "parameter `all` is unknown: this route takes none"),
        (
            "/states/account/%FF",
            "a name in the address is not UTF-8: percent-encode the UTF-8 bytes of the name",
        ),
    ] {
        let answer = get(&router, uri);
        assert_eq!((answer.status.as_u16(), &answer.body["detail"]), (400, &json!(said)), "{uri}");
    }
    let answer = post(&router, "/commands/account/ann/deposit?dry=1", &[], r#"{"amount":1}"#);
    assert_eq!(answer.status, 400, "{}", answer.body);
    let empty = post(&router, "/commands/account/ann/deposit", &[], "");
    let said = "the body is empty: send a JSON object; `amount` is missing";
    assert_eq!((empty.status.as_u16(), &empty.body["detail"]), (400, &json!(said)));
}

#[test]
fn a_command_that_a_page_of_another_site_sends_is_refused() {
    let router = opened();
    let deposit =
        |headers: &[(&str, &str)]| post(&router, "/commands/account/ann/deposit", headers, r#"{"amount":1}"#);
    let host = ("host", "localhost:2114");
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), host, ("origin", "http://localhost:2114")],
        &[host, ("origin", "http://evil.example")],
        &[host, ("origin", "http://localhost:3000")],
        &[host, ("origin", "null")],
    ] {
        let refused = deposit(headers);
        assert_eq!(refused.status, 403, "{headers:?}: {}", refused.body);
        assert_eq!(refused.body["type"], json!("urn:gesta:problem:cross-site"));
    }
    let transfer =
        post(&router, "/commands/transfer", &[("sec-fetch-site", "cross-site")], r#"{"from":"ann"}"#);
    assert_eq!(transfer.status, 403);
    for headers in [
        &[][..],
        &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:3000")],
        &[("sec-fetch-site", "none")],
        &[host, ("origin", "http://localhost:2114")],
    ] {
        assert_eq!(deposit(headers).status, 200, "{headers:?}");
    }
    let read = request("GET", "/states/account/ann", &[("sec-fetch-site", "cross-site")], "");
    assert_eq!(send(&router, read).status, 200, "reading changes nothing");
}

#[test]
fn a_state_is_shown_at_many_moments_and_compared_with_an_earlier_one() {
    let router = opened();
    for amount in [5, 7] {
        post(&router, "/commands/account/ann/deposit", &[], &format!("{{\"amount\":{amount}}}"));
    }
    let series = get(&router, "/states/account/ann?every=2").body;
    assert_eq!(
        series["cuts"][0],
        json!({"version": 1, "final": true, "state": {"open": true, "balance": 5}})
    );
    assert_eq!(series["cuts"][1]["state"]["balance"], 12);
    let days = get(&router, "/states/account/ann?every=day&zone=Europe/Prague&by=time").body;
    assert_eq!((days["cuts"].as_array().unwrap().len(), &days["cuts"][0]["final"]), (1, &json!(false)));
    let diff = get(&router, "/states/account/ann/diff?from=0").body;
    assert_eq!(diff["changes"], json!([{"pointer": "/balance", "before": 0, "after": 12}]));
    let diff = get(&router, "/states/account/ann/diff?from=0&to=1").body;
    assert_eq!(diff["changes"][0]["after"], 5);
}

#[test]
fn a_series_or_a_comparison_that_makes_no_sense_is_refused_with_what_helps() {
    let router = opened();
    post(&router, "/commands/account/ann/deposit", &[], r#"{"amount":5}"#);
    for (path, status, says) in [
        ("?every=decade", 400, "`decade` is not a step: give `hour`, `day`"),
        ("?every=0", 400, "`0` is not a step"),
        ("?every=day&zone=Europe/Atlantis", 400, "is not a time zone: give a name such as"),
        ("?every=day&by=luck", 400, "neither `recorded_at` nor `time`"),
        ("?every=day&version=1", 400, "parameter `version` is unknown"),
        ("?every=hour&from=1970-01-01T00:00:00Z&to=yesterday", 400, "parameter `to`"),
        ("?every=hour&to=2200-01-01T00:00:00Z", 400, "more than 10000 cuts: take a longer step"),
        ("/diff", 400, "give `from`"),
        ("/diff?from=0&to=later", 400, "`later` is no version, no time in RFC 3339 and no checkpoint"),
        ("/diff?from=9", 404, ""),
    ] {
        let answer = get(&router, &format!("/states/account/ann{path}"));
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert!(answer.status.as_u16() == status && detail.contains(says), "{path}: {}", answer.body);
    }
    assert_eq!(get(&router, "/states/account/nobody?every=day").status, 404);
}
