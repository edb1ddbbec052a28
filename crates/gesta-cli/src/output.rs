//! What commands print: to whoever called them, line by line.

use std::io::{self, BufWriter, StdoutLock, Write};

use gesta_core::{ContentKind, RecordedEvent};
use gesta_server::{format_time, wire};

/// The standard output, buffered. Call `flush` at the end: a drop hides errors.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// Prints one line, at once.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// How an event is printed.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// One line for people.
    Line,
    /// One line of JSON.
    Json,
}

impl Style {
    /// JSON if asked for.
    pub(crate) const fn json(json: bool) -> Self {
        if json { Self::Json } else { Self::Line }
    }

    /// Prints an event.
    pub(crate) fn print(self, event: &RecordedEvent, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Json => {
                let mut json = Vec::with_capacity(512);
                wire::write_event(event, &mut json);
                // JSON that is broken over lines holds the breaks between tokens, where a space means the same.
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

/// Characters of data on a line for people.
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
