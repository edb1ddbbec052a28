//! `gesta audit check`: checks a file of an audit, by itself or against a log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::PathBuf;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use gesta_core::{Checkpoint, Position, RecordedEvent, Timestamp};
use gesta_wire::EventJson;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::compare::{LogEvents, range};
use super::line::{EventLine, FORMAT, Manifest, hex};
use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::target::{IfMissing, Target};

#[derive(clap::Args)]
pub(crate) struct CheckAudit {
    /// The file, as `gesta audit export` wrote it.
    file: PathBuf,
    #[command(flatten)]
    log: Target,
}

/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 64 << 20;

impl CheckAudit {
    pub(crate) fn run(self) -> Outcome {
        let opened = self.log.given().map(|place| place.open(IfMissing::Refuse)).transpose()?;
        let shown = self.file.display();
        let changed =
            |failure: Failure| failure.under(format!("the file `{shown}` is not as it was exported"));
        let lines = || {
            lines_of(&self.file)
                .map_err(|error| Failure::new(format!("cannot read `{shown}`")).because(&error))
        };
        let manifest = Check::new(None).all(lines()?).map_err(changed)?;
        if let Some(opened) = &opened {
            // The range is in the last line, so the file is read a second time.
            let log = LogEvents::new(&**opened.store(), &manifest).map_err(changed)?;
            Check::new(Some(log)).all(lines()?).map_err(changed)?;
        }
        let Manifest { store, between, until, events, redacted, closed, .. } = &manifest;
        let times = between.map_or_else(String::new, |between| format!(", recorded {between}"));
        say(&format!("checked {} of store {store}, up to {until}{times}", count(*events, "event")))?;
        if *redacted > 0 {
            let only_with_log = if opened.is_some() {
                ""
            } else {
                ", so their digests need the log: give `--dir` or `--url`"
            };
            say(&format!("{} redacted{only_with_log}", count(*redacted, "event")))?;
        }
        say(if *closed {
            "no event can come into this time any more"
        } else {
            "later events may match as well"
        })?;
        match opened {
            None => Ok(()),
            Some(opened) => {
                say("the log holds the same events")?;
                opened.finish()
            }
        }
    }
}

fn lines_of(file: &std::path::Path) -> io::Result<Box<dyn BufRead>> {
    let reader = BufReader::with_capacity(256 * 1024, File::open(file)?);
    let is_packed = file.extension().is_some_and(|extension| extension == "gz");
    Ok(if is_packed { Box::new(BufReader::new(MultiGzDecoder::new(reader))) } else { Box::new(reader) })
}

/// The check of a file, up to the current line.
struct Check<'a> {
    /// The events of the log to compare with.
    log: Option<LogEvents<'a>>,
    sum: Sha256,
    events: u64,
    redacted: u64,
    /// The first and the last time at which an event was recorded, of events that are not redacted.
    times: Option<(Timestamp, Timestamp)>,
    /// The first and the last sequence of each partition.
    span: BTreeMap<u16, (u64, u64)>,
}

impl<'a> Check<'a> {
    fn new(log: Option<LogEvents<'a>>) -> Self {
        Self { log, sum: Sha256::new(), events: 0, redacted: 0, times: None, span: BTreeMap::new() }
    }

    /// Checks all lines, and returns the manifest.
    fn all(mut self, mut lines: Box<dyn BufRead>) -> Outcome<Manifest> {
        for number in 1_u64.. {
            let at = |what: String| Failure::new(format!("line {number}: {what}"));
            let line = next_line(&mut lines).map_err(|error| at(error.to_string()))?;
            let Some(line) = line else {
                return Err(Failure::new("it ends without a manifest: lines are missing"));
            };
            if let Ok(manifest) = serde_json::from_slice::<Manifest>(&line) {
                if next_line(&mut lines).map_err(|error| at(error.to_string()))?.is_some() {
                    return Err(at("a line follows the manifest".to_owned()));
                }
                return self.manifest(manifest);
            }
            if line.starts_with(b"{\"audit\"") {
                let error = serde_json::from_slice::<Manifest>(&line).err();
                let error = error.map_or_else(String::new, |error| format!(": {error}"));
                return Err(at(format!("the manifest cannot be read{error}")));
            }
            self.event(&line).map_err(at)?;
            self.sum.update(&line);
            self.sum.update(b"\n");
        }
        unreachable!("the lines end before the numbers do")
    }

    /// Checks the line of an event.
    fn event(&mut self, line: &Bytes) -> Result<(), String> {
        let parsed = serde_json::from_slice::<EventLine<'_>>(line)
            .map_err(|error| format!("it is no event: {error}"))?;
        let position = if parsed.redacted.is_empty() {
            let event = event_of(&parsed, line)?;
            if hex(&event.leaf()) != parsed.leaf {
                return Err("the event does not have the digest that stands beside it".to_owned());
            }
            self.note_time(event.recorded_at());
            event.position()
        } else {
            self.redacted += 1;
            position_of(&parsed)?
        };
        let (_, last) = self.span.entry(position.partition).or_insert((position.sequence, 0));
        if *last >= position.sequence {
            return Err("the event is not later than the one before".to_owned());
        }
        *last = position.sequence;
        self.events += 1;
        self.log.as_mut().map_or(Ok(()), |log| log.compare(position, &parsed, line))
    }

    fn note_time(&mut self, time: Timestamp) {
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
    }

    /// Compares the manifest with what was read.
    fn manifest(self, manifest: Manifest) -> Outcome<Manifest> {
        if manifest.audit != FORMAT {
            return Err(Failure::new(format!(
                "it has format {}; this program reads {FORMAT}",
                manifest.audit
            )));
        }
        for (found, named, what) in
            [(self.events, manifest.events, "event"), (self.redacted, manifest.redacted, "redacted event")]
        {
            if found != named {
                let what = format!("it has {}, the manifest names {named}", count(found, what));
                return Err(Failure::new(what));
            }
        }
        let (after, until) = range(&manifest)?;
        self.check_range(&after, &until)?;
        self.check_times(&manifest)?;
        if hex(&self.sum.finalize()) != manifest.sha256 {
            return Err(Failure::new("its lines do not have the sum that the manifest names"));
        }
        self.log.map_or(Ok(()), LogEvents::finish)?;
        Ok(manifest)
    }

    /// Checks that the events lie between the places of the manifest.
    fn check_range(&self, after: &Checkpoint, until: &Checkpoint) -> Outcome {
        let partitions = until.sequences().len();
        let is_outside = |(&partition, &(first, last)): (&u16, &(u64, u64))| {
            usize::from(partition) >= partitions
                || first <= after.sequence(partition)
                || last > until.sequence(partition)
        };
        match self.span.iter().any(is_outside) {
            true => Err(Failure::new("it has events outside the range that the manifest names")),
            false => Ok(()),
        }
    }

    /// Checks that the events were recorded in the times of the manifest.
    fn check_times(&self, manifest: &Manifest) -> Outcome {
        if manifest.closed && manifest.between.is_none() {
            return Err(Failure::new("the manifest says that a time is closed, and names none"));
        }
        let Some((between, (first, last))) = manifest.between.zip(self.times) else { return Ok(()) };
        match between.contains(first) && between.contains(last) {
            true => Ok(()),
            false => Err(Failure::new("it has events outside the times that the manifest names")),
        }
    }
}

/// The next line, without its line break.
fn next_line(lines: &mut dyn BufRead) -> io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    lines.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is cut, or longer than 64 MiB"));
    }
    Ok(Some(line.into()))
}

fn event_of(line: &EventLine<'_>, source: &Bytes) -> Result<RecordedEvent, String> {
    let event = serde_json::from_str::<EventJson<'_>>(line.event.get()).map_err(|error| error.to_string())?;
    event.to_recorded(source).map_err(|error| error.to_string())
}

/// The place of a redacted event, whose data cannot be read.
fn position_of(line: &EventLine<'_>) -> Result<Position, String> {
    let event = serde_json::from_str::<Value>(line.event.get()).map_err(|error| error.to_string())?;
    gesta_wire::position_from_json(&event["position"]).ok_or_else(|| "the event has no `position`".to_owned())
}
