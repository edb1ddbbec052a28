//! A server that is emptied, killed and paused while entities are written and read: slower, never wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gesta::testing::{block_on, memory};
use gesta::*;

use super::server::Server;

/// What one load may take at most, on a machine that is busy: the wait for the server, and a fold of all events.
const LOAD_TIME_MAX: Duration = Duration::from_secs(10);
const ENTITIES: u64 = 8;

#[derive(Debug, Event)]
#[event(prefix = "counter")]
enum CounterEvent {
    Added { n: u64 },
}

#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Counter {
    sum: u64,
    events: u64,
}

#[snapshot(every = 10)]
impl State for Counter {
    type Event = CounterEvent;

    fn evolve(&mut self, CounterEvent::Added { n }: CounterEvent) {
        self.events += 1;
        self.sum = self.sum.wrapping_mul(31).wrapping_add(n);
    }
}

#[derive(Debug, Clone, Key)]
#[key("counter")]
struct CounterId(u64);

#[derive(Debug, Clone, Command)]
enum CounterCommand {
    Add { n: u64 },
}

impl Decider for Counter {
    type Id = CounterId;
    type Command = CounterCommand;
    type Error = std::convert::Infallible;

    fn decide(&self, CounterCommand::Add { n }: CounterCommand) -> Result<Vec<CounterEvent>, Self::Error> {
        Ok(vec![CounterEvent::Added { n }, CounterEvent::Added { n: self.sum }])
    }
}

/// Sends commands and compares loads until the harm is done. Returns the loads that began from a snapshot.
fn under_load(mut server: Server, harm: impl Fn(&mut Server, &dyn Fn(u64))) -> u64 {
    let without = Gesta::new(Arc::new(memory()));
    let with = without.snapshots(Arc::new(server.snapshots()));
    let (is_over, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut round = 0;
            while !is_over.load(Ordering::Relaxed) {
                block_on(work(&with, &without, round));
                round += 1;
                rounds.store(round, Ordering::Relaxed);
            }
        });
        let wait_for = |more: u64| {
            let until = rounds.load(Ordering::Relaxed) + more;
            while rounds.load(Ordering::Relaxed) < until && !worker.is_finished() {
                std::thread::yield_now();
            }
        };
        harm(&mut server, &wait_for);
        is_over.store(true, Ordering::Relaxed);
        worker.join().unwrap();
    });
    with.snapshot_metrics().iter().map(|kind| kind.hits).sum()
}

async fn work(with: &Gesta, without: &Gesta, round: u64) {
    let id = CounterId(round % ENTITIES);
    with.send::<Counter>(&id, CounterCommand::Add { n: round }).await.unwrap();
    let begun = Instant::now();
    let loaded = with.load::<Counter>(&id).await.unwrap();
    assert!(begun.elapsed() < LOAD_TIME_MAX, "a load took {:?}", begun.elapsed());
    assert_eq!(loaded, without.load::<Counter>(&id).await.unwrap());
    let past = Version::new(loaded.version.unwrap().get() / 2);
    let (found, expected) = (
        with.load_at::<Counter>(&id, AsOf::Version(past)).await.unwrap(),
        without.load_at::<Counter>(&id, AsOf::Version(past)).await.unwrap(),
    );
    assert_eq!((found.state, found.version), (expected.state, expected.version));
}

#[test]
fn a_server_that_is_emptied_again_and_again_makes_nothing_wrong() {
    let Some(server) = Server::start(&[]) else { return };
    let hits = under_load(server, |server, wait_for| {
        wait_for(200);
        for _ in 0..20 {
            assert_eq!(server.command("FLUSHALL"), "+OK");
            wait_for(20);
        }
    });
    assert!(hits > 0);
}

#[test]
fn a_server_that_is_killed_and_started_makes_nothing_wrong() {
    let Some(server) = Server::start(&[]) else { return };
    let hits = under_load(server, |server, wait_for| {
        wait_for(200);
        for _ in 0..10 {
            server.kill_and_start();
            wait_for(20);
        }
        server.kill();
        wait_for(50);
    });
    assert!(hits > 0);
}

#[test]
fn a_server_that_is_paused_makes_nothing_wrong() {
    let Some(server) = Server::start(&[]) else { return };
    let hits = under_load(server, |server, wait_for| {
        wait_for(200);
        assert_eq!(server.command("CLIENT PAUSE 3000 ALL"), "+OK");
        wait_for(100);
        server.signal("STOP");
        wait_for(100);
        server.signal("CONT");
        wait_for(100);
    });
    assert!(hits > 0);
}

#[test]
fn a_server_that_evicts_makes_nothing_wrong() {
    let arguments = ["--maxmemory", "2mb", "--maxmemory-policy", "allkeys-random"];
    let Some(server) = Server::start(&arguments) else { return };
    under_load(server, |_, wait_for| wait_for(500));
}
