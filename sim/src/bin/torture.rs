//! A process to inject faults into: clients append to a log and print each answer on standard output.
//!
//! - `torture endless FOLDER COUNT…`: one client for each count. A client starts with the batch of its count, so it
//!   sends a batch in doubt again.
//! - `torture recorded FOLDER COUNT…`: the same on a disk whose writes are recorded in the file that the environment
//!   variable `WRITES` names. Each acknowledgement contains the length of that file at the time when the client got
//!   it. Index files are written early.
//! - `torture script FOLDER FIRST END`: one client appends its batches from `FIRST` to `END`, without `END`, reads
//!   everything and exits.
//! - `torture inline FOLDER FIRST END`: the same without threads, so that the n-th system call is always the same.
//! - `torture fill FOLDER FIRST PAUSE`: one client appends until there is no space, reads everything, and continues
//!   when it receives a line. It also waits for a line before its batch `PAUSE`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gesta_core::{AppendError, Appended, Checkpoint, Expected, Limit, Place, Query, Read, StreamName};
use gesta_log::{LogStore, Options};
use sim::process::{Acknowledged, Answer, Said, places};
use sim::{batch, contended, options, stale_batch};

/// Attempts to append a batch that was not acknowledged, after which the client stops.
const ATTEMPTS_MAX: usize = 3;
/// Without threads, the work of the segment manager is done after every `n` appends.
const KEEP_EVERY: u64 = 5;
/// Bytes of a recorded log that the index in memory may cover: about ten batches.
const RECORDED_INDEX_RUN_BYTES: u64 = 32 << 10;

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [mode, folder, counts @ ..] = &arguments[..] else { return ExitCode::from(2) };
    let Ok(counts) = counts.iter().map(|count| count.parse()).collect::<Result<Vec<u64>, _>>() else {
        return ExitCode::from(2);
    };
    let folder = Path::new(folder);
    let opened = match &mode[..] {
        "inline" => gesta_log::sim::open_inline(folder, &options()),
        "recorded" => {
            let options = Options { index_run_bytes: RECORDED_INDEX_RUN_BYTES, ..options() };
            LogStore::open(folder, &options)
        }
        _ => LogStore::open(folder, &options()),
    };
    let log = match opened {
        Ok(log) => log,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})"));
            say(&Said::Failed(format!("{error}{}", cause.unwrap_or_default())));
            return ExitCode::SUCCESS;
        }
    };
    say(&Said::Opened { read_only: log.read_only().map(|own| own.reason) });
    match (&mode[..], &counts[..]) {
        ("endless", counts) => append_without_end(&log, counts, None),
        ("recorded", counts) => match std::env::var_os("WRITES") {
            Some(writes) => append_without_end(&log, counts, Some(&PathBuf::from(writes))),
            None => return ExitCode::from(2),
        },
        ("script" | "inline", [first, end]) => script(&log, *first..*end, mode == "inline"),
        ("fill", [first, pause]) => fill(&log, *first, *pause),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Prints each line with one write, so that a kill can only cut the last line.
fn say(said: &Said) {
    if std::io::stdout().write_all(format!("{said}\n").as_bytes()).is_err() {
        // The reader of the output is gone.
        std::process::exit(0);
    }
}

/// Appends with one client for each count, all at the same time.
fn append_without_end(log: &LogStore, counts: &[u64], writes: Option<&Path>) {
    std::thread::scope(|scope| {
        for (client, count) in (0..).zip(counts) {
            scope.spawn(move || Client { log, client, seen: None, writes }.append_without_end(*count));
        }
    });
}

fn script(log: &LogStore, counts: std::ops::Range<u64>, inline: bool) {
    let mut client = Client { log, client: 0, seen: None, writes: None };
    for count in counts {
        if inline && count.is_multiple_of(KEEP_EVERY) {
            log.keep_inline();
            log.rest_inline();
        }
        if !(0..ATTEMPTS_MAX).any(|_| client.append(count).is_ok()) {
            break;
        }
    }
    read_all(log);
}

fn fill(log: &LogStore, first: u64, pause: u64) {
    let mut client = Client { log, client: 0, seen: None, writes: None };
    for count in first.. {
        if count == pause {
            wait_for_line();
        }
        while let Err(answer) = client.append(count) {
            read_all(log);
            if answer != Answer::StorageFull || !wait_for_line() {
                return;
            }
        }
    }
}

/// Waits for a line on standard input. Returns `false` at the end of input.
fn wait_for_line() -> bool {
    std::io::stdin().read_line(&mut String::new()).is_ok_and(|read| read > 0)
}

/// The length of a file in bytes.
///
/// # Panics
/// If there is no such file: answers without the length would be useless.
fn length_of(path: &Path) -> u64 {
    std::fs::metadata(path).expect("the file that records the disk's writes").len()
}

/// Reads every event that the log shows.
fn read_all(log: &LogStore) {
    let mut events = 0;
    let mut read = Read::log(Query::All);
    loop {
        match log.read_blocking(&read) {
            Ok(page) => {
                events += page.events.len() as u64;
                if page.end {
                    return say(&Said::Read(events));
                }
                read = Read::log_from(Query::All, Place::At(page.scanned_to));
            }
            Err(error) => return say(&Said::Failed(format!("reading: {error}"))),
        }
    }
}

struct Client<'a> {
    log: &'a LogStore,
    client: u64,
    /// The end of its last batch.
    seen: Option<Checkpoint>,
    /// The file that records the disk's writes, if there is one.
    writes: Option<&'a Path>,
}

impl Client<'_> {
    fn append_without_end(&mut self, first: u64) {
        for count in first.. {
            if count.is_multiple_of(8) {
                self.send_stale(count);
            }
            if self.append(count).is_err() {
                return;
            }
        }
    }

    /// Appends the batch and prints the answer.
    fn append(&mut self, count: u64) -> Result<(), Answer> {
        match self.send(count) {
            Ok(appended) => {
                let writes_bytes = self.writes.map(length_of);
                self.seen = Some(appended.checkpoint.clone());
                let (client, places) = (self.client, places(&appended));
                say(&Said::Acknowledged(Acknowledged { client, count, places, writes_bytes }));
                Ok(())
            }
            Err(error) => {
                let (client, answer) = (self.client, Answer::of(&error));
                say(&Said::NotAcknowledged { client, count, answer, why: error.to_string() });
                Err(answer)
            }
        }
    }

    /// Sends the batch. A contended batch is sent again until no other client was faster.
    fn send(&self, count: u64) -> Result<Appended, AppendError> {
        let mut batch = batch(self.client, count);
        if let Some(seen) = self.seen.clone().filter(|_| count.is_multiple_of(3)) {
            let own = Query::tags(batch.events[0].tags.clone());
            batch = batch.fail_if(own, Some(seen));
        }
        let Some(stream) = contended(self.client, count) else { return self.log.append_blocking(batch) };
        loop {
            let expected = self.expected(&stream)?;
            match self.log.append_blocking(batch.clone().expect(stream.clone(), expected)) {
                Err(AppendError::Conflict { stream: of, .. }) if of == stream => {}
                Ok(appended) => {
                    let version = appended.places.last().expect("a batch has events").version;
                    let follows = match expected {
                        Expected::Exactly(before) => version == before.next(),
                        _ => version.get() == 0,
                    };
                    if !appended.repeated && !follows {
                        say(&Said::Broken(format!(
                            "version {version} was recorded where {expected} was expected"
                        )));
                    }
                    return Ok(appended);
                }
                refused => return refused,
            }
        }
    }

    fn expected(&self, stream: &StreamName) -> Result<Expected, AppendError> {
        let last = Read::stream(stream.clone()).backward().limit(Limit::events(std::num::NonZeroU32::MIN));
        match self.log.read_blocking(&last) {
            Ok(page) => Ok(page.last_version.map_or(Expected::None, Expected::Exactly)),
            Err(error) => Err(AppendError::Unavailable { reason: error.to_string() }),
        }
    }

    /// Sends a batch that the log must refuse.
    fn send_stale(&self, count: u64) {
        match self.log.append_blocking(stale_batch(self.client, count)) {
            Err(AppendError::Conflict { .. } | AppendError::ConditionFailed { .. }) => {}
            // A fault of the machine may be reported before the conflict.
            Err(error) if Answer::of(&error) != Answer::Other => {}
            other => say(&Said::Broken(format!("a stale decision got {other:?}"))),
        }
    }
}
