//! Splits a file into batches of events. The same file always gives the same batches.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use gesta_core::{DATA_BYTES_MAX, METADATA_BYTES_MAX, NewEvent, Timestamp};
use gesta_wire::check_user_names;
use gesta_wire::cloudevents::{CloudEvent, CloudEventError};

use super::Template;
use crate::failure::{Failure, Outcome};

/// The most events in one batch.
const BATCH_EVENTS_MAX: usize = 1_000;
/// A batch ends with the line that reaches this number of bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// The most bytes in one line: data and metadata of the largest event with every byte as a `\u` escape of six characters, and 1 MiB
/// for the rest, such as tags.
const LINE_BYTES_MAX: u64 = 6 * (DATA_BYTES_MAX + METADATA_BYTES_MAX) as u64 + (1 << 20);
/// The size of the read buffer.
const BUFFER_BYTES: usize = 256 * 1024;

/// Opens a file, or the standard input for `-`, and decompresses gzip. Counts the bytes read.
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

const NO_STREAM: &str = "the event has no `subject` to name its stream: name another field with `--stream-from`, such as \
                         `--stream-from data.account`";

/// The batches of a file.
pub(crate) struct FileBatches {
    input: Box<dyn BufRead + Send>,
    stream_from: Option<Template>,
    now: Timestamp,
    /// Lines read so far.
    lines: u64,
    ended: bool,
}

/// A batch of a file.
#[derive(Debug)]
pub(crate) struct FileBatch {
    pub(crate) events: Vec<NewEvent>,
    /// Events left out because an earlier event of the batch has the same id and stream.
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

    /// The text of the lines of one batch, and the end of each line.
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
                return Err(wrong_line(
                    line,
                    &format!("it is longer than {LINE_BYTES_MAX} bytes, the most that one event can need"),
                ));
            }
            self.lines = line;
            ends.push(text.len());
        }
        Ok((text.into(), ends))
    }

    fn event(&self, line: &Bytes) -> Result<NewEvent, String> {
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let event = serde_json::from_slice::<CloudEvent<'_>>(text);
        let event =
            event.map_err(|error| format!("it is not a CloudEvent in JSON: {}", without_line(&error)))?;
        let stream = self.stream_from.as_ref().map(|template| template.stream(&event)).transpose()?;
        let event = event.to_new_event(line, stream, self.now).map_err(|error| match error {
            CloudEventError::NoStream => NO_STREAM.to_owned(),
            other => other.to_string(),
        })?;
        check_user_names(&event).map_err(|error| error.to_string())?;
        Ok(event)
    }
}

/// The error without its line number, which is always 1: the parser sees one line.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.replace(&format!("at line {} column", error.line()), "at column")
}

fn wrong_line(line: u64, reason: &str) -> Failure {
    Failure::new(format!("cannot import line {line}: {reason}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one text event. Every byte of its data takes six in JSON.
    fn batch_of(data_bytes: usize) -> Outcome<Option<FileBatch>> {
        let line = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/t","type":"t","subject":"s-1","datacontenttype":"text/plain","data":"{}"}}"#,
            "\\u0001".repeat(data_bytes)
        );
        let now = Timestamp::from_nanos(0);
        FileBatches::new(Box::new(Cursor::new(line.into_bytes())), None, now).batch()
    }

    #[test]
    fn a_line_can_hold_any_event_and_not_much_more() {
        let batch = batch_of(100_000).expect("the line is short enough").expect("it has an event");
        assert_eq!(batch.events[0].data.len(), 100_000);
        let long = format!("{:?}", batch_of(DATA_BYTES_MAX + METADATA_BYTES_MAX + (1 << 18)));
        assert!(long.contains("cannot import line 1: it is longer than"), "{long}");
    }
}
