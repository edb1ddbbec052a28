//! `gesta copy`: a store moves with everything that it has recorded, is stopped, goes on, and refuses what it should.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use gesta_client::{ClientOptions, RemoteStore};
use gesta_consumer::group::{Groups, Settlement, Take, Then};
use gesta_core::{Batch, CommandKey, EventId, EventStore, NewEvent, StoreId, Timestamp};
use gesta_log::{LogStore, Options};
use gesta_postgres::{PostgresCopy, PostgresUrl};
use pollster::block_on;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::groups::{on, started};
use crate::harness::{Ran, command, gesta};
use crate::hosts::{bank, done, schema, send};

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn copy(from: &str, to: &str) -> Ran {
    gesta(["copy", "--from", from, "--to", to])
}

/// A path in a folder, as text.
pub(crate) fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// The line of an output that begins so.
#[track_caller]
pub(crate) fn line<'a>(output: &'a str, begin: &str) -> &'a str {
    output.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("`{begin}` in {output}"))
}

/// All events of a log as a file, with ids, times, versions, positions and command data.
pub(crate) fn exported(folder: &TempDir, log: &str, name: &str) -> [Vec<u8>; 2] {
    let (events, audit) = (path(folder, &format!("{name}.json")), path(folder, &format!("{name}.audit")));
    gesta(["export", &events, "--dir", log]).ok();
    gesta([
        "audit",
        "export",
        &audit,
        "--between",
        "2000-01-01T00:00:00Z",
        "2200-01-01T00:00:00Z",
        "--dir",
        log,
    ])
    .ok();
    [fs::read(events).unwrap(), fs::read(audit).unwrap()]
}

/// A log with that many batches: of one, two and three events, some under command keys.
pub(crate) fn log_of(folder: &TempDir, name: &str, batches: u64) -> String {
    let log = path(folder, name);
    append(&log, 0, batches);
    log
}

/// Appends batches to a log, all on their way at once.
fn append(log: &str, from: u64, to: u64) {
    let store = LogStore::open(log, &Options::default()).unwrap();
    let appends = (from..to).map(|number| store.append(batch(number)));
    let answers = block_on(futures_util::future::join_all(appends));
    answers.into_iter().for_each(|answer| drop(answer.unwrap()));
    store.close();
}

fn batch(number: u64) -> Batch {
    let events = (0..=number % 3).map(|index| {
        let id = EventId::from_u128(u128::from(number * 3 + index + 1));
        let stream = format!("counter-{}", (number + index) % 97).parse().unwrap();
        let data = json!({"number": number * 3 + index}).to_string();
        NewEvent::json(id, stream, "test.counted".parse().unwrap(), Timestamp::from_nanos(7), data)
            .with_tags([format!("batch:{number}").parse().unwrap()])
    });
    let batch = Batch::new(events);
    if number.is_multiple_of(2) {
        return batch;
    }
    batch.with_command(CommandKey { key: format!("key-{number}").into(), request: [7; 32] })
}

/// The number of events in the first `n` batches.
const fn events(batches: u64) -> u64 {
    batches / 3 * 6 + [0, 1, 3][(batches % 3) as usize]
}

/// The transfers of a bank under keys, and a group that has parked a stream. Returns the answer to the key `k-1`.
pub(crate) fn bank_log(log: &str) -> Value {
    let host = bank(&["--dir", log]);
    let url = host.url.clone();
    for (account, owner) in [("anna", "Anna"), ("ben", "Ben")] {
        done(&url, &format!("/commands/account/{account}/open"), json!({"owner": owner}));
    }
    let first = send(&url, "/commands/account/anna/deposit", &json!({"amount": 700}), Some("k-1")).unwrap();
    for number in 0..40 {
        let body = json!({"from": "anna", "to": "ben", "amount": 1 + number % 3});
        assert_eq!(send(&url, "/commands/transfer", &body, Some(&format!("t-{number}"))).unwrap().0, 200);
    }
    on(&url, &["create", "mail", "--category", "account", "--from", "start"]).ok();
    let groups = RemoteStore::connect(&url, &ClientOptions::default()).unwrap().groups();
    let take = Take::new("m".parse().unwrap(), 100, Duration::from_secs(30));
    let taken = block_on(groups.take("mail".parse().unwrap(), take.clone())).unwrap();
    let mut settle = taken.deliveries.iter().map(|own| Settlement::handled(own.id)).collect::<Vec<_>>();
    settle[0] = Settlement::then(settle[0].id, 0, Then::Park);
    block_on(groups.take("mail".parse().unwrap(), Take { max: 0, settle, ..take })).unwrap();
    let begin = Instant::now();
    let parked = || block_on(groups.parked("mail".parse().unwrap(), None, NonZeroU32::MIN)).unwrap();
    while parked()[0].since.is_none() {
        assert!(begin.elapsed() < PATIENCE, "{:?}", parked());
    }
    assert_eq!(host.stop(), Some(0));
    first.1
}

/// A copy of the bank's log answers the command of before with its first answer, goes on at the next position, and has the group.
pub(crate) fn check_goes_on(arguments: &[&str], first: &Value, next: u64) {
    let host = bank(arguments);
    let url = &host.url;
    let again = send(url, "/commands/account/anna/deposit", &json!({"amount": 700}), Some("k-1")).unwrap();
    assert_eq!((again.0, &again.1["events"]), (200, &first["events"]));
    let reused = send(url, "/commands/account/anna/deposit", &json!({"amount": 1}), Some("k-1")).unwrap();
    assert_eq!(reused.0, 422, "the request belongs to its key: {}", reused.1);
    let group = started(url, "mail");
    assert_eq!((&group["state"], &group["parked"]), (&"running".into(), &1.into()), "{group}");
    let place = done(url, "/commands/account/ben/deposit", json!({"amount": 1}))["checkpoint"].to_string();
    assert!(place.contains(&format!(".{next}-")), "the next position is {next}: {place}");
    assert_eq!(host.stop(), Some(0));
}

#[test]
fn a_bank_moves_to_postgresql_and_back_and_goes_on_where_it_was() {
    let Some(database) = schema() else { return };
    let folder = TempDir::new().unwrap();
    let (log, back) = (path(&folder, "log"), path(&folder, "back"));
    let first = bank_log(&log);
    let there = copy(&log, &database).ok();
    let again = copy(&database, &back).ok();
    let verified = line(&there, "verified 83 events in 43 batches: digest sha256:");
    assert_eq!(verified, line(&again, "verified"), "both directions have one digest");
    line(&again, "the log in `");
    assert_eq!(exported(&folder, &log, "log"), exported(&folder, &back, "back"));
    gesta(["verify", "--dir", &back]).ok();
    check_goes_on(&["--store", &database], &first, 84);
    check_goes_on(&["--dir", &back], &first, 84);
    // Both have gone on, so neither is a beginning of the other.
    let said = copy(&database, &back).failed(1);
    assert!(said.contains("not a copy of the source") && said.contains("empty or does not exist"), "{said}");
}

#[test]
fn a_copy_to_postgresql_goes_on_after_each_of_ten_kills() {
    let Some(database) = schema() else { return };
    let folder = TempDir::new().unwrap();
    let log = log_of(&folder, "log", 13_000);
    let gate = Gate::of(&database, store_of(&log));
    for kill in 1..=10 {
        gate.let_pass(1);
        let mut copying = start_copy(&log, &database);
        gate.wait_until_full();
        copying.kill().unwrap();
        copying.wait().unwrap();
        gate.clear();
        let said = gesta(["serve", "--listen", "127.0.0.1:0", "--store", &database]).failed(1);
        assert!(said.contains("unfinished copy") && said.contains("gesta copy"), "{kill}: {said}");
    }
    gate.let_pass(1_000_000);
    let said = copy(&log, &database).ok();
    line(&said, "the copy goes on after position ");
    line(&said, &format!("verified {} events in 13000 batches", events(13_000)));
    let back = path(&folder, "back");
    copy(&database, &back).ok();
    assert_eq!(exported(&folder, &log, "log"), exported(&folder, &back, "back"));
}

#[test]
fn a_copy_into_a_folder_goes_on_after_kills() {
    let folder = TempDir::new().unwrap();
    let (log, to) = (log_of(&folder, "log", 12_000), path(&folder, "to"));
    let bytes = fs::read_dir(folder.path().join("log/segments")).unwrap();
    let bytes = bytes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>();
    for kill in 1..=10 {
        let mut copying = start_copy(&log, &to);
        kill_after_writing(&mut copying, kill * bytes / 40);
    }
    let said = copy(&log, &to).ok();
    line(&said, &format!("verified {} events in 12000 batches", events(12_000)));
    assert_eq!(exported(&folder, &log, "log"), exported(&folder, &to, "to"));
    gesta(["verify", "--dir", &to]).ok();
}

#[test]
fn a_finished_copy_gets_what_its_source_has_more_and_an_unfinished_one_is_no_store() {
    let folder = TempDir::new().unwrap();
    let (log, to) = (log_of(&folder, "log", 6), path(&folder, "to"));
    line(&copy(&log, &to).ok(), "copied 12 events in 6 batches, up to position 12");
    append(&log, 6, 7);
    let said = copy(&log, &to).ok();
    line(&said, "the copy goes on after position 12");
    line(&said, "copied 1 event in 1 batch, up to position 13");
    line(&said, "verified 12 events in 6 batches");
    line(&said, "verified 1 event in 1 batch");
    let said = gesta(["copy", "--from", &log, "--to", &to, "--verify", "new"]).ok();
    line(&said, "verified 0 events in 0 batches");
    // As a kill leaves it.
    fs::write(folder.path().join("to/copying"), "").unwrap();
    let said = gesta(["read", "--all", "--dir", &to]).failed(1);
    assert!(said.contains("unfinished copy") && said.contains("gesta copy"), "{said}");
    let said = gesta(["backup", "--dir", &to, "--to", &path(&folder, "backup")]).failed(1);
    assert!(said.contains("unfinished copy"), "{said}");
    // All of an unfinished copy is compared, whatever was asked for.
    let said = gesta(["copy", "--from", &log, "--to", &to, "--verify", "new"]).ok();
    line(&said, "verified 13 events in 7 batches");
    gesta(["read", "--all", "--dir", &to]).ok();
    // A damaged source costs no good copy.
    let bad = path(&folder, "bad");
    copy(&log, &bad).ok();
    damage(Path::new(&bad));
    copy(&bad, &to).failed(1);
    gesta(["read", "--all", "--dir", &to]).ok();
    append(&to, 7, 8);
    let said = copy(&log, &to).failed(1);
    assert!(said.contains("events that the source does not have"), "{said}");
    gesta(["read", "--all", "--dir", &to]).ok();
}

#[test]
fn a_copy_refuses_other_targets_and_sources_that_it_cannot_copy_whole() {
    let folder = TempDir::new().unwrap();
    let (log, other) = (log_of(&folder, "log", 9), log_of(&folder, "other", 1));
    let said = copy(&log, &other).failed(1);
    assert!(said.contains("holds the store") && said.contains("empty or does not exist"), "{said}");
    assert!(copy(&log, &log).failed(2).contains("onto itself"));
    assert!(copy(&log, &format!("{log}/new/copy")).failed(2).contains("lies in the store that is copied"));
    assert!(copy(&path(&folder, "none"), &path(&folder, "to")).failed(1).contains("there is no folder"));
    fs::create_dir(folder.path().join("photos")).unwrap();
    fs::write(folder.path().join("photos/cat.jpg"), "").unwrap();
    assert!(copy(&log, &path(&folder, "photos")).failed(1).contains("other files"));
    for (from, to) in
        [("memory:", &*log), (&*log, "memory:"), ("http://127.0.0.1:1", &*log), (&*log, "http://127.0.0.1:1")]
    {
        copy(from, to).failed(2);
    }
    damage(&folder.path().join("log"));
    let to = path(&folder, "to");
    let said = copy(&log, &to).failed(1);
    assert!(said.contains("are damaged") && said.contains("stays unfinished"), "{said}");
    assert!(gesta(["read", "--all", "--dir", &to]).failed(1).contains("unfinished copy"));
}

/// Changes a byte in the first event of a log.
fn damage(log: &Path) {
    let segment = fs::read_dir(log.join("segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(11).position(|window| window == b"{\"number\":4").unwrap();
    bytes[at + 10] = b'9';
    fs::write(segment, bytes).unwrap();
}

pub(crate) fn start_copy(from: &str, to: &str) -> Child {
    command(["copy", "--from", from, "--to", to])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a process once it has written so much, unless it ends before.
pub(crate) fn kill_after_writing(child: &mut Child, bytes: u64) {
    let io = format!("/proc/{}/io", child.id());
    let written = || {
        let text = fs::read_to_string(&io).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok())
    };
    while child.try_wait().unwrap().is_none() && written().is_none_or(|written| written < bytes) {
        std::hint::spin_loop();
    }
    let _ = child.kill();
    child.wait().unwrap();
}

/// The id of the store in a folder.
fn store_of(log: &str) -> StoreId {
    let said = gesta(["stat", "--dir", log, "--json"]).ok();
    serde_json::from_str::<Value>(&said).unwrap()["store"].as_str().unwrap().parse().unwrap()
}

/// A gate in a schema: that many groups are written, and the next one waits until its process is killed.
struct Gate {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
    schema: String,
}

const LOCK: i64 = 7_771;

impl Gate {
    /// Begins a copy in the schema, and puts the gate there.
    fn of(database: &str, store: StoreId) -> Self {
        let url = database.parse::<PostgresUrl>().unwrap();
        drop(PostgresCopy::open(&url, store, &gesta_postgres::Options::default()).unwrap());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = database.split('?').next().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(async move { drop(connection.await) });
            client
        });
        let gate = Self { runtime, client, schema: url.schema().to_owned() };
        let schema = &gate.schema;
        gate.run(&format!(
            "create table {schema}.gate (open int); insert into {schema}.gate values (0);
             create function {schema}.pass() returns trigger language plpgsql as $$
             begin
                 update {schema}.gate set open = open - 1;
                 if (select open from {schema}.gate) < 0 then perform pg_advisory_xact_lock({LOCK}); end if;
                 return null;
             end $$;
             create trigger gate after insert on {schema}.event for each statement execute function {schema}.pass();
             select pg_advisory_lock({LOCK})"
        ));
        gate
    }

    fn run(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }

    fn let_pass(&self, groups: u32) {
        self.run(&format!("update {}.gate set open = {groups}", self.schema));
    }

    /// Waits until a group waits at the gate.
    fn wait_until_full(&self) {
        let waiting =
            "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 7771";
        let begin = Instant::now();
        while self.runtime.block_on(self.client.query_one(waiting, &[])).unwrap().get::<_, i64>(0) == 0 {
            assert!(begin.elapsed() < PATIENCE, "no group came to the gate");
        }
    }

    /// Ends the sessions of killed processes, which the server would notice later.
    fn clear(&self) {
        self.run(
            "select pg_terminate_backend(pid, 60000) from pg_locks where locktype = 'advisory' and not granted and objid = 7771",
        );
    }
}
