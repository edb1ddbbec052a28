//! A member that tests kill: a process with a target in SQLite.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gesta_client::{ClientOptions, RemoteStore};
use gesta_consumer::group::{Delivery, DeliveryId, Groups, Settlement, Take};
use pollster::block_on;
use rusqlite::Connection;

/// The group that the members work for.
pub(super) const GROUP: &str = "effects";
/// The most events that a member has in hand.
pub(super) const IN_HAND_MAX: u32 = 32;

/// The address of the server, for the process.
pub(super) const URL: &str = "GESTA_TEST_URL";
/// The path of the target, for the process.
pub(super) const TARGET: &str = "GESTA_TEST_TARGET";

/// Opens the target, and makes its tables.
///
/// | table | rows |
/// | --- | --- |
/// | `effect` | each effect of a target with `seen`, in order |
/// | `handled` | each effect of a target without it |
/// | `acknowledged` | each delivery whose settlement the server took |
pub(super) fn open_target(path: &Path) -> rusqlite::Result<Connection> {
    let target = Connection::open(path)?;
    target.busy_timeout(Duration::from_secs(60))?;
    target.pragma_update(None, "journal_mode", "wal")?;
    target.pragma_update(None, "synchronous", "off")?;
    target.execute_batch(
        "create table if not exists seen (stream text primary key, version integer not null);
         create table if not exists effect (at integer primary key, stream text not null, version integer not null);
         create table if not exists handled (stream text not null, version integer not null, delivery text not null);
         create table if not exists acknowledged (delivery text primary key, millis integer not null);",
    )?;
    Ok(target)
}

/// Milliseconds since 1970, the same for all processes of the machine.
pub(super) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right");
    since.as_millis().try_into().expect("the clock is right")
}

#[test]
#[ignore = "the process that a test kills"]
fn work_without_end() {
    let (Some(url), Some(target)) = (std::env::var(URL).ok(), std::env::var_os(TARGET)) else {
        return;
    };
    let mut target = open_target(target.as_ref()).unwrap();
    let name = format!("{}-{}", std::process::id(), now_millis());
    let groups = loop {
        // The server may be away just now.
        if let Ok(store) = RemoteStore::connect(&url, &ClientOptions::default()) {
            break store.groups();
        }
        std::thread::yield_now();
    };
    let mut settle = Vec::<Settlement>::new();
    loop {
        let take = Take::new(name.parse().unwrap(), IN_HAND_MAX, Duration::from_secs(2));
        let taken = block_on(groups.take(GROUP.parse().unwrap(), Take { settle: settle.clone(), ..take }));
        // The same call again if it failed.
        let Ok(taken) = taken else { continue };
        let refused = |id| taken.refused.iter().any(|refused| refused.id == id);
        let settled = settle.iter().map(|settlement| settlement.id).filter(|id| !refused(*id));
        acknowledge(&target, settled).unwrap();
        settle = taken.deliveries.iter().map(|delivery| handle(&mut target, delivery)).collect();
        // The test waits for lines.
        println!("handled {}", settle.len());
    }
}

fn acknowledge(target: &Connection, settled: impl Iterator<Item = DeliveryId>) -> rusqlite::Result<()> {
    let now = now_millis();
    for id in settled {
        target.execute("insert into acknowledged values (?1, ?2)", (id.to_string(), now))?;
    }
    Ok(())
}

/// Handles a delivery, event by event, each in a transaction with its version.
fn handle(target: &mut Connection, delivery: &Delivery) -> Settlement {
    for event in &delivery.events {
        apply(target, event.stream(), event.version().get(), delivery.id).expect("the target works");
    }
    Settlement::handled(delivery.id)
}

fn apply(target: &mut Connection, stream: &str, version: u64, delivery: DeliveryId) -> rusqlite::Result<()> {
    let version = version.cast_signed();
    let transaction = target.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let seen = transaction.execute(
        "insert into seen values (?1, ?2) on conflict (stream) do update set version = excluded.version
         where excluded.version > seen.version",
        (stream, version),
    )?;
    if seen == 1 {
        transaction.execute("insert into effect (stream, version) values (?1, ?2)", (stream, version))?;
    }
    transaction
        .execute("insert into handled values (?1, ?2, ?3)", (stream, version, delivery.to_string()))?;
    transaction.commit()
}
