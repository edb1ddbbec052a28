//! `gesta audit check`: checks a file of an audit, by itself or against a log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::PathBuf;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use gesta_core::{EventStore, Limit, Position, Read, RecordedEvent, Select, StreamName};
use gesta_wire::EventJson;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::line::{EventLine, FORMAT, Manifest, event_line, hex};
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
        let lines = lines_of(&self.file)
            .map_err(|error| Failure::new(format!("cannot read `{shown}`")).because(&error))?;
        let store = opened.as_ref().map(|opened| &**opened.store());
        let manifest = Check::new(store).all(lines).map_err(changed)?;
        let Manifest { store, until, events, redacted, closed, .. } = &manifest;
        say(&format!("checked {} of store {store}, up to {until}", count(*events, "event")))?;
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
    /// The log to compare with.
    store: Option<&'a dyn EventStore>,
    sum: Sha256,
    events: u64,
    redacted: u64,
    /// The last sequence of each partition.
    last: BTreeMap<u16, u64>,
}

impl<'a> Check<'a> {
    fn new(store: Option<&'a dyn EventStore>) -> Self {
        Self { store, sum: Sha256::new(), events: 0, redacted: 0, last: BTreeMap::new() }
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
            event.position()
        } else {
            self.redacted += 1;
            position_of(&parsed)?
        };
        let before = self.last.insert(position.partition, position.sequence);
        if before.is_some_and(|before| before >= position.sequence) {
            return Err("the event is not later than the one before".to_owned());
        }
        self.events += 1;
        self.store.map_or(Ok(()), |store| compare(store, &parsed, line))
    }

    /// Compares the manifest with what was read.
    fn manifest(self, manifest: Manifest) -> Outcome<Manifest> {
        if manifest.audit != FORMAT {
            return Err(Failure::new(format!(
                "it has format {}; this program reads {FORMAT}",
                manifest.audit
            )));
        }
        let found = (self.events, self.redacted);
        if found != (manifest.events, manifest.redacted) {
            let what =
                format!("it has {}, the manifest names {}", count(self.events, "event"), manifest.events);
            return Err(Failure::new(what));
        }
        if hex(&self.sum.finalize()) != manifest.sha256 {
            return Err(Failure::new("its lines do not have the sum that the manifest names"));
        }
        Ok(manifest)
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

/// Compares a line with the line that the log gives now.
fn compare(store: &dyn EventStore, line: &EventLine<'_>, source: &Bytes) -> Result<(), String> {
    let event = serde_json::from_str::<Value>(line.event.get()).map_err(|error| error.to_string())?;
    let name = event["stream"].as_str().unwrap_or_default().parse::<StreamName>();
    let name = name.map_err(|error| error.to_string())?;
    let version = event["version"].as_u64().ok_or("the event has no `version`")?;
    let from = Some(gesta_core::Version::new(version));
    let read =
        Read { limit: Limit::events(std::num::NonZeroU32::MIN), ..Select::Stream { name, from }.into() };
    let page = pollster::block_on(store.read(read))
        .map_err(|error| format!("the log cannot be read there: {error}"))?;
    let stored = page.events.first().map(|event| event_line(event, &line.redacted).0);
    if stored.is_some_and(|stored| stored.as_bytes() == &source[..]) {
        return Ok(());
    }
    Err("the log does not hold this event in this place".to_owned())
}
