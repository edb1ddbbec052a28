//! A rolling upgrade of the bank: copies of two releases on one log are replaced in turn while customers go on. What a release can
//! read, it never refuses; what it cannot read, it refuses and never skips.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::groups::on;
use crate::harness::{Server, gesta, program, serve, serving};
use crate::hosts::{bank_program, get, send};

const PATIENCE: Duration = Duration::from_secs(240);
/// Commands of each customer that must be done between two steps of the upgrade.
const COMMANDS_A_STEP: u64 = 8;
const CUSTOMERS: usize = 4;

/// Two copies of the bank on one server, each of some release. They keep their addresses.
struct Fleet {
    server: Server,
    statement: PathBuf,
    addresses: [String; 2],
    copies: [Option<Server>; 2],
}

impl Fleet {
    fn start(folder: &Path, release: &str) -> Self {
        let server = serve(&["--dir", folder.join("log").to_str().unwrap()]);
        let statement = folder.join("statement");
        let mut fleet = Self {
            server,
            statement,
            addresses: ["127.0.0.1:0"; 2].map(str::to_owned),
            copies: [None, None],
        };
        for copy in 0..2 {
            fleet.replace(copy, release);
        }
        fleet
    }

    /// Stops a copy, and starts another release at its address.
    fn replace(&mut self, copy: usize, release: &str) {
        if let Some(old) = self.copies[copy].take() {
            assert_eq!(old.stop(), Some(0));
        }
        let path = bank_program().with_file_name("bank_releases");
        let serve = ["serve", "--listen", &self.addresses[copy], "--store", &self.server.url];
        let mut command = program(&path, serve);
        command.env("BANK_RELEASE", release).env("BANK_STATEMENT", &self.statement);
        let started = serving(command.env("GESTA_LOG", "error").stdout(Stdio::piped()).spawn().unwrap());
        started.url.strip_prefix("http://").unwrap().clone_into(&mut self.addresses[copy]);
        self.copies[copy] = Some(started);
    }

    fn urls(&self) -> [String; 2] {
        self.addresses.each_ref().map(|address| format!("http://{address}"))
    }

    /// Waits until the group has handled everything, and returns the versions of each stream in the order in which they were noted
    /// first.
    fn statement(&self) -> BTreeMap<String, Vec<u64>> {
        let begin = Instant::now();
        loop {
            let status = on(&self.server.url, &["show", "statement", "--json"]).ok();
            let status = serde_json::from_str::<Value>(&status).unwrap();
            if status["lagEvents"] == 0 && status["inFlight"] == 0 && status["waiting"] == 0 {
                assert_eq!(status["parked"], 0, "{status}");
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{status}");
        }
        let mut versions = BTreeMap::<String, Vec<u64>>::new();
        for line in fs::read_to_string(&self.statement).unwrap().lines() {
            let (stream, version) = line.split_once(' ').unwrap();
            let (version, noted) = (version.parse().unwrap(), versions.entry(stream.to_owned()).or_default());
            // A copy that was replaced may have had an event in hand.
            if !noted.contains(&version) {
                noted.push(version);
            }
        }
        versions
    }
}

/// What the customers saw.
#[derive(Default)]
struct Seen {
    /// The commands that are done, of each customer.
    done: Mutex<[u64; CUSTOMERS]>,
    changed: Condvar,
    newer: AtomicU64,
    is_over: AtomicBool,
}

impl Seen {
    fn add(&self, customer: usize) {
        self.done.lock().unwrap()[customer] += 1;
        self.changed.notify_all();
    }

    /// Waits until each customer has gone on: each copy was asked first for deposits and withdrawals.
    fn go_on(&self) {
        let done = self.done.lock().unwrap();
        let until = done.map(|done| done + COMMANDS_A_STEP);
        let behind = |done: &mut [u64; CUSTOMERS]| done.iter().zip(until).any(|(done, until)| *done < until);
        let (done, waited) = self.changed.wait_timeout_while(done, PATIENCE, behind).unwrap();
        assert!(!waited.timed_out(), "the customers stand still at {done:?}");
    }
}

/// The name of an account: whose customer withdraws money is told by its first letter.
fn account(customer: usize) -> String {
    let kind = if spends(customer) { "spender" } else { "saver" };
    format!("{kind}{customer}")
}

const fn spends(customer: usize) -> bool {
    customer.is_multiple_of(2)
}

/// Sends a command until a copy has done it, to both in turn. A copy that is away, or that meets a newer event, is passed over.
fn settle(urls: &[String; 2], first: usize, path: &str, body: &Value, key: &str, newer: &AtomicU64) {
    let begin = Instant::now();
    for copy in [0, 1].into_iter().cycle().skip(first % 2) {
        match send(&urls[copy], path, body, Some(key)) {
            Some((200, _)) => return,
            Some((503, problem)) if problem["type"] == "urn:gesta:problem:newer-event" => {
                assert!(path.contains("spender"), "a stream that the copy can read: {problem}");
                assert_eq!((&problem["newest"], &problem["found"]), (&1.into(), &2.into()), "{problem}");
                newer.fetch_add(1, Ordering::SeqCst);
            }
            Some((status, answer)) => panic!("{path} was answered with {status}: {answer}"),
            None => {}
        }
        assert!(begin.elapsed() < PATIENCE, "{path} was not done");
    }
}

/// Deposits 5 and withdraws 3 in turn, or only deposits; two commands by one copy, two by the other. Returns the number of commands
/// after the account was opened.
fn bank_on(customer: usize, urls: &[String; 2], seen: &Seen) -> u64 {
    let account = account(customer);
    let send_to = |first: usize, name: &str, body: &Value, key: &str| {
        let path = format!("/commands/account/{account}/{name}");
        settle(urls, first, &path, body, &format!("{account}-{key}"), &seen.newer);
    };
    send_to(customer, "open", &json!({"owner": account}), "open");
    let mut number = 0_usize;
    while !seen.is_over.load(Ordering::SeqCst) {
        let withdraws = spends(customer) && number % 2 == 1;
        let (name, amount) = if withdraws { ("withdraw", 3) } else { ("deposit", 5) };
        send_to(number / 2 + customer, name, &json!({"amount": amount}), &number.to_string());
        seen.add(customer);
        number += 1;
    }
    number as u64
}

fn balance_after(customer: usize, commands: u64) -> u64 {
    let withdrawals = if spends(customer) { commands / 2 } else { 0 };
    (commands - withdrawals) * 5 - withdrawals * 3
}

/// Replaces copies in turn while customers go on, then compares books and statement. Returns how often a copy met a newer event.
fn roll(from: &str, steps: &[(usize, &str)]) -> u64 {
    let folder = TempDir::new().unwrap();
    let mut fleet = Fleet::start(folder.path(), from);
    let (urls, seen) = (fleet.urls(), Seen::default());
    let counts = thread::scope(|scope| {
        let customers = (0..CUSTOMERS).map(|customer| {
            let (urls, seen) = (&urls, &seen);
            scope.spawn(move || bank_on(customer, urls, seen))
        });
        let customers = customers.collect::<Vec<_>>();
        seen.go_on();
        for (copy, release) in steps {
            fleet.replace(*copy, release);
            seen.go_on();
        }
        seen.is_over.store(true, Ordering::SeqCst);
        customers.into_iter().map(|customer| customer.join().unwrap()).collect::<Vec<_>>()
    });
    let statement = fleet.statement();
    for (customer, commands) in counts.into_iter().enumerate() {
        let account = account(customer);
        let state = get(&fleet.urls()[1], &format!("/states/account/{account}")).1;
        assert_eq!(state["state"]["balance"], balance_after(customer, commands), "{account}: {state}");
        assert_eq!(state["version"], commands, "each command was recorded once: {account}");
        let noted = &statement[&format!("account-{account}")];
        assert_eq!(*noted, (0..=commands).collect::<Vec<_>>(), "nothing is skipped: {account}");
    }
    let both = gesta(["export", "-", "--type", "bank.account.withdrawn", "--url", &fleet.server.url]).ok();
    let versions =
        both.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["schemaversion"].clone());
    let versions = versions.map(|version| version.as_u64().unwrap_or(1)).collect::<Vec<_>>();
    assert!(versions.contains(&1) && versions.contains(&2), "both releases have written withdrawals");
    seen.newer.load(Ordering::SeqCst)
}

#[test]
fn a_bank_is_upgraded_and_rolled_back_under_load_without_a_refusal() {
    let steps = [(0, "today"), (1, "today"), (0, "between"), (1, "between"), (1, "today"), (0, "today")];
    assert_eq!(roll("between", &steps), 0, "a release that reads ahead meets nothing that it cannot read");
}

#[test]
fn a_release_that_cannot_read_ahead_refuses_those_streams_only_and_skips_nothing() {
    let newer = roll("first", &[(0, "today"), (1, "today")]);
    assert!(newer > 0, "the first release has met withdrawals of today");
}
