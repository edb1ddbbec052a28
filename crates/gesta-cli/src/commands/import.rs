//! `gesta import`: appends the events of a file.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use gesta_core::{AppendError, EventStore};
use gesta_server::now;

use crate::failure::{Failure, Outcome};
use crate::import::{Appender, Counts, FileBatch, FileBatches, Template, open_input};
use crate::output::{count, say};
use crate::progress::Progress;
use crate::target::{IfMissing, Place, Target};

/// Batches to read ahead.
const BATCHES_AHEAD: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Import {
    /// A file of CloudEvents, one JSON object per line, plain or gzip; `-` reads the standard input.
    file: PathBuf,
    /// Where to take the stream from instead of `subject`: a path such as `data.loan`, or a template such as `loan-{data.id}`.
    #[arg(long, value_name = "PATH|TEMPLATE")]
    stream_from: Option<Template>,
    #[command(flatten)]
    target: Target,
}

/// Counts of the events in the file.
#[derive(Default)]
struct Totals {
    read: u64,
    skipped: u64,
    counts: Counts,
}

/// Why an import ended early.
enum Stop {
    /// The rest of the file cannot be read.
    File(Failure),
    /// Events were not appended, or may not have been appended.
    Append { first_line: u64, error: AppendError },
}

impl Import {
    pub(crate) fn run(self) -> Outcome {
        let mut progress = Progress::new(std::fs::metadata(&self.file).ok().map(|metadata| metadata.len()));
        let input = open_input(&self.file, progress.counter())?;
        let mut batches = FileBatches::new(input, self.stream_from, now());
        let mut totals = Totals::default();
        let place = self.target.place()?;
        // Parse the first batch before a log is made: the file may not hold events at all.
        let first = batches.next().transpose().map_err(|failure| failure.help("nothing was appended"))?;
        let opened = place.open(IfMissing::Make)?;
        let batches = first.map(Ok).into_iter().chain(batches);
        let outcome = append_all(&**opened.store(), batches, &mut totals, &mut progress);
        progress.finish();
        outcome.map_err(|stop| match stop {
            Stop::File(failure) => failure.help(how_to_go_on(&totals)),
            Stop::Append { first_line, error } => not_appended(&place, &totals, first_line, &error),
        })?;
        let Totals { read, skipped, counts: Counts { appended, repeated } } = totals;
        let (seconds, rate) = (progress.seconds(), progress.rate());
        say(&format!(
            "read {read}, appended {appended}, repeated {repeated}, skipped {skipped} in {seconds:.1} s ({rate} events/s)"
        ))?;
        Ok(())
    }
}

/// Appends batch after batch while another thread reads the next ones.
fn append_all(
    store: &dyn EventStore,
    batches: impl Iterator<Item = Outcome<FileBatch>> + Send,
    totals: &mut Totals,
    progress: &mut Progress,
) -> Result<(), Stop> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD);
        scope.spawn(move || {
            // The receiver is dropped when an append fails. Then stop reading.
            batches.map_while(|batch| sender.send(batch).ok()).for_each(drop);
        });
        let appender = Appender { store };
        for batch in receiver {
            let batch = batch.map_err(Stop::File)?;
            let events = batch.events.len() as u64 + batch.skipped;
            let first_line = batch.first_line;
            let counts = appender.append(batch.events).map_err(|error| Stop::Append { first_line, error })?;
            totals.read += events;
            totals.skipped += batch.skipped;
            totals.counts.appended += counts.appended;
            totals.counts.repeated += counts.repeated;
            progress.add(events);
        }
        Ok(())
    })
}

fn not_appended(place: &Place, totals: &Totals, first_line: u64, error: &AppendError) -> Failure {
    match (place, error) {
        (Place::Server(url), AppendError::InDoubt { reason } | AppendError::Unavailable { reason }) => {
            let message = format!("lost the server at `{url}`, at line {first_line} of the file");
            Failure::new(message).because(&io::Error::other(reason.clone())).help(
                "start the server again, then run the same import again: it continues and appends nothing twice",
            )
        }
        _ => Failure::new(format!("cannot append the events from line {first_line} on"))
            .because(error)
            .help(how_to_go_on(totals)),
    }
}

fn how_to_go_on(totals: &Totals) -> String {
    let there = totals.counts.appended + totals.counts.repeated;
    format!(
        "the first {} of the file {} in the log; fix the cause and run the import again: it continues and appends nothing twice",
        count(there, "event"),
        if there == 1 { "is" } else { "are" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_server_is_reported_once_with_one_help() {
        let (server, folder) = (Place::Server("http://x".to_owned()), Place::Folder("log".into()));
        let gone = AppendError::InDoubt { reason: "connection refused".to_owned() };
        let said = |place| format!("{:?}", not_appended(place, &Totals::default(), 7, &gone));
        let from_server = said(&server);
        assert!(from_server.contains("lost the server at `http://x`, at line 7"), "{from_server}");
        assert!(from_server.contains("causes: [\"connection refused\"]"), "{from_server}");
        assert!(
            from_server.contains("help: [\"start the server again, then run the same import again"),
            "{from_server}"
        );
        assert!(said(&folder).contains("cannot append the events from line 7 on"));
    }
}
