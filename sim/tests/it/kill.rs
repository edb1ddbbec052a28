//! `kill -9` while clients append and segments roll: what was acknowledged is there, whole, at its place, and says so again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use gesta_core::{Query, Read, RecordedEvent};
use gesta_log::LogStore;
use sim::{Acknowledged, CLIENTS, Random, batch, options};

/// What is known of a log that is killed again and again.
struct Torture {
    random: Random,
    acknowledged: BTreeMap<(u64, u64), Vec<u64>>,
    /// The next batch of each client, which may be in doubt.
    next: Vec<u64>,
    rescued_frames: u64,
    quarantined_bytes: u64,
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_with_seed_1() {
    torture(1, 50);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_with_seed_2() {
    torture(2, 50);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_with_seed_3() {
    torture(3, 50);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_with_seed_4() {
    torture(4, 50);
}

fn torture(seed: u64, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut torture = Torture {
        random: Random::new(seed),
        acknowledged: BTreeMap::new(),
        next: vec![0; usize::try_from(CLIENTS).unwrap()],
        rescued_frames: 0,
        quarantined_bytes: 0,
    };
    for kill in 0..kills {
        let acknowledged = torture.run_and_kill(folder.path());
        // Now and then the next process meets what this one left, without anybody having looked in between.
        if torture.random.below(4) > 0 || kill + 1 == kills {
            torture.check(folder.path(), &acknowledged);
        }
    }
    assert!(torture.rescued_frames > 0, "no kill left a frame in doubt: kill at other moments");
    let (batches, events) =
        (torture.acknowledged.len(), torture.acknowledged.values().map(Vec::len).sum::<usize>());
    println!(
        "{kills} kills: {batches} batches of {events} events acknowledged, {} frames rescued, {} torn bytes",
        torture.rescued_frames, torture.quarantined_bytes
    );
}

impl Torture {
    /// Lets a process append until a number of batches was acknowledged, kills it, and gives what it had acknowledged.
    fn run_and_kill(&mut self, folder: &Path) -> Vec<Acknowledged> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_torture"))
            .arg(folder)
            .args(self.next.iter().map(u64::to_string))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        for _ in 0..self.random.below(150) {
            assert!(output.read_line(&mut text).unwrap() > 0, "the process ended by itself");
        }
        child.kill().unwrap();
        output.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        // What stands behind the last line feed was cut off by the kill.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| line.parse::<Acknowledged>().unwrap());
        lines.inspect(|line| self.remember(line)).collect()
    }

    fn remember(&mut self, line: &Acknowledged) {
        let next = &mut self.next[usize::try_from(line.client).unwrap()];
        assert_eq!(*next, line.count, "a client's batches are acknowledged in order");
        *next += 1;
        let before = self.acknowledged.insert((line.client, line.count), line.positions.clone());
        assert!(before.is_none_or(|before| before == line.positions));
    }

    fn check(&mut self, folder: &Path, recent: &[Acknowledged]) {
        let log = LogStore::open(folder, &options()).unwrap();
        assert_eq!(log.read_only(), None, "a killed process leaves no damage");
        self.rescued_frames += log.recovery().rescued_frames;
        self.quarantined_bytes += log.recovery().quarantined_bytes;
        self.check_events(&read_all(&log));
        for line in recent {
            let again = log.append_blocking(batch(line.client, line.count)).unwrap();
            assert!(again.repeated, "what was acknowledged is a repeat");
            let positions = again.places.iter().map(|place| place.position.sequence).collect::<Vec<_>>();
            assert_eq!(positions, line.positions, "the first answer is given again");
        }
        drop(log);
        let report = gesta_log::verify(folder).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }

    /// Every acknowledged batch stands where it was said to; of those in doubt, each is there whole or not at all.
    fn check_events(&self, events: &[RecordedEvent]) {
        for (event, position) in events.iter().zip(1..) {
            assert_eq!(event.position().sequence, position, "positions are dense");
        }
        let at = |position: &u64| &events[usize::try_from(position - 1).expect("small")];
        for ((client, count), positions) in &self.acknowledged {
            let expected = batch(*client, *count).events;
            assert_eq!(expected.len(), positions.len());
            for (event, position) in expected.iter().zip(positions) {
                assert_eq!(
                    event.to_bytes().as_bytes(),
                    at(position).as_bytes(),
                    "what stands there is what was sent"
                );
            }
        }
        for (client, count) in (0..).zip(&self.next) {
            let expected = batch(client, *count).events;
            let found = expected.iter().filter(|event| events.iter().rev().any(|own| own.id() == event.id));
            let found = found.count();
            assert!(found == 0 || found == expected.len(), "a batch is there whole or not at all");
        }
    }
}

fn read_all(log: &LogStore) -> Vec<RecordedEvent> {
    let mut events = Vec::new();
    let mut read = Read::log(Query::All);
    loop {
        let page = log.read_blocking(&read).unwrap();
        events.extend(page.events);
        if page.end {
            return events;
        }
        read = Read::log_from(Query::All, gesta_core::Place::At(page.scanned_to));
    }
}
