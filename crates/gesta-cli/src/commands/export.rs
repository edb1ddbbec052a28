//! `gesta export`: writes events to a file of CloudEvents.

use std::io::Write;
use std::path::PathBuf;

use gesta_core::{Checkpoint, EventStore, Limit, Place, Query, Read, StreamName, When};
use gesta_wire::cloudevents::write_cloud_event;

use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::output::{count, say};
use crate::progress::Progress;
use crate::target::{IfMissing, Target};
use crate::whole_file::write_whole;

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
        if let Some(written) = write_whole(&self.file, |out| events.write(out))? {
            say(&format!("wrote {} to `{}`", count(written, "event"), self.file.display()))?;
        }
        opened.finish()
    }
}

/// The events to export.
struct Events<'a> {
    store: &'a dyn EventStore,
    query: Query,
    from: Place,
}

impl Events<'_> {
    /// Writes every matching event, up to the current end of the log.
    fn write(self, out: &mut dyn Write) -> Outcome<u64> {
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
