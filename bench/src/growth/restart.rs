//! The open of a log after its process was killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use bench_core::{Call, Events, Gesta, Growing, Ids, batch_of, drop_caches, stream_name};
use gesta_core::{EventStore as _, Read, When};
use gesta_log::LogStore;

use super::{GrowingLog, Row, events};
use crate::asked::Asked;

/// Events that the process appends before it reports that it is ready: more than 64 MiB of log, so that the part of
/// the index that a log holds in memory is full.
const EVENTS: u64 = 300_000;

/// Closes the log, starts another process that appends to it, kills that process, and times the open from a cold
/// disk.
pub fn after_kill(row: &mut Row, growing: &mut GrowingLog) {
    let before = length(growing.gesta().log());
    growing.gesta = None;
    kill_while_it_appends(growing);
    drop_caches(growing.folder.path());
    let start = Instant::now();
    growing.open();
    row.add("open_ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    growing.gesta().log().read_blocking(&Read::stream(stream_name(Growing::PROBE))).expect("a page");
    row.add("open_first_read_us", start.elapsed().as_secs_f64() * 1e6);
    // Appends that were in flight at the kill may have used numbers too.
    growing.events.skip(length(growing.gesta().log()) - before + 100_000);
}

fn length(log: &LogStore) -> u64 {
    pollster::block_on(log.locate(When::Head)).expect("the head").sequence(0)
}

fn kill_while_it_appends(growing: &GrowingLog) {
    let ids = match growing.ids {
        Ids::V4 => "v4",
        Ids::V7 => "v7",
    };
    let mut process = Command::new(std::env::current_exe().expect("this program"))
        .args(["hold", "--ids", ids, "--events", &growing.events.taken().to_string(), "--log"])
        .arg(growing.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let mut said = String::new();
    BufReader::new(process.stdout.take().expect("an output")).read_line(&mut said).expect("a line");
    assert_eq!(said.trim(), "full", "the log holds {EVENTS} more events");
    process.kill().expect("a kill");
    process.wait().expect("an end");
}

/// Opens a log, appends, reports that it is ready, and appends until it is killed.
pub fn hold(asked: &Asked) {
    let folder = asked.log.as_ref().expect("`growth` starts `hold` with the folder of a log");
    let gesta = Gesta::open(folder, Call::Blocking);
    let made: Events = events(asked.ids);
    made.skip(asked.events.unwrap_or_default());
    let until = made.taken() + EVENTS;
    let mut full = false;
    loop {
        gesta.log().append_blocking(batch_of(&made.take(0, 1_000))).expect("an append");
        if made.taken() >= until && !full {
            println!("full");
            std::io::stdout().flush().expect("an output");
            full = true;
        }
    }
}
