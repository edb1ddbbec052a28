//! A process to be killed: clients append to a log without end, and say on standard output what was acknowledged.
//!
//! `torture FOLDER COUNT…`: each client begins with its given count, so that a batch in doubt is sent again.

use std::io::Write;
use std::process::ExitCode;

use gesta_log::LogStore;
use sim::{Acknowledged, batch, options};

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [folder, counts @ ..] = &arguments[..] else { return ExitCode::from(2) };
    let Ok(counts) = counts.iter().map(|count| count.parse()).collect::<Result<Vec<u64>, _>>() else {
        return ExitCode::from(2);
    };
    let log = LogStore::open(folder, &options()).expect("a log that was killed opens");
    std::thread::scope(|scope| {
        for (client, count) in (0..).zip(counts) {
            let log = &log;
            scope.spawn(move || append_without_end(log, client, count));
        }
    });
    ExitCode::SUCCESS
}

fn append_without_end(log: &LogStore, client: u64, first: u64) {
    for count in first.. {
        let appended = log.append_blocking(batch(client, count)).expect("an append succeeds");
        let positions = appended.places.iter().map(|place| place.position.sequence).collect();
        let line = format!("{}\n", Acknowledged { client, count, positions });
        // One write a line, so that a kill leaves no half line but at the very end.
        if std::io::stdout().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}
