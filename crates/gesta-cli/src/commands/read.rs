//! `gesta read`: prints events.

use std::io::Write;
use std::num::NonZeroU32;

use gesta_core::{Checkpoint, Direction, EventStore, Limit, Place, Query, Read, Select, StreamName};

use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::output::{Style, stdout};
use crate::target::{IfMissing, Target};

#[derive(clap::Args)]
pub(crate) struct ReadEvents {
    /// The stream to read, such as `account-42`.
    stream: Option<StreamName>,
    /// Read all events.
    #[arg(long, conflicts_with_all = ["stream", "category", "types", "tags"])]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Print the newest event first.
    #[arg(long)]
    backward: bool,
    /// Only events after this checkpoint, or with `--backward`, before it. An error about damage names the checkpoint to continue
    /// at.
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<Checkpoint>,
    /// Print at most this many events.
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,
    /// Print JSON, one complete event per line. Without it, long data is cut and ends in `…`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Events per page.
const PAGE_EVENTS: u64 = 1_000;

impl ReadEvents {
    pub(crate) fn run(self) -> Outcome {
        if self.stream.is_none() && self.filter.is_empty() && !self.all {
            return Err(Failure::usage("no events selected")
                .help("give a stream, `--category`, `--type`, `--tag`, or `--all`"));
        }
        let opened = self.target.open(IfMissing::Refuse)?;
        let store = &**opened.store();
        let direction = if self.backward { Direction::Backward } else { Direction::Forward };
        let left = self.limit.unwrap_or(u64::MAX);
        let style = Style::json(self.json);
        match self.stream {
            Some(stream) if self.filter.is_empty() && self.from.is_none() => {
                if print_stream(store, &stream, direction, left, style)? == Found::Nothing {
                    return Err(opened.no_event(&stream));
                }
            }
            stream => {
                let from = self.from.map(Place::At);
                print_log(store, &self.filter.query(stream), direction, from, left, style)?;
            }
        }
        opened.finish()
    }
}

fn page_limit(left: u64) -> Option<Limit> {
    let events = u32::try_from(left.min(PAGE_EVENTS)).ok().and_then(NonZeroU32::new)?;
    Some(Limit::events(events))
}

/// Tells if a stream has events.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Events,
    Nothing,
}

/// Prints a stream in the order of its versions.
fn print_stream(
    store: &dyn EventStore,
    name: &StreamName,
    direction: Direction,
    mut left: u64,
    style: Style,
) -> Outcome<Found> {
    let mut out = stdout();
    let mut from = None;
    while let Some(limit) = page_limit(left) {
        let select = Select::Stream { name: name.clone(), from };
        let page = pollster::block_on(store.read(Read { direction, limit, ..select.into() }));
        let page = page.map_err(Failure::of_read)?;
        if page.last_version.is_none() && page.events.is_empty() {
            return Ok(Found::Nothing);
        }
        page.events.iter().try_for_each(|event| style.print(event, &mut out))?;
        left -= (page.events.len() as u64).min(left);
        let last = page.events.last().map(|event| event.version());
        from = match (direction, last) {
            _ if page.end => break,
            (Direction::Forward, Some(last)) => Some(last.next()),
            (Direction::Backward, Some(last)) if last.get() > 0 => {
                Some(gesta_core::Version::new(last.get() - 1))
            }
            _ => break,
        };
    }
    out.flush()?;
    Ok(Found::Events)
}

/// Prints matching events in the order of the log.
fn print_log(
    store: &dyn EventStore,
    query: &Query,
    direction: Direction,
    from: Option<Place>,
    mut left: u64,
    style: Style,
) -> Outcome {
    let mut out = stdout();
    let end = if direction == Direction::Forward { Place::Start } else { Place::End };
    let mut from = from.unwrap_or(end);
    while let Some(limit) = page_limit(left) {
        let select = Select::Log { query: query.clone(), from, lanes: None };
        let page = pollster::block_on(store.read(Read { direction, limit, ..select.into() }));
        let page = page.map_err(Failure::of_read)?;
        // A page of the log never cuts a batch, so it can hold more events than its limit.
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(page.events.len());
        page.events[..wanted].iter().try_for_each(|event| style.print(event, &mut out))?;
        left -= wanted as u64;
        if page.end {
            break;
        }
        from = Place::At(page.scanned_to);
    }
    out.flush()?;
    Ok(())
}
