//! `gesta export`: writes events to a file of CloudEvents.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use gesta_core::{EventStore, Limit, Place, Query, Read, StreamName, When};
use gesta_server::cloudevents::write_cloud_event;

use crate::failure::{Failure, Outcome};
use crate::filter::Filter;
use crate::output::{say, stdout};
use crate::progress::Progress;
use crate::target::{IfMissing, Target};

#[derive(clap::Args)]
pub(crate) struct Export {
    /// The file to make, packed if its name ends in `.gz`; `-` for the standard output.
    file: PathBuf,
    /// Events of this stream.
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    target: Target,
}

impl Export {
    pub(crate) fn run(self) -> Outcome {
        let store = self.target.open(IfMissing::Refuse)?;
        let query = self.filter.query(self.stream);
        if self.file == Path::new("-") {
            let mut out = stdout();
            write_events(&*store, &query, &mut out)?;
            out.flush()?;
            return Ok(());
        }
        let written = export_to(&*store, &query, &self.file)?;
        say(&format!("wrote {written} events to `{}`", self.file.display()))?;
        Ok(())
    }
}

/// Writes beside the file, and renames when everything is there: a file of that name is always whole.
fn export_to(store: &dyn EventStore, query: &Query, file: &Path) -> Outcome<u64> {
    if file.exists() {
        return Err(Failure::new(format!("`{}` is there already", file.display()))
            .help("remove it, or give another name: an export never overwrites"));
    }
    let failed =
        |error: io::Error| Failure::new(format!("cannot write `{}`", file.display())).because(&error);
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let out = BufWriter::with_capacity(256 * 1024, File::create(&part).map_err(failed)?);
    let (written, out) = if file.extension().is_some_and(|extension| extension == "gz") {
        let mut packed = GzEncoder::new(out, Compression::default());
        let written = write_events(store, query, &mut packed)?;
        (written, packed.finish().map_err(failed)?)
    } else {
        let mut out = out;
        (write_events(store, query, &mut out)?, out)
    };
    let out = out.into_inner().map_err(|error| failed(error.into_error()))?;
    out.sync_all().map_err(failed)?;
    std::fs::rename(&part, file).map_err(failed)?;
    Ok(written)
}

/// Writes every event that matches, up to the end of the log as it is now.
fn write_events(store: &dyn EventStore, query: &Query, out: &mut impl Write) -> Outcome<u64> {
    let head = pollster::block_on(store.locate(When::Head))?;
    let mut progress = Progress::new(None);
    let mut from = Place::Start;
    let mut written = 0;
    let mut lines = Vec::new();
    loop {
        let read = Read::log_from(query.clone(), from).until(head.clone()).limit(Limit::default());
        let page = pollster::block_on(store.read(read))?;
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
