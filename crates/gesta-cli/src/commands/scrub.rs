//! `gesta scrub`: checks sealed segments, at a limited rate.

use std::num::NonZeroU64;

use gesta_log::{ScrubOptions, ScrubbedSegment};

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::rate::rate;
use crate::target::{IfInUse, LogFolder, cannot_open};

#[derive(clap::Args)]
pub(crate) struct ScrubLog {
    #[command(flatten)]
    log: LogFolder,
    /// Read at most this many bytes per second, such as 500K, 50M or 1G; unlimited by default.
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
}

impl ScrubLog {
    pub(crate) fn run(self) -> Outcome {
        let folder = &self.log.existing()?;
        let options = ScrubOptions { bytes_per_second: self.rate, ..ScrubOptions::default() };
        let report =
            gesta_log::scrub(folder, &options).map_err(|error| cannot_open(folder, &error, IfInUse::Stop))?;
        for segment in &report.segments {
            say(&describe(segment))?;
        }
        if report.segments.is_empty() {
            say("no segment is sealed yet: nothing to check")?;
        }
        let (unsealed, them) = match report.unsealed {
            1 => ("1 segment is".to_owned(), "it"),
            count => (format!("{count} segments are"), "them"),
        };
        say(&format!("{unsealed} not sealed yet: `gesta verify` checks {them} too"))?;
        if report.is_sound() {
            return Ok(());
        }
        Err(Failure::new(format!("the log in `{}` is damaged", folder.display()))
            .help("restore the log from a backup with `gesta restore`; damaged events are not served"))
    }
}

fn describe(segment: &ScrubbedSegment) -> String {
    let ScrubbedSegment { segment, bytes, frames, events, damage } = segment;
    let mut text = format!(
        "segment {segment}: {} in {} of {bytes} bytes checked",
        count(*events, "event"),
        count(*frames, "frame")
    );
    damage.iter().for_each(|damage| text.push_str(&format!("\ndamage: {damage}")));
    text
}
