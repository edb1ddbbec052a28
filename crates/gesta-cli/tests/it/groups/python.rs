//! The consumer in Python of `examples/consumer.py`: two copies of it, killed in turn, have the effect of each event once.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gesta_client::{ClientOptions, RemoteGroups, RemoteStore};
use gesta_consumer::group::{GroupSettings, Groups};
use gesta_core::{Batch, EventId, EventStore, Item, NewEvent, Query, Timestamp};
use pollster::block_on;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::Restarting;

const ACCOUNTS: u64 = 20;
const EVENTS: u64 = 600;
const KILLS: u64 = 12;
const GROUP: &str = "totals";
/// Short: what a killed copy had in hand waits for it.
const ACK_TIME: Duration = Duration::from_secs(5);

struct Consumer(Child);

impl Consumer {
    fn start(folder: &Path, url: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/consumer.py");
        let consumer = Command::new("python3")
            .args([script, &format!("{url}/groups/{GROUP}")])
            .current_dir(folder)
            // No proxy can reach the server.
            .env("no_proxy", "127.0.0.1")
            .stderr(Stdio::null())
            .spawn();
        Self(consumer.unwrap())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn append(store: &RemoteStore, number: u64) {
    let stream = format!("account-{}", number * 7 % ACCOUNTS).parse().unwrap();
    let (id, time) = (EventId::from_u128(u128::from(number) + 1), Timestamp::from_nanos(1));
    let data = format!("{{\"amount\":{number}}}");
    let event = NewEvent::json(id, stream, "paid".parse().unwrap(), time, data);
    block_on(store.append(Batch::new([event]))).unwrap();
}

fn create_group(groups: &RemoteGroups) {
    let accounts = Item { category: Some("account".parse().unwrap()), ..Item::default() };
    let settings = GroupSettings {
        ack_time: ACK_TIME,
        attempts_max: None,
        ..GroupSettings::new(Query::Any(vec![accounts]))
    };
    block_on(groups.put(GROUP.parse().unwrap(), settings, None)).unwrap();
}

/// Events in the hands of the copies, as far as the server answers.
fn in_flight(groups: &RemoteGroups) -> u32 {
    block_on(groups.get(GROUP.parse().unwrap())).map_or(0, |status| status.in_flight_events)
}

/// The total of each account.
fn totals(folder: &Path) -> Option<Vec<(String, i64)>> {
    let target =
        Connection::open_with_flags(folder.join("target.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    target.busy_timeout(Duration::from_secs(30)).ok()?;
    let mut totals = target.prepare("select account, cents from total order by account").ok()?;
    let rows = totals.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    rows.collect::<Result<_, _>>().ok()
}

#[test]
fn two_copies_of_the_example_that_are_killed_in_turn_have_each_effect_once() {
    let has_python = Command::new("python3").args(["-c", "import sqlite3"]).output();
    if !has_python.is_ok_and(|output| output.status.success()) {
        println!("not run: no python3 with `sqlite3`");
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut server = Restarting::start(folder.path());
    let url = server.url();
    let store = RemoteStore::connect(&url, &ClientOptions::default()).unwrap();
    let groups = store.groups();
    create_group(&groups);
    let mut consumers = [0, 1].map(|_| Consumer::start(folder.path(), &url));
    for number in 0..EVENTS {
        append(&store, number);
        if number % (EVENTS / KILLS) == EVENTS / KILLS - 1 {
            let kill = number * KILLS / EVENTS;
            // In the middle of the work: something is in flight.
            let begin = Instant::now();
            while in_flight(&groups) == 0 && begin.elapsed() < Duration::from_secs(1) {}
            match kill % 4 {
                3 => server.kill(),
                killed => {
                    consumers[usize::try_from(killed % 2).unwrap()] = Consumer::start(folder.path(), &url)
                }
            }
        }
    }
    let total = |account: u64| (0..EVENTS).filter(|number| number * 7 % ACCOUNTS == account).sum::<u64>();
    let mut expected = (0..ACCOUNTS)
        .map(|account| (format!("account-{account}"), i64::try_from(total(account)).unwrap()))
        .collect::<Vec<_>>();
    expected.sort();
    let begin = Instant::now();
    while totals(folder.path()).is_none_or(|found| found != expected) {
        let late = begin.elapsed() > Duration::from_secs(240);
        assert!(
            !late,
            "{:?} instead of {expected:?}, {} in flight",
            totals(folder.path()),
            in_flight(&groups)
        );
        std::thread::yield_now();
    }
    drop(consumers);
    server.stop();
}
