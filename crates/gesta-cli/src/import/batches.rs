//! A file as batches of events: always the same batches, whoever reads it and whenever.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use gesta_core::{NewEvent, Timestamp};
use gesta_server::cloudevents::{CloudEvent, CloudEventError};

use super::Template;
use crate::failure::{Failure, Outcome};

/// Events in one batch.
const BATCH_EVENTS_MAX: usize = 1_000;
/// Bytes of lines in one batch, but for the last line.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Bytes in one line: an event's data as base64, and room for the rest.
const LINE_BYTES_MAX: u64 = 32 << 20;
/// Bytes that are read from a file at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Opens a file, or the standard input for `-`, as text: unpacked, if it begins as gzip does. What is read of it is counted.
pub(crate) fn open_input(path: &Path, read: Arc<AtomicU64>) -> Outcome<Box<dyn BufRead + Send>> {
    let failed = |error: io::Error| Failure::new(format!("cannot read `{}`", path.display())).because(&error);
    let source: Box<dyn Read + Send> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    let mut source = BufReader::with_capacity(BUFFER_BYTES, Counted { source, read });
    let mut magic = Vec::new();
    (&mut source).take(2).read_to_end(&mut magic).map_err(failed)?;
    let is_gzip = magic == [0x1f, 0x8b];
    let whole = Cursor::new(magic).chain(source);
    Ok(match is_gzip {
        true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(whole))),
        false => Box::new(whole),
    })
}

struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

const NO_STREAM: &str = "the event has no `subject`, which names its stream: say where the stream is taken from instead, as in \
                         `--stream-from data.account`";

/// The batches of a file.
pub(crate) struct FileBatches {
    input: Box<dyn BufRead + Send>,
    stream_from: Option<Template>,
    now: Timestamp,
    /// Lines that were read.
    lines: u64,
    ended: bool,
}

/// What belongs together, by the file alone.
#[derive(Debug)]
pub(crate) struct FileBatch {
    pub(crate) events: Vec<NewEvent>,
    /// Events that were left out: their id stands in the batch already, in the same stream.
    pub(crate) skipped: u64,
    /// The line of its first event, from 1.
    pub(crate) first_line: u64,
}

impl FileBatches {
    pub(crate) fn new(input: Box<dyn BufRead + Send>, stream_from: Option<Template>, now: Timestamp) -> Self {
        Self { input, stream_from, now, lines: 0, ended: false }
    }

    fn batch(&mut self) -> Outcome<Option<FileBatch>> {
        let first = self.lines;
        let (text, ends) = self.text()?;
        let mut batch = FileBatch { events: Vec::with_capacity(ends.len()), skipped: 0, first_line: 0 };
        let mut seen = HashSet::with_capacity(ends.len());
        let mut start = 0;
        for (line, end) in (first + 1..).zip(ends) {
            let bytes = text.slice(start..end);
            start = end;
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let event = self.event(&bytes).map_err(|reason| wrong_line(line, &reason))?;
            if batch.first_line == 0 {
                batch.first_line = line;
            }
            match seen.insert((event.stream.clone(), event.id)) {
                true => batch.events.push(event),
                false => batch.skipped += 1,
            }
        }
        Ok((batch.first_line > 0 || !self.ended).then_some(batch))
    }

    /// The text of as many lines as make up a batch, and where each of them ends.
    fn text(&mut self) -> Outcome<(Bytes, Vec<usize>)> {
        let mut text = Vec::with_capacity(BATCH_BYTES_MAX / 2);
        let mut ends = Vec::with_capacity(BATCH_EVENTS_MAX);
        while ends.len() < BATCH_EVENTS_MAX && text.len() < BATCH_BYTES_MAX {
            let line = self.lines + 1;
            let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
            let read =
                read.map_err(|error| Failure::new(format!("cannot read line {line}")).because(&error))?;
            if read == 0 {
                self.ended = true;
                break;
            }
            if read as u64 == LINE_BYTES_MAX {
                return Err(wrong_line(line, &format!("it is longer than {LINE_BYTES_MAX} bytes")));
            }
            self.lines = line;
            ends.push(text.len());
        }
        Ok((text.into(), ends))
    }

    fn event(&self, line: &Bytes) -> Result<NewEvent, String> {
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let event = serde_json::from_slice::<CloudEvent<'_>>(text);
        let event = event.map_err(|error| format!("it is no JSON object: {}", without_line(&error)))?;
        let stream = self.stream_from.as_ref().map(|template| template.stream(&event)).transpose()?;
        event.to_new_event(line, stream, self.now).map_err(|error| match error {
            CloudEventError::NoStream => NO_STREAM.to_owned(),
            other => other.to_string(),
        })
    }
}

/// What is wrong with a line of JSON. The parser sees one line, so its own line number would mislead.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.replace(&format!("at line {} column", error.line()), "at column")
}

fn wrong_line(line: u64, reason: &str) -> Failure {
    Failure::new(format!("line {line} cannot be imported: {reason}"))
}

impl Iterator for FileBatches {
    type Item = Outcome<FileBatch>;

    fn next(&mut self) -> Option<Outcome<FileBatch>> {
        if self.ended {
            return None;
        }
        let batch = self.batch().transpose();
        if !matches!(batch, Some(Ok(_))) {
            self.ended = true;
        }
        batch
    }
}
