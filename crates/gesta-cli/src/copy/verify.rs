//! The comparison of a copy with its source: both are read anew, batch by batch.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use futures_util::future::join;
use gesta_core::{CopyTarget, LogDigest, Position, ReadError, RecordedBatch, RecordedBatches};
use pollster::block_on;

use super::ends::Source;
use super::range::{Range, words};
use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::progress::Progress;

/// Compares the batches of a range, and says what both stores have.
pub(super) fn verify(source: &Source, target: &dyn CopyTarget, range: &Range<'_>) -> Outcome {
    let mut progress = Progress::new(Some(range.events()));
    let done = progress.counter();
    let mut ours = Side::new(source.batches(range));
    let mut theirs =
        Side::new(range.batches(|partition, after, until| target.batches(partition, after, until)));
    loop {
        let (one, other) = block_on(join(ours.fill(), theirs.fill()));
        one.map_err(|error| source.unreadable(error))?;
        other.map_err(|error| Failure::new("cannot read the copy").because(&error))?;
        let compared = compare(&mut ours, &mut theirs)?;
        if compared == 0 {
            break;
        }
        done.fetch_add(compared, Ordering::Relaxed);
        progress.add(compared);
    }
    progress.finish();
    let (events, batches) = (ours.events, ours.batches);
    let (digest, other) = (ours.digest.finish(), theirs.digest.finish());
    if digest != other || events != range.events() {
        return Err(different(&words(range.until)));
    }
    let batches = super::batches(batches);
    say(&format!(
        "verified {} in {batches}: digest sha256:{} on both sides",
        count(events, "event"),
        hex(&digest)
    ))?;
    Ok(())
}

/// One store in the comparison.
struct Side<'a> {
    reader: Box<dyn RecordedBatches + 'a>,
    ahead: VecDeque<RecordedBatch>,
    digest: LogDigest,
    events: u64,
    batches: u64,
}

impl<'a> Side<'a> {
    fn new(reader: Box<dyn RecordedBatches + 'a>) -> Self {
        Self { reader, ahead: VecDeque::new(), digest: LogDigest::default(), events: 0, batches: 0 }
    }

    /// Reads on if nothing was read ahead.
    async fn fill(&mut self) -> Result<(), ReadError> {
        if self.ahead.is_empty() {
            self.ahead.extend(self.reader.next().await?);
        }
        Ok(())
    }

    fn take(&mut self) -> Option<RecordedBatch> {
        let batch = self.ahead.pop_front()?;
        self.digest.add(&batch);
        self.events += batch.events().len() as u64;
        self.batches += 1;
        Some(batch)
    }
}

/// Compares what was read ahead on both sides. Returns the number of events; 0 at the end of both.
fn compare(ours: &mut Side<'_>, theirs: &mut Side<'_>) -> Outcome<u64> {
    let before = ours.events;
    let pairs = ours.ahead.len().min(theirs.ahead.len());
    if pairs == 0 {
        let extra = ours.ahead.front().or(theirs.ahead.front());
        return extra.map_or(Ok(0), |batch| Err(different_at(batch.first())));
    }
    for _ in 0..pairs {
        let (one, other) = (ours.take(), theirs.take());
        if let (Some(one), Some(_)) = (&one, &other)
            && one != other.as_ref().expect("it was just there")
        {
            return Err(different_at(one.first()));
        }
    }
    Ok(ours.events - before)
}

fn different_at(position: Position) -> Failure {
    different(&format!("position {position}"))
}

fn different(place: &str) -> Failure {
    Failure::new(format!("the copy differs from its source at {place}, so it stays unfinished"))
        .help("if something else writes to one of the two, stop it; then empty the target and begin anew")
        .help("otherwise this is a bug: please report it")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
