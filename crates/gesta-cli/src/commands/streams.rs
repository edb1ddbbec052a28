//! `gesta streams`: lists streams.

use std::io::Write;
use std::num::NonZeroU32;

use gesta_core::{Category, Listing};
use serde_json::json;

use crate::failure::Outcome;
use crate::output::stdout;
use crate::target::{IfMissing, Target};

#[derive(clap::Args)]
pub(crate) struct ListStreams {
    /// Only streams of this category, such as `account`.
    #[arg(long, value_name = "CATEGORY")]
    category: Option<Category>,
    /// Print JSON, one stream per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Streams per page.
const PAGE_STREAMS: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not zero");

impl ListStreams {
    pub(crate) fn run(self) -> Outcome {
        let opened = self.target.open(IfMissing::Refuse)?;
        let mut out = stdout();
        let mut after = None;
        loop {
            let listing = Listing { category: self.category.clone(), after, limit: PAGE_STREAMS };
            let page = pollster::block_on(opened.store().streams(listing))?;
            for stream in page.streams {
                match self.json {
                    true => {
                        let line = json!({"stream": stream.name.as_str(), "version": stream.version.get()});
                        writeln!(out, "{line}")?;
                    }
                    false => writeln!(out, "{}  {}", stream.name, stream.version)?,
                }
            }
            after = page.next;
            if after.is_none() {
                out.flush()?;
                return opened.finish();
            }
        }
    }
}
