//! `gesta groups` against a real server.

use gesta_client::{ClientOptions, RemoteStore};
use gesta_consumer::group::{Groups, Settlement, Take, Then};
use pollster::block_on;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tempfile::TempDir;

use super::{Restarting, on, started, status};
use crate::harness::gesta;

/// Takes the first delivery of the group and parks it. Waits until that is durable: the parked stream has its time from then on.
fn park(url: &str) {
    let groups = RemoteStore::connect(url, &ClientOptions::default()).unwrap().groups();
    let take = Take::new("m".parse().unwrap(), 1, Duration::from_secs(30));
    let taken = block_on(groups.take("mail".parse().unwrap(), take.clone())).unwrap();
    let settlement = Settlement::then(taken.deliveries[0].id, 0, Then::Park);
    let settle = vec![Settlement { error: Some("no such\naccount".to_owned()), ..settlement }];
    block_on(groups.take("mail".parse().unwrap(), Take { max: 0, settle, ..take })).unwrap();
    let begin = Instant::now();
    loop {
        let parked = block_on(groups.parked("mail".parse().unwrap(), None, NonZeroU32::MIN)).unwrap();
        if parked[0].since.is_some() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{parked:?}");
    }
}

#[test]
fn a_group_is_created_operated_and_removed_from_the_command_line() {
    let folder = TempDir::new().unwrap();
    let server = Restarting::start(folder.path());
    let url = &server.url();
    for number in 0..3 {
        gesta(["append", "order-1", "placed", &format!("{{\"amount\":{number}}}"), "--url", url]).ok();
    }
    assert_eq!(on(url, &["list"]).ok(), "");
    on(url, &["create", "mail", "--category", "order", "--from", "start"]).ok();
    let said = on(url, &["create", "mail", "--all", "--from", "now"]).failed(1);
    assert!(said.contains("group `mail` exists") && said.contains("gesta groups show mail"), "{said}");
    started(url, "mail");
    let said = on(url, &["list"]).ok();
    assert!(said.starts_with("mail  running  ") && said.contains("0 members"), "{said}");
    let said = on(url, &["list", "--json"]).ok();
    assert!(
        said.starts_with('{') && said.contains("\"group\":\"mail\"") && said.lines().count() == 1,
        "{said}"
    );
    let said = on(url, &["show", "mail"]).ok();
    assert!(said.contains("query     [{\"category\":\"order\"}]"), "{said}");
    let said = gesta(["consumers", "list", "--url", url]).ok();
    assert!(said.starts_with("mail  group  running  3 events"), "{said}");
    let said = gesta(["consumers", "pause", "mail", "--url", url]).failed(1);
    assert!(said.contains("`/groups`"), "the way to a group is named: {said}");

    park(url);
    let said = on(url, &["parked", "mail"]).ok();
    assert!(said.starts_with("order-1  version 0, 1 attempt, since "), "{said}");
    assert!(said.ends_with(": no such account\n"), "a text of others stays on its line: {said}");
    let said = on(url, &["parked", "mail", "order-1"]).ok();
    assert_eq!(said.lines().count(), 4, "the stream and its three events: {said}");
    let said = on(url, &["parked", "mail", "--json"]).ok();
    assert!(said.contains("\"error\":\"no such\\naccount\"") && said.lines().count() == 1, "{said}");
    let said = on(url, &["parked", "mail", "order-1", "--json"]).ok();
    let held = serde_json::from_str::<serde_json::Value>(&said).unwrap();
    assert_eq!(held["events"].as_array().unwrap().len(), 3, "{said}");
    let said = on(url, &["parked", "mail", "order-2"]).failed(1);
    assert!(said.contains("`order-2` is not parked") && said.contains("gesta groups parked mail"), "{said}");
    let said = on(url, &["skip", "mail", "order-1", "--through", "0", "--reason", "a test"]).ok();
    assert!(said.contains("passed `order-1` up to version 0 for good"), "{said}");
    park(url);
    assert_eq!(on(url, &["replay", "mail", "--all"]).ok(), "1 stream delivered again\n");
    let said = on(url, &["replay", "mail"]).failed(2);
    assert!(said.contains("--all"), "{said}");

    let said = on(url, &["reset", "mail", "--to", "start"]).failed(1);
    assert!(said.contains("group `mail` is busy") && said.contains("gesta groups pause mail"), "{said}");
    on(url, &["pause", "mail"]).ok();
    assert_eq!(status(url, "mail")["state"], "paused");
    let said = on(url, &["create", "more", "--from", "start"]).failed(2);
    assert!(
        said.contains("no events selected") && said.contains("`--category`, `--type`, or `--all`"),
        "{said}"
    );
    let said = on(url, &["reset", "mail", "--to", "2200-01-01T00:00:00Z"]).failed(1);
    assert!(said.contains("the time lies in the future"), "{said}");
    let said = on(url, &["reset", "mail", "--to", "start"]).ok();
    assert!(said.contains("begins again after") && said.contains("lower it before you resume"), "{said}");
    on(url, &["resume", "mail"]).ok();
    let said = on(url, &["narrow", "mail"]).failed(1);
    assert!(said.contains("has no host here"), "{said}");
    on(url, &["remove", "mail"]).ok();
    let said = on(url, &["show", "mail"]).failed(1);
    assert!(said.contains("there is no group `mail`") && said.contains("gesta groups list"), "{said}");
    server.stop();
}

#[test]
fn the_folder_of_a_served_log_names_the_server_of_its_groups() {
    let folder = TempDir::new().unwrap();
    let server = Restarting::start(folder.path());
    let log = server.log.clone();
    gesta(["groups", "create", "mail", "--all", "--from", "start", "--dir", &log]).ok();
    started(&server.url(), "mail");
    let said = gesta(["groups", "list", "--dir", &log]).ok();
    assert!(said.starts_with("mail  running"), "{said}");
    server.stop();
    let said = gesta(["groups", "list", "--dir", &log]).failed(1);
    assert!(said.contains("no server has the log in") && said.contains("gesta serve --dir"), "{said}");
    let said = gesta(["groups", "list", "--dir", folder.path().join("none").to_str().unwrap()]).failed(1);
    assert!(said.contains("there is no folder"), "{said}");
    let said = gesta(["groups", "list"]).failed(2);
    assert!(said.contains("--url"), "{said}");
}

#[test]
fn groups_and_pauses_are_there_after_a_kill_of_the_server() {
    let folder = TempDir::new().unwrap();
    let mut server = Restarting::start(folder.path());
    let url = server.url();
    gesta(["append", "order-1", "placed", "{\"amount\":1}", "--url", &url]).ok();
    on(&url, &["create", "mail", "--all", "--from", "start"]).ok();
    on(&url, &["pause", "mail"]).ok();
    server.kill();
    let after = started(&url, "mail");
    assert_eq!((&after["state"], &after["lagEvents"]), (&"paused".into(), &1.into()), "{after}");
    server.stop();
}

#[test]
fn groups_are_backed_up_and_go_on_in_the_restored_log() {
    let folder = TempDir::new().unwrap();
    let server = Restarting::start(folder.path());
    let (url, log) = (server.url(), server.log.clone());
    for number in 0..2 {
        gesta(["append", &format!("order-{number}"), "placed", "{\"amount\":1}", "--url", &url]).ok();
    }
    on(&url, &["create", "mail", "--category", "order", "--from", "start"]).ok();
    park(&url);
    server.stop();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    gesta(["backup", "--dir", &log, "--to", &path("backup")]).ok();
    gesta(["restore", "--from", &path("backup"), "--dir", &path("again/log")]).ok();
    let server = Restarting::start(&folder.path().join("again"));
    let url = server.url();
    let restored = started(&url, "mail");
    assert_eq!((&restored["state"], &restored["parked"]), (&"running".into(), &1.into()), "{restored}");
    assert_eq!(on(&url, &["replay", "mail", "--all"]).ok(), "1 stream delivered again\n");
    park(&url);
    server.stop();
}
