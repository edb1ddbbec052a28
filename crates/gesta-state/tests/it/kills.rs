//! A process that is killed in the middle of writes: everything that it acknowledged is there.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use gesta_core::{KeyValueStore, Revision};
use gesta_state::FILE_NAME;
use pollster::block_on;

use super::{all, key, open, put};

/// Kills of one run; `GESTA_KILLS` gives another number.
const KILLS: usize = 50;
const WRITERS: u64 = 4;
/// The distance of values after which the key is deleted and made again.
const DELETED_EVERY: u64 = 7;

/// What is known of a key: the number of its last value that was acknowledged, or found after a kill, and that value's revision.
type Acknowledged = HashMap<u64, (u64, Revision)>;

#[test]
fn everything_acknowledged_is_there_after_kills_in_the_middle_of_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let mut acknowledged = Acknowledged::new();
    let kills = std::env::var("GESTA_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    for kill in 0..kills {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::write_without_end", "--ignored", "--nocapture"])
            .env("GESTA_STATE_FILE", &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(writer.stdout.take().unwrap());
        // Some acknowledgements, another number each time, and then no warning.
        for _ in 0..5 + kill * 7 % 23 {
            note(&mut acknowledged, &mut output);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        while note(&mut acknowledged, &mut output) {}
        check(&open(&file), &mut acknowledged, kill);
    }
    let writes = acknowledged.values().map(|(number, _)| number).sum::<u64>();
    assert!(writes > kills as u64, "{writes} writes");
}

/// Takes one acknowledgement from the output of the writer. A cut line counts as none.
fn note(acknowledged: &mut Acknowledged, output: &mut impl BufRead) -> bool {
    loop {
        let mut line = String::new();
        output.read_line(&mut line).expect("the output of the writer");
        if line.is_empty() {
            return false;
        }
        let Some(fields) = line.strip_suffix('\n').and_then(|line| line.strip_prefix("acknowledged ")) else {
            continue;
        };
        let fields =
            fields.split(' ').map(|field| field.parse::<u64>().expect("no failure")).collect::<Vec<_>>();
        let last = acknowledged.insert(fields[0], (fields[1], Revision::new(fields[2])));
        assert!(last.is_none_or(|(number, revision)| number < fields[1] && revision.get() < fields[2]));
        return true;
    }
}

/// Checks that each key has its last known value, or the one that was being written. That one is known from now on: the next process goes on
/// from it.
fn check(store: &gesta_state::StateStore, acknowledged: &mut Acknowledged, kill: usize) {
    let highest = acknowledged.values().map(|(_, revision)| *revision).max();
    for (writer, (number, revision)) in &mut *acknowledged {
        match block_on(store.get(key(&format!("k{writer}")))).expect("no failure") {
            Some(entry) => {
                let found = std::str::from_utf8(&entry.value)
                    .expect("no failure")
                    .trim()
                    .parse::<u64>()
                    .expect("no failure");
                assert!((*number..=*number + 1).contains(&found), "kill {kill}: {found} after {number}");
                assert_eq!(found == *number, entry.revision == *revision, "kill {kill}: {entry:?}");
                (*number, *revision) = (found, entry.revision);
            }
            None => assert_eq!(*number % DELETED_EVERY, 0, "kill {kill}: value {number} is gone"),
        }
    }
    let probe = all(store).into_iter().find(|(key, _)| key.as_str() == "probe");
    let next = put(store, "probe", "1", probe.map(|(_, entry)| entry.revision));
    assert!(Some(next) > highest, "kill {kill}: {next} was given again");
}

#[test]
#[ignore = "the process that a test kills"]
fn write_without_end() {
    let Some(file) = std::env::var_os("GESTA_STATE_FILE") else { return };
    let store = open(file.as_ref());
    // The test runner has printed the name of the test, and no line break: the first acknowledgement needs a line of its own.
    println!();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || write(store, writer));
        }
    });
}

fn write(store: &gesta_state::StateStore, writer: u64) {
    let name = format!("k{writer}");
    let counter = format!("c{writer}");
    loop {
        // The counter outlives the deletes of the key.
        let count = block_on(store.get(key(&counter))).expect("no failure");
        let current = block_on(store.get(key(&name))).expect("no failure");
        let number = |value: &[u8]| {
            std::str::from_utf8(value).expect("no failure").trim().parse::<u64>().expect("no failure")
        };
        let last = current.as_ref().or(count.as_ref()).map_or(0, |entry| number(&entry.value));
        let mut expect = current.map(|entry| entry.revision);
        if let Some(revision) = expect.filter(|_| last.is_multiple_of(DELETED_EVERY)) {
            put(store, &counter, &last.to_string(), count.map(|entry| entry.revision));
            block_on(store.delete(key(&name), revision)).expect("no failure");
            expect = None;
        }
        let next = last + 1;
        // Some values are large, so that a kill comes in the middle of their pages.
        let pad = " ".repeat(usize::try_from(next % 5 * 9_000).expect("no failure"));
        let revision = put(store, &name, &format!("{next}{pad}"), expect);
        let mut output = std::io::stdout().lock();
        writeln!(output, "acknowledged {writer} {next} {}", revision.get()).expect("no failure");
        output.flush().expect("no failure");
    }
}
