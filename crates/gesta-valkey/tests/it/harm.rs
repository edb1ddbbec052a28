//! A server that is emptied, killed and paused while entities are written and read: slower, never wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use gesta::testing::{block_on, memory};
use gesta::*;

use super::server::Server;

/// What one load may take at most, on a machine that is busy: the wait for the server, and a fold of all events. A load
/// that waited for a server that is down would not end at all.
const LOAD_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the first hit may take. Only a failing test waits as long.
const HIT_TIME_MAX: Duration = Duration::from_secs(60);
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

/// Commands and loads that go on.
struct Load<'a> {
    with: &'a Gesta,
    rounds: &'a AtomicU64,
    worker: ScopedJoinHandle<'a, ()>,
}

impl Load<'_> {
    /// Waits until this number of rounds more are over.
    fn wait_for(&self, more: u64) {
        let until = self.rounds.load(Ordering::Relaxed) + more;
        while self.rounds.load(Ordering::Relaxed) < until && !self.worker.is_finished() {
            std::thread::yield_now();
        }
    }

    /// Waits until a load has begun from a snapshot. A server that is slow costs loads, so no number of rounds is
    /// enough on every machine.
    fn wait_for_a_hit(&self) {
        let begun = Instant::now();
        while self.with.snapshot_metrics().iter().all(|kind| kind.hits == 0) && !self.worker.is_finished() {
            assert!(begun.elapsed() < HIT_TIME_MAX, "no load begins from a snapshot");
            std::thread::yield_now();
        }
    }
}

/// Sets a flag when it is dropped, after a panic too.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends commands and compares loads until the harm is done.
fn under_load(mut server: Server, harm: impl Fn(&mut Server, &Load<'_>)) {
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
        let load = Load { with: &with, rounds: &rounds, worker };
        {
            let _end = SetAtEnd(&is_over);
            harm(&mut server, &load);
        }
        load.worker.join().unwrap();
    });
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
    under_load(server, |server, load| {
        load.wait_for_a_hit();
        for _ in 0..20 {
            assert_eq!(server.command("FLUSHALL"), "+OK");
            load.wait_for(20);
        }
    });
}

#[test]
fn a_server_that_is_killed_and_started_makes_nothing_wrong() {
    let Some(server) = Server::start(&[]) else { return };
    under_load(server, |server, load| {
        load.wait_for_a_hit();
        for _ in 0..10 {
            server.kill_and_start();
            load.wait_for(20);
        }
        server.kill();
        load.wait_for(50);
    });
}

#[test]
fn a_server_that_is_paused_makes_nothing_wrong() {
    let Some(server) = Server::start(&[]) else { return };
    under_load(server, |server, load| {
        load.wait_for_a_hit();
        assert_eq!(server.command("CLIENT PAUSE 3000 ALL"), "+OK");
        load.wait_for(100);
        server.signal("STOP");
        load.wait_for(100);
        server.signal("CONT");
        load.wait_for(100);
    });
}

#[test]
fn a_server_that_evicts_makes_nothing_wrong() {
    let arguments = ["--maxmemory", "2mb", "--maxmemory-policy", "allkeys-random"];
    let Some(server) = Server::start(&arguments) else { return };
    under_load(server, |_, load| load.wait_for(500));
}
