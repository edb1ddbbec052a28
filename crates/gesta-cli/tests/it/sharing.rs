//! Servers of one store, in PostgreSQL or on a cluster of NATS JetStream: one deals the consumer groups, and each answers for all of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::groups::{on, started};
use crate::harness::{Server, gesta, serve, serve_at};
use crate::hosts::{cluster, get, schema, send};
use crate::served::OWNERS;

const PATIENCE: Duration = Duration::from_secs(120);

/// Two servers of a new store.
struct Pair {
    /// The store, as each server names it.
    stores: [String; 2],
    servers: [Server; 2],
}

impl Pair {
    /// `None`, which the test then says, if there is no database.
    fn start() -> Option<Self> {
        let store = schema()?;
        Some(Self::on([store.clone(), store]))
    }

    fn on(stores: [String; 2]) -> Self {
        let servers = stores.each_ref().map(|store| serve(&["--store", store]));
        Self { stores, servers }
    }

    fn urls(&self) -> [&str; 2] {
        self.servers.each_ref().map(|server| &*server.url)
    }
}

/// Asks until an answer is as it must be.
fn until<T: std::fmt::Debug>(what: &str, mut ask: impl FnMut() -> T, is_so: impl Fn(&T) -> bool) -> T {
    let begin = Instant::now();
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "{what}: {answer:?}");
        std::thread::yield_now();
    }
}

/// Where the groups are dealt, as a server says, and whether it is there.
fn dealt(url: &str) -> (Value, Value) {
    let groups = &get(url, "/readyz").1["groups"];
    (groups["dealtAt"].clone(), groups["dealtHere"].clone())
}

/// Waits until all these servers name the same one. Returns its place.
fn dealer(urls: &[&str]) -> usize {
    let named = |url: &&str| dealt(url);
    let ask = || urls.iter().map(named).collect::<Vec<_>>();
    let said = until("one server deals", ask, |said| {
        let here = said.iter().filter(|(_, here)| *here == true).count();
        here == 1 && said.iter().all(|(at, _)| *at == said[0].0)
    });
    let place = said.iter().position(|(_, here)| *here == true).unwrap();
    assert_eq!(said[place].0, urls[place]);
    place
}

fn append(url: &str, stream: &str, number: u32) {
    let body = json!({"type": "placed", "data": {"number": number}});
    let (status, answer) = send(url, &format!("/streams/{stream}"), &body, None).unwrap();
    assert!(matches!(status, 200 | 201), "{answer}");
}

/// Takes and settles at a server until these numbers were seen.
fn handle(url: &str, member: &str, wanted: std::ops::Range<u32>) {
    let (mut seen, mut settle) = (BTreeSet::new(), Vec::new());
    let begin = Instant::now();
    while !wanted.clone().all(|number| seen.contains(&number)) || !settle.is_empty() {
        assert!(begin.elapsed() < PATIENCE, "{seen:?}");
        let body = json!({"member": member, "max": 10, "waitMs": 50, "holds": [], "settle": settle});
        // The server that deals may have ended a moment ago.
        let Some((200, taken)) = send(url, "/groups/mail/take", &body, None) else { continue };
        settle.clear();
        for delivery in taken["deliveries"].as_array().unwrap() {
            let events = delivery["events"].as_array().unwrap();
            seen.extend(
                events.iter().map(|event| u32::try_from(event["data"]["number"].as_u64().unwrap()).unwrap()),
            );
            settle.push(json!({"id": delivery["id"]}));
        }
    }
    assert!(seen.iter().all(|number| wanted.contains(number)), "what was settled comes again: {seen:?}");
}

fn metrics(url: &str) -> String {
    ureq::get(format!("{url}/metrics")).call().unwrap().body_mut().read_to_string().unwrap()
}

#[test]
fn every_server_of_a_database_answers_for_all_groups_and_another_one_deals_when_one_ends() {
    if let Some(pair) = Pair::start() {
        check_that_all_answer_for_all_groups(pair);
    }
}

#[test]
fn every_server_on_jetstream_answers_for_all_groups_and_another_one_deals_when_one_ends() {
    let Some(store) = cluster() else { return };
    let folders = tempfile::tempdir().unwrap();
    let of = |name: &str| format!("{store}?copy={}", folders.path().join(name).display());
    check_that_all_answer_for_all_groups(Pair::on([of("first"), of("second")]));
}

#[test]
fn servers_of_a_store_of_three_partitions_on_jetstream_share_groups() {
    let Some(store) = cluster() else { return };
    let folders = tempfile::tempdir().unwrap();
    let of = |name: &str| format!("{store}?partitions=3&copy={}", folders.path().join(name).display());
    let pair = Pair::on([of("first"), of("second")]);
    assert_eq!(get(pair.urls()[1], "/store").1["partitions"], 3);
    check_that_all_answer_for_all_groups(pair);
}

fn check_that_all_answer_for_all_groups(pair: Pair) {
    let urls = pair.urls();
    let place = dealer(&urls);
    let (here, there) = (urls[place], urls[1 - place]);
    // Through the one that does not deal.
    let body = json!({"query": "all", "from": "start"});
    let made = ureq::put(format!("{there}/groups/mail"))
        .header("if-none-match", "*")
        .content_type("application/json")
        .send(body.to_string());
    assert_eq!(made.unwrap().status(), 201);
    (0..10).for_each(|number| append(there, &format!("order-{}", number % 3), number));
    handle(there, "a", 0..10);
    assert_eq!(started(here, "mail")["lagEvents"], 0);
    // Both say the same.
    for path in ["/groups", "/consumers", "/groups/mail/parked"] {
        until("both say the same", || urls.map(|url| get(url, path)), |[one, other]| one == other);
    }
    assert_eq!(urls.map(|url| get(url, "/readyz?strict=true").0), [200, 200]);
    on(there, &["pause", "mail"]).ok();
    let paused = started(here, "mail");
    assert_eq!(paused["state"], "paused");
    on(here, &["resume", "mail"]).ok();
    let figures = [here, there].map(metrics);
    assert!(figures[0].contains("gesta_groups_dealt_here 1\n"), "{}", figures[0]);
    assert!(figures[1].contains("gesta_groups_dealt_here 0\n"), "{}", figures[1]);
    assert!(figures.iter().all(|text| text.contains("gesta_group_lag_events{group=\"mail\"} 0\n")));
    // The one that deals ends, and the other one goes on where it was.
    let Pair { stores, servers: [first, second] } = pair;
    let (ending, staying) = if place == 0 { (first, second) } else { (second, first) };
    let (ended, stays) = (&*stores[place], &*stores[1 - place]);
    let address = ending.url.strip_prefix("http://").unwrap().to_owned();
    (10..20).for_each(|number| append(&ending.url, &format!("order-{}", number % 3), number));
    assert_eq!(ending.stop(), Some(0));
    handle(&staying.url, "a", 10..20);
    assert_eq!(dealer(&[&staying.url]), 0);
    // Killed and started again at its address, it deals again at once: nobody waits for the process that is gone.
    let again = serve_at(&address, &["--store", ended]);
    assert_eq!(dealer(&[&again.url, &staying.url]), 1);
    let address = staying.url.strip_prefix("http://").unwrap().to_owned();
    // A kill repeats what was settled in the last 100 ms. A change by an operator is answered when it is durable, with all that was
    // settled before it.
    on(&again.url, &["pause", "mail"]).ok();
    on(&again.url, &["resume", "mail"]).ok();
    drop(staying);
    let staying = serve_at(&address, &["--store", stays]);
    assert_eq!(dealer(&[&again.url, &staying.url]), 1);
    append(&again.url, "order-1", 20);
    handle(&again.url, "c", 20..21);
}

#[test]
fn a_pause_of_a_view_counts_for_all_servers_of_a_database() {
    let Some(store) = schema() else { return };
    let folders = tempfile::tempdir().unwrap();
    let folder = |name: &str| folders.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(folder("views")).unwrap();
    std::fs::write(folders.path().join("views/owners.sql"), OWNERS).unwrap();
    let start =
        |state: &str| serve(&["--store", &store, "--views", &folder("views"), "--state", &folder(state)]);
    let servers = [start("first"), start("second")];
    let [first, second] = servers.each_ref().map(|server| &*server.url);
    for (change, is_paused) in [("pause", true), ("resume", false)] {
        gesta(["consumers", change, "owners", "--url", first]).ok();
        let paused = || get(second, "/consumers/owners").1["paused"].clone();
        until("the other server follows", paused, |paused| paused.is_object() == is_paused);
    }
}

#[test]
fn a_request_for_a_process_that_does_not_deal_is_refused_and_never_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let alone = serve(&["--dir", folder.path().to_str().unwrap()]);
    let pair = Pair::start();
    let urls = pair.iter().flat_map(Pair::urls).chain([&*alone.url]);
    for url in urls {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.get(format!("{url}/groups")).header("gesta-holder", "nobody").call().unwrap();
        let said = answer.body_mut().read_to_string().unwrap();
        assert_eq!(answer.status(), 421, "{said}");
        assert!(said.contains("not-holder") && said.contains("`nobody`"), "{said}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_by_the_others_is_named_by_them() {
    let Some(store) = schema() else { return };
    let free = format!("http://{}", test_servers::free_address());
    let first = serve(&["--store", &store, "--advertise", &free]);
    until("it deals", || dealt(&first.url), |(_, here)| *here == true);
    let second = serve(&["--store", &store]);
    until("it follows", || dealt(&second.url), |(at, _)| *at == *free);
    let (status, problem) = get(&second.url, "/groups");
    let said = problem["detail"].as_str().unwrap();
    assert!(status == 503 && said.contains(&free), "{problem}");
    assert_eq!(problem["retry"], "after-pause");
    // A server of another store answers there.
    let folder = tempfile::tempdir().unwrap();
    let _other = serve_at(free.strip_prefix("http://").unwrap(), &["--dir", folder.path().to_str().unwrap()]);
    let said = get(&second.url, "/groups").1;
    assert!(said["detail"].as_str().unwrap().contains("another store"), "{said}");
    assert_eq!(get(&first.url, "/groups").0, 200);
}

#[test]
fn two_servers_that_advertise_one_address_are_told_so() {
    let Some(store) = schema() else { return };
    let one = format!("http://{}", test_servers::free_address());
    let first = serve(&["--store", &store, "--advertise", &one]);
    until("it deals", || dealt(&first.url), |(_, here)| *here == true);
    let second = serve(&["--store", &store, "--advertise", &one]);
    until(
        "the later one deals",
        || [&first, &second].map(|server| dealt(&server.url).1),
        |here| *here == [json!(false), json!(true)],
    );
    let (status, problem) = get(&first.url, "/groups");
    let said = problem["detail"].as_str().unwrap();
    assert!(status == 503 && said.contains("`--advertise`") && said.contains(&one), "{problem}");
    assert_eq!(get(&second.url, "/groups").0, 200);
}

#[test]
fn an_address_to_advertise_is_one_that_other_processes_can_use() {
    let (folder, database) = ("data", "postgres://nobody@127.0.0.1:1/none");
    for (store, address, part) in [
        (folder, "http://10.0.0.7:2114", "several processes"),
        ("memory:", "http://10.0.0.7:2114", "several processes"),
        ("http://127.0.0.1:1", "http://10.0.0.7:2114", "several processes"),
        (database, "10.0.0.7:2114", "is no URL of a server"),
        (database, "https://10.0.0.7", "no TLS"),
        (database, "http://0.0.0.0:2114", "an address to listen on"),
        (database, "http://10.0.0.7:0", "an address to listen on"),
    ] {
        let said = gesta(["serve", "--store", store, "--advertise", address]).failed(2);
        assert!(said.contains(part) && said.contains("help"), "{store} {address}: {said}");
    }
}
