//! `gesta excerpt`: takes whole streams out of a store, into a log of their own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use gesta::AsOf;
use gesta::http::check_past;
use gesta_core::{
    Checkpoint, CopyTarget, EventStore, Place, Query, Read, RecordedBatch, RecordedEvent, Select, StoreId,
    StreamName, Tag, Timestamp, When, excerpt,
};
use gesta_log::{LogCopy, Options, Scrub};
use gesta_server::now;
use pollster::block_on;
use uuid::Uuid;

use super::append::parse_when;
use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::output::{count, say};
use crate::store::StoreUrl;
use crate::target::{
    IfInUse, IfMissing, Opened, Target, cannot_open, has_only_other_files, is_within, other_files,
};
use crate::unread::Unread;

/// Bytes of events that an excerpt holds in memory.
const EXCERPT_BYTES_MAX: usize = 1 << 30;
/// Batches that are on their way to the new log at once, each of about 1 MiB at most.
const BATCHES_AT_ONCE: usize = 64;

#[derive(clap::Args)]
pub(crate) struct TakeExcerpt {
    /// This stream.
    stream: Option<StreamName>,
    /// All streams.
    #[arg(long, conflicts_with_all = ["stream", "category", "types", "tags", "correlation"])]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Streams with an event of this correlation: all that followed from one request.
    #[arg(long, value_name = "ID")]
    correlation: Option<String>,
    /// Only what was recorded up to this time (RFC 3339) or checkpoint.
    #[arg(long, value_name = "TIME|CHECKPOINT")]
    until: Option<Until>,
    /// The folder to make. It must be empty or not exist.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// The store, as for `gesta serve`: in place of `--dir` and `--url`.
    #[arg(long, value_name = "URL", conflicts_with_all = ["dir", "url"])]
    from: Option<Unread<StoreUrl>>,
    #[command(flatten)]
    target: Target,
}

/// The moment at which an excerpt ends.
#[derive(Debug, Clone)]
enum Until {
    Time(Timestamp),
    Place(Checkpoint),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(place) => Ok(Self::Place(place)),
            Err(_) => parse_when(text).map(Self::Time),
        }
    }
}

impl TakeExcerpt {
    pub(crate) fn run(self) -> Outcome {
        if self.stream.is_none() && self.filter.is_empty() && self.correlation.is_none() && !self.all {
            return Err(Failure::usage("no streams selected")
                .help("give a stream, `--category`, `--type`, `--tag`, `--correlation`, or `--all`"));
        }
        let correlation = self.correlation.as_deref().map(|id| Tag::from_parts("$correlation", id));
        let correlation = correlation.transpose().map_err(|error| Failure::usage(error.to_string()))?;
        let query = self.filter.with_tags(correlation.into_iter().collect()).query(self.stream);
        if let Some(source) = source_folder(self.from.as_ref(), &self.target)
            && is_within(&self.to, &source)
        {
            return Err(Failure::usage(format!(
                "`{}` lies in the store that it is taken from",
                self.to.display()
            ))
            .help("give another folder with `--to`"));
        }
        let opened = open(self.from, &self.target)?;
        let store = &**opened.store();
        let until = match self.until {
            None => block_on(store.locate(When::Head))?,
            Some(Until::Time(time)) => {
                check_past(&AsOf::RecordedAt(time), now()).map_err(Failure::usage)?;
                block_on(store.locate(When::RecordedUpTo(time)))?
            }
            Some(Until::Place(place)) => place,
        };
        let streams = streams_of(store, query, &until)?;
        if streams.is_empty() {
            return Err(Failure::new(format!("no event matches up to {until}")));
        }
        let events = events_of(store, &streams, &until)?;
        let (number, batches) = (events.len() as u64, excerpt(events));
        write(&self.to, &batches)?;
        say(&format!(
            "wrote {} of {} to the log in `{}`, up to {until}",
            count(number, "event"),
            count(streams.len(), "stream"),
            self.to.display()
        ))?;
        opened.finish()
    }
}

/// Opens the store to take from.
fn open(from: Option<Unread<StoreUrl>>, target: &Target) -> Outcome<Opened> {
    let Some(from) = from else { return target.open(IfMissing::Refuse) };
    Opened::of_url(&from.read("--from")?)
}

/// The folder of the store, if it has one.
fn source_folder(from: Option<&Unread<StoreUrl>>, target: &Target) -> Option<PathBuf> {
    match from {
        None => target.place().ok()?.folder(),
        Some(from) => match from.read("--from").ok()? {
            StoreUrl::File(folder) => Some(folder),
            _ => None,
        },
    }
}

/// The streams that have a matching event up to a place.
fn streams_of(store: &dyn EventStore, query: Query, until: &Checkpoint) -> Outcome<BTreeSet<StreamName>> {
    let (mut streams, mut from) = (BTreeSet::new(), Place::Start);
    loop {
        let read = Read::log_from(query.clone(), from).until(until.clone());
        let page = block_on(store.read(read)).map_err(Failure::from)?;
        for event in &page.events {
            if !streams.contains(event.stream()) {
                let name = event.stream().parse::<StreamName>();
                streams.insert(name.map_err(|error| Failure::new(error.to_string()))?);
            }
        }
        if page.end {
            return Ok(streams);
        }
        from = Place::At(page.scanned_to);
    }
}

/// All events of streams up to a place.
fn events_of(
    store: &dyn EventStore,
    streams: &BTreeSet<StreamName>,
    until: &Checkpoint,
) -> Outcome<Vec<RecordedEvent>> {
    let (mut events, mut bytes) = (Vec::new(), 0);
    for name in streams {
        let mut from = None;
        loop {
            let read = Read::from(Select::Stream { name: name.clone(), from }).until(until.clone());
            let page = block_on(store.read(read)).map_err(Failure::from)?;
            bytes += page.events.iter().map(|event| event.as_bytes().len()).sum::<usize>();
            if bytes > EXCERPT_BYTES_MAX {
                return Err(Failure::new("the streams have more than 1 GiB of events")
                    .help("select fewer streams, or an earlier moment with `--until`")
                    .help("`gesta copy` and `gesta backup` take a whole store"));
            }
            from = page.events.last().map(|last| last.version().next());
            events.extend(page.events);
            if page.end || from.is_none() {
                break;
            }
        }
    }
    Ok(events)
}

/// Writes batches into a new log. It opens as a log only once all of them are in it.
fn write(folder: &Path, batches: &[RecordedBatch]) -> Outcome {
    if has_only_other_files(folder) {
        return Err(other_files(folder));
    }
    let id = StoreId::from_bytes(Uuid::new_v4().into_bytes());
    let copy = LogCopy::open(folder, id, &Options { scrub: Scrub::Off, ..Options::default() });
    let copy = copy.map_err(|error| cannot_open(folder, &error, IfInUse::Stop))?;
    let added =
        batches.chunks(BATCHES_AT_ONCE).try_for_each(|batches| block_on(copy.append(batches.to_vec())));
    added.and_then(|()| block_on(copy.finish())).map_err(|error| {
        Failure::new(format!("cannot write the log in `{}`", folder.display()))
            .because(&error)
            .help("remove the folder, and run the same command again")
    })
}
