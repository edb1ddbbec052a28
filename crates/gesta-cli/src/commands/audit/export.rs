//! `gesta audit export`: writes events with their digests, and a manifest.

use std::io::Write;
use std::path::PathBuf;

use gesta_core::{Checkpoint, EventStore, Place, Query, Read, StreamName, Tag, Timestamp, When};
use gesta_server::now;
use gesta_wire::QueryJson;
use sha2::{Digest, Sha256};

use super::between::Between;
use super::line::{FORMAT, Manifest, event_line, hex};
use super::redact::Pointer;
use crate::commands::append::parse_when;
use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::output::{count, say};
use crate::progress::Progress;
use crate::target::{IfMissing, Target};
use crate::whole_file::write_whole;

#[derive(clap::Args)]
pub(crate) struct ExportForAudit {
    /// The file to write, compressed if its name ends in `.gz`; `-` writes to the standard output.
    file: PathBuf,
    /// Only events of this stream.
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Only events with this correlation: all that followed from one request.
    #[arg(long, value_name = "VALUE")]
    correlation: Option<String>,
    /// Only events of this actor.
    #[arg(long, value_name = "VALUE")]
    actor: Option<String>,
    /// Only events that were recorded from the first time to the second, both included.
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], value_parser = parse_when)]
    between: Option<Vec<Timestamp>>,
    /// Replace a part of the data by its digest, as a JSON pointer such as `/owner/name`. Repeat it for several. Data that is no JSON
    /// is replaced as a whole. A short value can be guessed from its digest.
    #[arg(long, value_name = "POINTER")]
    redact: Vec<Pointer>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    target: Target,
}

/// The times of `--between`.
fn between_of(given: Option<&[Timestamp]>) -> Outcome<Option<Between>> {
    let Some(&[from, to]) = given else { return Ok(None) };
    // Later events may lie before such a time, and the places of the file would be wrong.
    if from > now() {
        return Err(Failure::usage("the first time of `--between` is in the future"));
    }
    let between = Between::new(from, to);
    between.map(Some).ok_or_else(|| Failure::usage("the first time of `--between` is later than the second"))
}

impl ExportForAudit {
    pub(crate) fn run(self) -> Outcome {
        let opened = self.target.open(IfMissing::Refuse)?;
        let store = &**opened.store();
        let range = Range::of(store, between_of(self.between.as_deref())?)?;
        let tags = [("$correlation", self.correlation), ("$actor", self.actor)];
        let tags = tags.into_iter().filter_map(|(key, value)| Some(Tag::from_parts(key, &value?)));
        let tags = tags.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::usage(error.to_string()))?;
        let query = self.filter.with_tags(tags).query(self.stream);
        let mut unmatched = Unmatched::new(self.redact.clone());
        let events = Events { store, query, range, redact: self.redact };
        if let Some(written) = write_whole(&self.file, |out| events.write(out, &mut unmatched))? {
            say(&format!("wrote {} to `{}`", count(written, "event"), self.file.display()))?;
        }
        opened.finish()?;
        unmatched.check()
    }
}

/// A part of the log.
struct Range {
    /// The times that were asked for.
    between: Option<Between>,
    after: Checkpoint,
    until: Checkpoint,
    /// True if no event can come into it any more.
    is_closed: bool,
}

impl Range {
    /// The events that were recorded in these times, or all that there are.
    fn of(store: &dyn EventStore, between: Option<Between>) -> Outcome<Self> {
        let place = |when| pollster::block_on(store.locate(when)).map_err(Failure::from);
        let Some(times) = between else {
            return Ok(Self {
                between,
                after: place(When::Start)?,
                until: place(When::Head)?,
                is_closed: false,
            });
        };
        let (after, until) = times.places(store)?;
        // An event that was recorded later closes the time before it, in its partition.
        let is_closed =
            place(When::Head)?.sequences().zip(until.sequences()).all(|(head, until)| head > until);
        Ok(Self { between, after, until, is_closed })
    }
}

/// The pointers of `--redact` that named nothing so far.
struct Unmatched {
    pointers: Vec<Pointer>,
    /// True if an event was not redacted as a whole: it may have the value under another name.
    is_any_shown: bool,
}

impl Unmatched {
    fn new(pointers: Vec<Pointer>) -> Self {
        Self { pointers, is_any_shown: false }
    }

    /// Notes what was redacted in an event.
    fn note(&mut self, redacted: &[Pointer]) {
        let parts = || redacted.iter().filter(|done| !done.is_whole());
        self.pointers.retain(|pointer| !parts().any(|done| pointer.is_within(done)));
        self.is_any_shown |= !redacted.iter().any(Pointer::is_whole);
    }

    /// Fails if a pointer named nothing: a misspelt one shows what it should hide.
    fn check(&self) -> Outcome {
        if self.pointers.is_empty() || !self.is_any_shown {
            return Ok(());
        }
        let pointers = self.pointers.iter().map(|pointer| format!("`{}`", String::from(pointer.clone())));
        let pointers = pointers.collect::<Vec<_>>().join(", ");
        Err(Failure::new(format!("no event has anything at {pointers}, so nothing is redacted there")).help(
            "if the pointer is misspelt, the export shows what it should hide: remove it and export again",
        ))
    }
}

/// The events to export.
struct Events<'a> {
    store: &'a dyn EventStore,
    query: Query,
    range: Range,
    redact: Vec<Pointer>,
}

impl Events<'_> {
    /// Writes every matching event, then the manifest. Returns the number of events.
    fn write(self, out: &mut dyn Write, unmatched: &mut Unmatched) -> Outcome<u64> {
        let Self { store, query, range: Range { between, after, until, is_closed }, redact } = self;
        let (mut sum, mut progress) = (Sha256::new(), Progress::new(None));
        let (mut events, mut redacted) = (0, 0);
        let mut from = Place::At(after.clone());
        loop {
            let read = Read::log_from(query.clone(), from).until(until.clone());
            let page = pollster::block_on(store.read(read)).map_err(Failure::from)?;
            for event in &page.events {
                let (mut line, in_event) = event_line(event, &redact);
                line.push('\n');
                sum.update(&line);
                out.write_all(line.as_bytes())?;
                redacted += u64::from(!in_event.is_empty());
                unmatched.note(&in_event);
            }
            events += page.events.len() as u64;
            progress.add(page.events.len() as u64);
            if page.end {
                break;
            }
            from = Place::At(page.scanned_to);
        }
        progress.finish();
        let manifest = Manifest {
            audit: FORMAT,
            store: until.store().to_string(),
            query: QueryJson::of(&query),
            between,
            after: after.to_string(),
            until: until.to_string(),
            closed: is_closed,
            events,
            redacted,
            sha256: hex(&sum.finalize()),
        };
        let manifest = serde_json::to_string(&manifest).expect("texts can be written as JSON");
        writeln!(out, "{manifest}")?;
        Ok(events)
    }
}
