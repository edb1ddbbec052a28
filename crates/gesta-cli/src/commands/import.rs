//! `gesta import`: appends the events of a file.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use gesta_core::{AppendError, EventStore};
use gesta_server::now;

use crate::failure::{Failure, Outcome};
use crate::import::{Appender, Counts, FileBatches, Template, open_input};
use crate::output::say;
use crate::progress::Progress;
use crate::target::{IfMissing, Target};

/// Batches that are read ahead.
const BATCHES_AHEAD: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Import {
    /// A file of CloudEvents, one JSON object a line, plain or gzip; `-` for the standard input.
    file: PathBuf,
    /// Where the stream is taken from, if not from `subject`: a path such as `data.loan`, or `loan-{data.id}`.
    #[arg(long, value_name = "PATH|TEMPLATE")]
    stream_from: Option<Template>,
    #[command(flatten)]
    target: Target,
}

/// What became of the file.
#[derive(Default)]
struct Totals {
    read: u64,
    skipped: u64,
    counts: Counts,
}

impl Import {
    pub(crate) fn run(self) -> Outcome {
        let mut progress = Progress::new(std::fs::metadata(&self.file).ok().map(|metadata| metadata.len()));
        let input = open_input(&self.file, progress.counter())?;
        let store = self.target.open(IfMissing::Make)?;
        let batches = FileBatches::new(input, self.stream_from, now());
        let mut totals = Totals::default();
        let outcome = append_all(&*store, batches, &mut totals, &mut progress);
        progress.finish();
        outcome.map_err(|failure| failure.help(how_to_go_on(&totals)))?;
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
    batches: FileBatches,
    totals: &mut Totals,
    progress: &mut Progress,
) -> Outcome {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BATCHES_AHEAD);
        scope.spawn(move || {
            // The other side hangs up where an append fails: nothing more is wanted then.
            batches.map_while(|batch| sender.send(batch).ok()).for_each(drop);
        });
        let appender = Appender { store };
        for batch in receiver {
            let batch = batch?;
            let events = batch.events.len() as u64 + batch.skipped;
            let counts =
                appender.append(batch.events).map_err(|error| not_appended(batch.first_line, &error))?;
            totals.read += events;
            totals.skipped += batch.skipped;
            totals.counts.appended += counts.appended;
            totals.counts.repeated += counts.repeated;
            progress.add(events);
        }
        Ok(())
    })
}

fn not_appended(first_line: u64, error: &AppendError) -> Failure {
    Failure::new(format!("the events from line {first_line} on cannot be appended")).because(error)
}

fn how_to_go_on(totals: &Totals) -> String {
    let there = totals.counts.appended + totals.counts.repeated;
    format!(
        "{there} events of the file are in the log; when the cause is gone, run the import again: it goes on, and \
         appends none of them twice"
    )
}
