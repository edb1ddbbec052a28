//! Stores on a cluster of NATS JetStream: served by several hosts, examined, copied, and refused with what helps.

use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use test_servers::{Nats, NatsCluster};

use crate::copying::{
    bank_log, check_goes_on, copy, exported, kill_after_writing, line, log_of, path, start_copy,
};
use crate::harness::{gesta, serve};
use crate::hosts::{VIEWS, balance, bank, check_bank, cluster, done, get, schema, send};

const PATIENCE: Duration = Duration::from_secs(120);

/// The address of a store with a copy in a folder of that name.
fn with_copy(store: &str, folder: &TempDir, name: &str) -> String {
    format!("{store}?copy={}", path(folder, name))
}

#[test]
fn two_hosts_share_a_store_on_jetstream() {
    let Some(store) = cluster() else { return };
    let folder = TempDir::new().unwrap();
    // The copy is in the folder of the state if the address names none.
    let state = path(&folder, "state");
    let first = bank(&["--store", &store, "--state", &state, "--views", VIEWS]);
    check_bank(&first.url, true);
    assert!(folder.path().join("state/copy/p0").is_dir());
    let second = bank(&["--store", &with_copy(&store, &folder, "second")]);
    assert_eq!(balance(&second.url, "anna"), 67, "an open waits for what there is");
    done(&second.url, "/commands/account/anna/deposit", json!({"amount": 3}));
    // The command needs what the other host wrote, and looks at the head before it refuses.
    done(&first.url, "/commands/account/anna/withdraw", json!({"amount": 70}));
    assert_eq!(second.stop(), Some(0));
    let again = bank(&["--store", &with_copy(&store, &folder, "second")]);
    assert_eq!(balance(&again.url, "anna"), 0);
}

#[test]
fn a_jetstream_store_that_cannot_be_served_is_refused_with_what_helps() {
    let folder = TempDir::new().unwrap();
    let refused =
        |store: &str, code| gesta(["serve", "--listen", "127.0.0.1:0", "--store", store]).failed(code);
    let said = refused("nats://ann:secret@localhost:4222", 2);
    assert!(said.contains("the name of the store") && !said.contains("secret"), "{said}");
    let said = refused("nats://localhost:4222/shop", 2);
    assert!(said.contains("?copy=FOLDER") && said.contains("--state"), "{said}");
    let free = test_servers::free_address();
    let said = refused(&with_copy(&format!("nats://{free}/shop"), &folder, "a"), 1);
    assert!(said.contains("cannot reach the cluster") && said.contains("check the address"), "{said}");
    for arguments in [
        ["snapshot", "list", "--store"].as_slice(),
        &["copy", "--to", "x", "--from"],
        &["excerpt", "a-1", "--to", "x", "--from"],
        &["bench", "--store"],
    ] {
        let arguments = arguments.iter().chain(&["nats://localhost:4222/shop"]);
        let said = gesta(arguments).failed(2);
        assert!(said.contains("?copy=FOLDER"), "{said}");
    }
    assert!(gesta(["doctor", "--store", "data"]).failed(2).contains("gesta verify"));
    assert!(gesta(["jetstream", "repair", "--store", "data"]).failed(2).contains("gesta repair"));
}

#[test]
fn jetstream_servers_that_do_not_keep_the_promises_are_refused_with_what_helps() {
    let folder = TempDir::new().unwrap();
    let refused = |store: &str| {
        let store = with_copy(store, &folder, "a");
        gesta(["serve", "--listen", "127.0.0.1:0", "--store", &store]).failed(1)
    };
    let Some(alone) = test_servers::given(test_servers::NATS_URL) else { return };
    let said = refused(&format!("{alone}/shop"));
    assert!(said.contains("a cluster of three"), "{said}");
    let small = Nats::start("max_payload: 1MB").unwrap();
    let said = refused(&format!("{}/shop", small.url()));
    assert!(said.contains("max_payload: 8MB"), "{said}");
    let doctor =
        |monitor: &str| gesta(["doctor", "--store", &format!("{}/shop?monitor={monitor}", small.url())]);
    let ran = doctor(&small.monitor());
    assert!(ran.out.contains("bad     the server `") && ran.out.contains("max_payload: 8MB"), "{ran:?}");
    assert!(ran.out.contains("bad     the stream `ES_shop_0` does not answer"), "{ran:?}");
    ran.failed(1);
    let free = test_servers::free_address().to_string();
    let ran = doctor(&free);
    assert!(ran.out.contains(&format!("the monitor at `{free}` does not answer")), "{ran:?}");
}

#[test]
fn a_jetstream_store_is_examined_and_its_copy_belongs_to_one_process() {
    let Some(store) = cluster() else { return };
    let folder = TempDir::new().unwrap();
    let with_copy = with_copy(&store, &folder, "a");
    let missing = gesta(["copy", "--from", &with_copy, "--to", &path(&folder, "to")]).failed(1);
    assert!(missing.contains("there is no stream"), "{missing}");
    let server = serve(&["--store", &with_copy]);
    let said = gesta(["serve", "--listen", "127.0.0.1:0", "--store", &with_copy]).failed(1);
    assert!(said.contains(&server.url) && said.contains("a folder of its own"), "{said}");
    let said = gesta(["doctor", "--store", &store]).ok();
    assert!(said.contains("unsure  the server `") && said.contains("monitor=HOST:8222"), "{said}");
    assert!(said.contains("is kept by 3 servers, led by `") || said.contains("behind"), "{said}");
    assert!(said.contains("KV_gesta-"), "{said}");
}

#[test]
fn a_server_whose_copy_on_jetstream_was_moved_away_is_not_ready_and_says_what_helps() {
    let Some(store) = cluster() else { return };
    let folder = TempDir::new().unwrap();
    let server = serve(&["--store", &with_copy(&store, &folder, "copy")]);
    assert_eq!(get(&server.url, "/readyz").0, 200);
    std::fs::rename(folder.path().join("copy/p0"), folder.path().join("elsewhere")).unwrap();
    // The folder is looked at every second.
    let begun = Instant::now();
    let (mut status, mut problem) = get(&server.url, "/readyz");
    while status != 503 {
        assert!(begun.elapsed() < PATIENCE, "{problem}");
        (status, problem) = get(&server.url, "/readyz");
    }
    let said = problem["detail"].as_str().unwrap();
    assert!(
        said.contains("partition 0 takes no more writes") && said.contains("then start the server again"),
        "{said}"
    );
    assert_eq!(get(&server.url, "/livez").0, 200);
}

#[test]
fn the_doctor_tells_of_a_server_of_jetstream_that_is_not_healthy() {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let store = format!("{}/shop?monitor={}", cluster.url(), cluster.monitor(0));
    (1..3).for_each(|server| cluster.kill(server));
    // The server notices within seconds that it has no leader.
    let begun = Instant::now();
    let examine = || gesta(["doctor", "--store", &store]).out;
    let mut said = examine();
    while !said.contains("unsure  the server `n0` is not healthy (") {
        assert!(begun.elapsed() < PATIENCE, "{said}");
        said = examine();
    }
}

#[test]
fn a_bank_moves_to_postgresql_to_jetstream_and_back_and_goes_on_where_it_was() {
    let (Some(database), Some(store)) = (schema(), cluster()) else { return };
    let folder = TempDir::new().unwrap();
    let (log, back) = (path(&folder, "log"), path(&folder, "back"));
    let store = with_copy(&store, &folder, "copy");
    let first = bank_log(&log);
    copy(&log, &database).ok();
    let there = copy(&database, &store).ok();
    let verified = line(&there, "verified 83 events in 43 batches: digest sha256:").to_owned();
    let again = copy(&store, &back).ok();
    assert_eq!(verified, line(&again, "verified"), "all directions have one digest");
    assert_eq!(exported(&folder, &log, "log"), exported(&folder, &back, "back"));
    gesta(["verify", "--dir", &back]).ok();
    check_goes_on(&["--store", &store], &first, 84);
    check_goes_on(&["--dir", &back], &first, 84);
    let said = copy(&store, &back).failed(1);
    assert!(said.contains("not a copy of the source"), "{said}");
    let other = log_of(&folder, "other", 1);
    assert!(copy(&other, &store).failed(1).contains("give the copy another name"));
}

#[test]
fn a_copy_to_jetstream_goes_on_after_kills_and_is_no_store_until_it_is_finished() {
    let Some(store) = cluster() else { return };
    let folder = TempDir::new().unwrap();
    let store = with_copy(&store, &folder, "copy");
    let log = log_of(&folder, "log", 9_000);
    let bytes = std::fs::metadata(folder.path().join("log/segments/000000000001.seg")).unwrap().len();
    for kill in 1..=3 {
        let mut copying = start_copy(&log, &store);
        kill_after_writing(&mut copying, kill * bytes.min(4 << 20) / 8);
    }
    let said = gesta(["serve", "--listen", "127.0.0.1:0", "--store", &store]).failed(1);
    assert!(said.contains("unfinished copy") && said.contains("gesta copy"), "{said}");
    let said = copy(&log, &store).ok();
    line(&said, "verified 18000 events in 9000 batches");
    let back = path(&folder, "back");
    copy(&store, &back).ok();
    assert_eq!(exported(&folder, &log, "log"), exported(&folder, &back, "back"));
}

#[test]
fn a_jetstream_store_of_three_partitions_is_served_examined_and_copied() {
    let (Some(store), Some(moved)) = (cluster(), cluster()) else { return };
    let folder = TempDir::new().unwrap();
    let with_copy = with_copy(&store, &folder, "copy");
    let server = serve(&["--store", &format!("{with_copy}&partitions=3")]);
    // Each account is a stream, so the accounts are in all partitions.
    for number in 0..30 {
        let (path, body) = (format!("/streams/account-{number}"), json!({"type": "opened", "data": {}}));
        let (status, answer) = send(&server.url, &path, &body, None).unwrap();
        assert_eq!(status, 201, "{answer}");
    }
    let read = gesta(["read", "--all", "--url", &server.url]).ok();
    assert_eq!(read.lines().count(), 30, "{read}");
    for partition in ["1/", "2/"] {
        assert!(read.contains(partition), "{read}");
    }
    let over_two = json!({"events": [
        {"stream": "account-1", "type": "opened", "data": {}}, {"stream": "account-2", "type": "opened", "data": {}},
        {"stream": "account-3", "type": "opened", "data": {}}, {"stream": "account-4", "type": "opened", "data": {}}
    ]});
    let (status, problem) = send(&server.url, "/batches", &over_two, None).unwrap();
    assert!(status == 501 && problem["detail"].as_str().unwrap().contains("several partitions"), "{problem}");
    let said = gesta(["doctor", "--store", &store]).ok();
    for partition in 0..3 {
        assert!(
            said.contains(&format!("_{partition}` is kept by 3 servers")) || said.contains("behind"),
            "{said}"
        );
    }
    assert_eq!(server.stop(), Some(0));
    let said = gesta(["jetstream", "repair", "--store", &with_copy]).ok();
    line(&said, "partition 2: the cluster has all events of the copy, up to position ");
    let serve_with = |partitions: u16| {
        let store = format!("{with_copy}&partitions={partitions}");
        gesta(["serve", "--listen", "127.0.0.1:0", "--store", &store]).failed(1)
    };
    assert!(serve_with(4).contains("leave it out of the address"));
    // A copy has as many partitions, so it is on a cluster.
    let said = copy(&with_copy, &path(&folder, "log")).failed(2);
    assert!(said.contains("3 partitions") && said.contains("nats://"), "{said}");
    let moved = self::with_copy(&moved, &folder, "moved");
    let first = copy(&with_copy, &moved).ok();
    assert!(line(&first, "copied 30 events in 30 batches, up to positions ").contains(", "), "{first}");
    let verified = line(&first, "verified 30 events in 30 batches: digest sha256:").to_owned();
    let again = copy(&with_copy, &moved).ok();
    assert_eq!(line(&again, "verified 30"), verified);
    let server = serve(&["--store", &moved]);
    assert_eq!(gesta(["read", "--all", "--url", &server.url]).ok(), read, "places and times are the same");
    assert!(copy(&with_copy, &format!("{moved}x&partitions=2")).failed(1).contains("leave them out"));
}
