//! The standard output of commands.

use std::io::{self, BufWriter, StdoutLock, Write};

use gesta_core::{ContentKind, RecordedEvent};
use gesta_wire::{format_time, write_event};

/// The standard output, buffered. Call `flush` at the end: dropping it hides errors.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// Prints one line and flushes it.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints a warning to the error output.
pub(crate) fn warn(warning: &str) {
    // If the error output is closed, nobody can be told.
    let _ = writeln!(io::stderr(), "warning: {warning}");
}

/// A number with its noun: `1 segment`, `2 segments`.
pub(crate) fn count(number: impl Into<Count>, noun: &str) -> String {
    let Count(number) = number.into();
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A number of things.
pub(crate) struct Count(u64);

impl From<u64> for Count {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<usize> for Count {
    fn from(number: usize) -> Self {
        Self(number as u64)
    }
}

/// A text of somebody else, safe in a line of a terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// How an event is printed.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// One line of text.
    Line,
    /// One line of JSON.
    Json,
}

impl Style {
    /// JSON if the flag is set.
    pub(crate) const fn json(json: bool) -> Self {
        if json { Self::Json } else { Self::Line }
    }

    /// Prints an event.
    pub(crate) fn print(self, event: &RecordedEvent, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Json => {
                let mut json = Vec::with_capacity(512);
                write_event(event, &mut json);
                // Line breaks in stored JSON stand between tokens, where a space has the same meaning.
                json.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
                json.push(b'\n');
                out.write_all(&json)
            }
            Self::Line => {
                let time = format_time(event.time());
                write!(
                    out,
                    "{}  {time}  {}@{}  {}  ",
                    event.position(),
                    event.stream(),
                    event.version(),
                    event.event_type()
                )?;
                writeln!(out, "{}", summary(event))
            }
        }
    }
}

/// The most characters of data on one line of text.
const SUMMARY_CHARS_MAX: usize = 200;

fn summary(event: &RecordedEvent) -> String {
    let text = std::str::from_utf8(event.data_slice()).ok().filter(|_| event.kind() != ContentKind::Octets);
    let Some(text) = text else { return format!("{} bytes", event.data_slice().len()) };
    let shown = text.chars().take(SUMMARY_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c });
    let mut line = shown.collect::<String>();
    if text.chars().nth(SUMMARY_CHARS_MAX).is_some() {
        line.push('…');
    }
    line
}
