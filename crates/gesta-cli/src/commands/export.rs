//! `gesta export`: writes events to a file of CloudEvents.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use gesta_core::{Checkpoint, EventStore, Limit, Place, Query, Read, StreamName, When};
use gesta_server::cloudevents::write_cloud_event;

use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::output::{count, say, stdout};
use crate::progress::Progress;
use crate::target::{IfMissing, Target};

#[derive(clap::Args)]
pub(crate) struct Export {
    /// The file to write, compressed if its name ends in `.gz`; `-` writes to the standard output.
    file: PathBuf,
    /// Only events of this stream.
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Only events after this checkpoint. An error about damage names the checkpoint to continue at.
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<Checkpoint>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    target: Target,
}

impl Export {
    pub(crate) fn run(self) -> Outcome {
        let opened = self.target.open(IfMissing::Refuse)?;
        let store = opened.store();
        if let Some(stream) = &self.stream
            && let Ok(None) = pollster::block_on(store.stream(stream.clone()))
        {
            return Err(opened.no_event(stream));
        }
        let from = self.from.map_or(Place::Start, Place::At);
        let events = Events { store: &**store, query: self.filter.query(self.stream), from };
        if self.file == Path::new("-") {
            let mut out = stdout();
            events.write(&mut out)?;
            out.flush()?;
            return opened.finish();
        }
        let written = export_to(events, &self.file)?;
        say(&format!("wrote {} to `{}`", count(written, "event"), self.file.display()))?;
        opened.finish()
    }
}

/// Writes to a file with `.part` at the end of its name and renames it at the end, so a file with the final name is always complete.
/// If the log cannot be read to its end, the part stays, with whole lines.
fn export_to(events: Events<'_>, file: &Path) -> Outcome<u64> {
    if file.exists() {
        return Err(Failure::new(format!("the file `{}` already exists", file.display()))
            .help("remove it or choose another name; an export never overwrites a file"));
    }
    let failed =
        |error: io::Error| Failure::new(format!("cannot write `{}`", file.display())).because(&error);
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let left = |failure: Failure| {
        failure.help(format!("the events before that are in `{}`: rename or remove it", part.display()))
    };
    let out = BufWriter::with_capacity(256 * 1024, File::create(&part).map_err(failed)?);
    let (written, out) = if file.extension().is_some_and(|extension| extension == "gz") {
        let mut packed = GzEncoder::new(out, Compression::default());
        let written = events.write(&mut packed).map_err(left)?;
        (written, packed.finish().map_err(failed)?)
    } else {
        let mut out = out;
        (events.write(&mut out).map_err(left)?, out)
    };
    let out = out.into_inner().map_err(|error| failed(error.into_error()))?;
    out.sync_all().map_err(failed)?;
    std::fs::rename(&part, file).map_err(failed)?;
    Ok(written)
}

/// The events to export.
struct Events<'a> {
    store: &'a dyn EventStore,
    query: Query,
    from: Place,
}

impl Events<'_> {
    /// Writes every matching event, up to the current end of the log.
    fn write(self, out: &mut impl Write) -> Outcome<u64> {
        let Self { store, query, mut from } = self;
        let head = pollster::block_on(store.locate(When::Head))?;
        let mut progress = Progress::new(None);
        let mut written = 0;
        let mut lines = Vec::new();
        loop {
            let read = Read::log_from(query.clone(), from).until(head.clone()).limit(Limit::default());
            let page = pollster::block_on(store.read(read)).map_err(Failure::of_read)?;
            lines.clear();
            for event in &page.events {
                write_cloud_event(event, head.store(), &mut lines);
                lines.push(b'\n');
            }
            out.write_all(&lines)?;
            written += page.events.len() as u64;
            progress.add(page.events.len() as u64);
            if page.end {
                progress.finish();
                return Ok(written);
            }
            from = Place::At(page.scanned_to);
        }
    }
}
