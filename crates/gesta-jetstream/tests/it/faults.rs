//! Servers of a cluster that are killed, paused, cut off and emptied while two processes append.
//!
//! `GESTA_ROUNDS` is the number of times that each fault happens; 1 without it.

use std::thread;
use std::time::{Duration, Instant};

use gesta_jetstream::{JetStreamStore, JetStreamUrl, Options};
use tempfile::TempDir;
use test_servers::NatsCluster;

use crate::history::{connect, runtime};
use crate::opening::at;
use crate::partitions::with_partitions;
use crate::traffic::Traffic;

/// How long a cluster may take to elect a leader. A busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two looks at a cluster, which needs the processor itself.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long a server is paused or cut off: an election of a leader takes 4 to 9 s.
const FAULT_TIME: Duration = Duration::from_secs(8);

/// A number from the environment.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// A store on a cluster that has faults, and two processes that have it open.
struct Shaken {
    url: JetStreamUrl,
    folders: TempDir,
}

impl Shaken {
    fn on(cluster: &NatsCluster, partitions: u16) -> Self {
        Self { url: with_partitions(&at(cluster.url()), partitions), folders: tempfile::tempdir().unwrap() }
    }

    fn open(&self, folder: &str) -> JetStreamStore {
        JetStreamStore::open(&self.url, &self.folders.path().join(folder), &Options::default()).unwrap()
    }

    fn check(&self, what: &str, faults: impl FnOnce(&Traffic)) {
        let stores = [self.open("first"), self.open("second")];
        Traffic::check(what, &stores, || self.open("third"), faults);
    }

    fn stream(&self) -> String {
        format!("ES_{}_0", self.url.name())
    }

    /// Has a server lead the stream.
    fn make_leader(&self, cluster: &NatsCluster, server: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.leader(cluster) != server {
            assert!(Instant::now() < deadline, "server {server} never led");
            runtime().block_on(async {
                let (client, _) = connect(cluster.url()).await;
                let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{}", self.stream());
                let wish = format!(r#"{{"placement":{{"preferred":"n{server}"}}}}"#);
                // It may not be possible yet: then it is asked for again.
                let _ = client.request(subject, wish.into()).await;
            });
            thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// The number of the server that leads the stream.
    fn leader(&self, cluster: &NatsCluster) -> usize {
        let name = self.stream();
        let leader = async || {
            let (_, context) = connect(cluster.url()).await;
            let stream = context.get_stream(&name).await.ok()?;
            // They are `n0` to `n2`.
            let leader = stream.cached_info().cluster.as_ref()?.leader.as_deref()?.strip_prefix('n')?;
            Some(leader.parse().unwrap())
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(number) = runtime().block_on(leader()) {
                return number;
            }
            assert!(Instant::now() < deadline, "no server leads");
            thread::park_timeout(LOOK_AGAIN);
        }
    }
}

#[test]
#[ignore = "half a minute, for elections: `cargo xtask night` runs it"]
fn what_is_acknowledged_is_there_once_after_servers_were_killed() {
    check_kills(1);
}

#[test]
#[ignore = "half a minute, for elections: `cargo xtask night` runs it"]
fn what_is_acknowledged_in_three_partitions_is_there_once_after_servers_were_killed() {
    check_kills(3);
}

fn check_kills(partitions: u16) {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let shaken = Shaken::on(&cluster, partitions);
    shaken.check("6 kills", |traffic| {
        for server in 0..3 {
            // One of them is the leader of the stream.
            cluster.kill(server);
            traffic.wait_for_more();
            cluster.start_again(server);
            traffic.wait_for_more();
            // A server that does not follow the stream any more has no vote.
            cluster.wait_until_ready(server);
        }
        (0..3).for_each(|server| cluster.kill(server));
        (0..3).for_each(|server| cluster.start_again(server));
    });
}

#[test]
fn what_is_acknowledged_is_there_once_after_servers_were_paused() {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let shaken = Shaken::on(&cluster, 1);
    let rounds = setting("GESTA_ROUNDS", 1);
    shaken.check(&format!("{rounds} pauses of the leader, and of a follower"), |traffic| {
        for _ in 0..rounds {
            let leader = shaken.leader(&cluster);
            for server in [leader, (leader + 1) % 3] {
                cluster.signal(server, "STOP");
                traffic.go_on_for(FAULT_TIME);
                cluster.signal(server, "CONT");
                traffic.wait_for_more();
                cluster.wait_until_ready(server);
            }
        }
    });
}

#[test]
fn what_is_acknowledged_is_there_once_after_a_server_was_cut_off() {
    let Some(mut cluster) = NatsCluster::start_with_one_apart() else { return };
    let shaken = Shaken::on(&cluster, 1);
    let rounds = setting("GESTA_ROUNDS", 1);
    shaken.check(&format!("{rounds} times cut off, the leader first, then by turns"), |traffic| {
        for round in 0..rounds {
            // Otherwise another one leads since the time before.
            if round % 2 == 0 {
                shaken.make_leader(&cluster, 0);
            }
            cluster.cut_off();
            traffic.go_on_for(FAULT_TIME);
            cluster.join();
            traffic.wait_for_more();
            cluster.wait_until_ready(0);
        }
    });
}

#[test]
fn a_server_whose_disk_was_emptied_is_filled_by_the_others() {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let shaken = Shaken::on(&cluster, 1);
    let rounds = setting("GESTA_ROUNDS", 1);
    shaken.check(&format!("{rounds} disks emptied"), |traffic| {
        for _ in 0..rounds {
            let emptied = shaken.leader(&cluster);
            cluster.kill_and_empty(emptied);
            traffic.wait_for_more();
            cluster.start_again(emptied);
            cluster.wait_until_ready(emptied);
            traffic.wait_for_more();
            // It is needed for a majority now.
            let other = (emptied + 1) % 3;
            cluster.kill(other);
            traffic.wait_for_more();
            cluster.start_again(other);
            cluster.wait_until_ready(other);
        }
    });
}
