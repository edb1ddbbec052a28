//! Members and the server are killed and stopped under load. Then the effects are exactly the events, each once, in the order of its
//! stream, and a target that does not drop what it has seen has few of them twice.

mod judge;
mod progress;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gesta_client::{ClientOptions, RemoteGroups, RemoteStore};
use gesta_consumer::group::{BackOff, GroupSettings, Groups};
use gesta_core::{Batch, EventId, EventStore, Item, NewEvent, Query, Retry, Timestamp};
use pollster::block_on;
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Restarting;
use super::member::{GROUP, IN_HAND_MAX, TARGET, URL, now_millis, open_target};
use progress::Progress;

const MEMBERS: u32 = 4;
const STREAMS: u64 = 24;
/// Kills of one run. `GESTA_KILLS` gives another number, `GESTA_SEED` another choice of them.
const KILLS: u64 = 200;
/// Events that may wait for the members. The group has room for fewer, so it also reads the log again.
const AHEAD_MAX: u64 = 3_000;
/// Short, so that a stopped member loses its deliveries while it stands still.
const ACK_TIME: Duration = Duration::from_millis(800);

struct Member {
    process: Child,
    url: String,
    target: PathBuf,
    progress: Arc<Progress>,
}

impl Member {
    fn start(url: &str, target: &Path, progress: &Arc<Progress>) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "groups::member::work_without_end", "--ignored", "--nocapture"])
            .envs([(URL, url), (TARGET, target.to_str().unwrap())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        progress.follow(process.stdout.take().unwrap());
        Self { process, url: url.to_owned(), target: target.to_owned(), progress: Arc::clone(progress) }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Kills the process and starts another one.
    fn replace(&mut self) {
        *self = Self::start(&self.url, &self.target, &self.progress);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A stream of choices that follows from its seed: SplitMix64.
struct Choose(u64);

impl Choose {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % count
    }
}

/// What is killed and stopped.
struct World {
    server: Restarting,
    groups: RemoteGroups,
    members: Vec<Member>,
    target: Connection,
    progress: Arc<Progress>,
    harm: Harm,
}

/// What was done.
#[derive(Default)]
struct Harm {
    members: u64,
    /// The times of kills of the server, in milliseconds since 1970.
    servers: Vec<i64>,
    both: u64,
    stops: u64,
    /// Deliveries that expired while their member stood still.
    expired: u64,
}

impl Harm {
    /// The most events that were in the hands of members when one of them or the server was killed or stopped.
    fn in_flight_max(&self) -> u64 {
        let all = u64::from(MEMBERS * IN_HAND_MAX);
        // A member that stands still may hold the lock of the target, so that the others lose what they have too.
        self.members * u64::from(IN_HAND_MAX) + (self.servers.len() as u64 + self.stops) * all
    }
}

impl World {
    fn start(folder: &Path) -> Self {
        let path = folder.join("target.db");
        let target = open_target(&path).unwrap();
        let server = Restarting::start(folder);
        let url = server.url();
        let groups = RemoteStore::connect(&url, &ClientOptions::default()).unwrap().groups();
        create_group(&groups);
        let progress = Arc::new(Progress::default());
        let members = (0..MEMBERS).map(|_| Member::start(&url, &path, &progress)).collect();
        Self { server, groups, members, target, progress, harm: Harm::default() }
    }

    /// Kills or stops something, then waits until work goes on.
    fn harm(&mut self, choose: &mut Choose) {
        let member = usize::try_from(choose.below(MEMBERS.into())).unwrap();
        match choose.below(20) {
            0..=9 => {
                self.members[member].replace();
                self.harm.members += 1;
            }
            10..=14 => self.kill_server(),
            15..=18 => {
                self.members[member].signal(Signal::KILL);
                self.kill_server();
                self.members[member].replace();
                self.harm.both += 1;
            }
            _ => self.stop_past_its_time(member),
        }
        // Now and then there is time for everything to be durable.
        let more = if choose.below(10) == 0 { 1_000 } else { choose.below(60) };
        let before = effects(&self.target);
        self.progress.wait("the members go on", || effects(&self.target) > before + more);
    }

    fn kill_server(&mut self) {
        self.harm.servers.push(now_millis());
        self.server.kill();
    }

    /// The member loses what it has in hand, and goes on with it when it wakes up.
    fn stop_past_its_time(&mut self, member: usize) {
        let expired =
            || block_on(self.groups.get(GROUP.parse().unwrap())).map_or(0, |status| status.settled.expired);
        let before = expired();
        self.members[member].signal(Signal::STOP);
        // It may have nothing in hand.
        self.progress.wait_at_most(2 * ACK_TIME, || expired() > before);
        self.harm.expired += expired().saturating_sub(before);
        self.harm.stops += 1;
        self.members[member].signal(Signal::CONT);
    }
}

/// Appends until it is told to stop, whatever happens to the server. Returns the number of events.
fn append(url: &str, target: &Path, progress: &Progress, stop: &AtomicBool) -> u64 {
    let options = ClientOptions { settle_time: Duration::from_secs(60), ..ClientOptions::default() };
    let store = RemoteStore::connect(url, &options).unwrap();
    let target = open_target(target).unwrap();
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let event = |at: u64| {
            let stream = format!("order-{}", (number + at) * 7 % STREAMS).parse().unwrap();
            let id = EventId::from_u128(u128::from(number + at) + 1);
            NewEvent::json(id, stream, "placed".parse().unwrap(), Timestamp::from_nanos(1), "{}")
        };
        let batch = Batch::new((0..10).map(event));
        while let Err(error) = block_on(store.append(batch.clone())) {
            assert_ne!(error.retry(), Retry::Never, "{error}");
        }
        number += 10;
        progress.wait("the members catch up", || {
            number < effects(&target) + AHEAD_MAX || stop.load(Ordering::SeqCst)
        });
    }
    number
}

fn create_group(groups: &RemoteGroups) {
    let orders = Item { category: Some("order".parse().unwrap()), ..Item::default() };
    let settings = GroupSettings {
        ack_time: ACK_TIME,
        back_off: BackOff { first: Duration::from_millis(20), max: Duration::from_millis(200) },
        attempts_max: None,
        run_max: 8.try_into().unwrap(),
        in_flight_max: 200.try_into().unwrap(),
        ..GroupSettings::new(Query::Any(vec![orders]))
    };
    block_on(groups.put(GROUP.parse().unwrap(), settings, None)).unwrap();
}

fn effects(target: &Connection) -> u64 {
    let count = target.query_row("select coalesce(max(at), 0) from effect", [], |row| row.get::<_, i64>(0));
    count.unwrap().cast_unsigned()
}

#[test]
fn effects_are_exactly_the_events_when_members_and_the_server_are_killed() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (kills, seed) = (number("GESTA_KILLS", KILLS), number("GESTA_SEED", 1));
    let folder = TempDir::new().unwrap();
    let mut world = World::start(folder.path());
    let (url, path, progress) =
        (world.server.url(), folder.path().join("target.db"), Arc::clone(&world.progress));
    let stop = AtomicBool::new(false);
    let events = std::thread::scope(|scope| {
        let appending = scope.spawn(|| append(&url, &path, &progress, &stop));
        let stops = Stops(&stop);
        let mut choose = Choose(seed);
        (0..kills).for_each(|_| world.harm(&mut choose));
        drop(stops);
        appending.join().unwrap()
    });
    world.progress.wait("everything is handled", || effects(&world.target) >= events);
    let World { server, members, target, harm, .. } = world;
    drop(members);
    server.stop();
    let Harm { members, both, stops, expired, .. } = harm;
    let servers = harm.servers.len() as u64 - both;
    println!(
        "seed {seed}: {members} members, {servers} servers, and {both} times both killed; \
         {stops} members stopped, {expired} deliveries expired meanwhile"
    );
    judge::check_effects(&target, events);
    println!("{events} events, each effect once and in its order where the target keeps `seen`");
    let repeats = judge::repeats(&target, &harm.servers);
    println!("without `seen`: {repeats}");
    repeats.check(harm.in_flight_max());
}

/// Stops the appends, also if the test fails, so that the failure is reported.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
