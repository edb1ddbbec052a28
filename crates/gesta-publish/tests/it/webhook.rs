//! Publishing to a webhook.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use gesta_core::EventId;
use gesta_publish::message_id;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::bench::{Bench, STORE, Target};
use crate::hook::{Hook, Received, Reply};
use crate::ids;
use crate::judge::{Counts, judge};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

fn start(hook: &Hook, keys: &str) -> Bench {
    Bench::start(&format!("to = \"{}/hooks\"\n{keys}", hook.url()), &format!("whsec_{KEY}"))
}

/// Checks the signature as a receiver does that knows one key.
#[track_caller]
fn check_signature(Received { headers, body, .. }: &Received, key: &str) {
    let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64_STANDARD.decode(key).unwrap()).unwrap();
    mac.update(format!("{}.{}.{body}", headers["webhook-id"], headers["webhook-timestamp"]).as_bytes());
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    assert!(headers["webhook-signature"].split(' ').any(|signature| signature == expected), "{headers:?}");
}

#[test]
fn an_event_is_a_signed_post_of_structured_json() {
    let hook = Hook::start();
    let bench = start(&hook, "subject = \"{category}/{type}\"");
    bench.append(["order-1"]);
    let (received, _) = hook.until(|requests| !requests.is_empty()).remove(0);
    assert_eq!(received.path, "/hooks/order/order%2Eplaced");
    assert_eq!(received.headers["content-type"], "application/cloudevents+json");
    let id = message_id(STORE, "order-1", EventId::from_u128(1)).to_string();
    assert_eq!((&received.headers["idempotency-key"], &received.headers["webhook-id"]), (&id, &id));
    check_signature(&received, KEY);
    let event = received.event();
    assert_eq!(event["source"], format!("urn:gesta:store:{STORE}/order-1"));
    assert_eq!((&event["type"], &event["data"]["amount"]), (&"order.placed".into(), &1.into()));
    bench.until_done();
}

#[test]
fn an_event_that_comes_again_has_the_same_id_and_the_signatures_of_all_keys() {
    const NEW_KEY: &str = "FRYXAAECAwQFBgcICQoLDA0ODxAREhMU";
    let hook = Hook::start();
    let mut bench = start(&hook, "");
    bench.append(["order-1"]);
    bench.until_done();
    let both = format!("whsec_{NEW_KEY} whsec_{KEY}");
    bench.restart(&format!("to = \"{}/hooks\"", hook.url()), &both);
    bench.repeat_all();
    let received = hook.until(|requests| requests.len() == 2);
    check_signature(&received[1].0, KEY);
    check_signature(&received[1].0, NEW_KEY);
    bench.until_done();
    assert_eq!(judge(&hook.arrivals()), Counts { events: 1, repeats: 1 });
}

#[test]
fn system_events_are_passed_over_unless_they_are_selected() {
    let hook = Hook::start();
    let bench = start(&hook, "");
    bench.append(["$audit-1", "order-1"]);
    bench.until_done();
    assert_eq!(hook.arrivals()[0].stream, "order-1");
    let selecting = start(&hook, "select = [{ category = \"$audit\" }]");
    selecting.append(["$audit-1", "order-1"]);
    selecting.until_done();
    assert_eq!(hook.arrivals()[1].stream, "$audit-1");
    assert_eq!(hook.arrivals().len(), 2);
}

#[test]
fn a_receiver_knows_an_event_by_source_and_id_or_by_the_message_id() {
    let hook = Hook::start();
    ids::publish_twice(&start(&hook, ""));
    ids::check(&hook.arrivals(), 2);
}

#[test]
fn an_event_that_the_target_refuses_is_parked_and_others_go_on() {
    let hook = Hook::start();
    hook.reply(|received| match received.body.contains("\"order-1\"") {
        true => Reply::Status(413, ""),
        false => Reply::Status(200, ""),
    });
    let bench = start(&hook, "");
    bench.append(["order-1", "order-2", "order-1"]);
    let parked = bench.until_parked(1);
    assert_eq!(parked[0].stream.as_str(), "order-1");
    assert!(parked[0].error.as_deref().is_some_and(|error| error.contains("answered 413")), "{parked:?}");
    hook.until(|requests| requests.iter().any(|(_, status)| *status == 200));
    hook.reply(|_| Reply::Status(200, ""));
    bench.replay("order-1");
    bench.until_done();
    assert_eq!(judge(&hook.arrivals()), Counts { events: 3, repeats: 0 });
}

#[test]
fn a_wrong_target_stops_the_publisher_until_it_is_resumed() {
    let hook = Hook::start();
    let bench = start(&hook, "");
    for (reply, words) in [
        (Reply::Status(401, ""), "answered 401; check the secret"),
        (Reply::Status(404, ""), "answered 404; check the address"),
        (Reply::Status(410, ""), "answered 410"),
        (Reply::Status(308, "location: http://other/\r\n"), "redirects to http://other/"),
    ] {
        let reply_now = reply.clone();
        hook.reply(move |_| reply_now.clone());
        bench.append(["order-1", "order-2"]);
        let reason = bench.until_stopped();
        assert!(reason.contains(words), "{reason}");
        assert_eq!(bench.status().parked, 0, "nothing is parked for {reply:?}");
        hook.reply(|_| Reply::Status(200, ""));
        bench.resume();
        bench.until_done();
    }
    assert_eq!(judge(&hook.arrivals()), Counts { events: 8, repeats: 0 });
}

#[test]
fn a_target_that_fails_for_long_parks_nothing_and_gets_everything_in_the_end() {
    let hook = Hook::start();
    hook.reply(|_| Reply::Status(500, ""));
    let bench = start(&hook, "attempts_max = 1");
    let streams = (0..20).map(|stream| format!("order-{stream}")).collect::<Vec<_>>();
    for _ in 0..3 {
        bench.append(streams.iter().map(String::as_str));
    }
    let tries = hook.until(|requests| requests.len() >= 100);
    let tried = tries.iter().map(|(received, _)| &received.headers["webhook-id"]).collect::<BTreeSet<_>>();
    assert_eq!(tried.len(), streams.len(), "only the first event of each stream is tried");
    assert_eq!(bench.status().parked, 0);
    hook.reply(|_| Reply::Status(200, ""));
    bench.until_done();
    assert_eq!(judge(&hook.arrivals()), Counts { events: 60, repeats: 0 });
}

#[test]
fn a_target_that_asks_for_a_pause_gets_it() {
    let hook = Hook::start();
    hook.reply(|received| match received.body.contains("\"order-1\"") {
        true => Reply::Status(429, "retry-after: 3600\r\n"),
        false => Reply::Status(503, "retry-after: 0\r\n"),
    });
    let bench = start(&hook, "");
    bench.append(["order-1", "order-2"]);
    // The pauses of the group alone would have tried both equally often.
    let tries = hook.until(|requests| requests.len() >= 30);
    let first = tries.iter().filter(|(received, _)| received.body.contains("\"order-1\"")).count();
    assert_eq!(first, 1);
}

impl Target for Hook {
    fn harm(&mut self, fault: usize) {
        match fault % 2 {
            0 => self.stop(),
            _ => self.reply(|_| Reply::Hang),
        }
    }

    fn mend(&mut self, fault: usize) {
        match fault % 2 {
            0 => self.start_again(),
            _ => self.reply(|_| Reply::Status(200, "")),
        }
    }
}

#[test]
fn a_target_that_is_stopped_and_slowed_under_load_loses_nothing() {
    const FAULTS: usize = 20;
    const IN_FLIGHT: usize = 8;
    let mut hook = Hook::start();
    let bench = start(&hook, &format!("in_flight_max = {IN_FLIGHT}\nanswer_ms = 200"));
    let appended = bench.under_faults(FAULTS, &mut hook);
    let counts = judge(&hook.arrivals());
    assert_eq!(counts.events, appended);
    let failed = bench.failed_tries();
    assert!(counts.repeats as u64 <= failed, "only a try that failed repeats: {counts:?}, {failed} failed");
}
