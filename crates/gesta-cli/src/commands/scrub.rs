//! `gesta scrub`: reads sealed segments again and proves them, at a limited rate.

use std::num::NonZeroU64;

use gesta_log::{ScrubOptions, ScrubbedSegment};

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::rate::rate;
use crate::target::{IfInUse, LogFolder, cannot_open};

#[derive(clap::Args)]
pub(crate) struct ScrubLog {
    #[command(flatten)]
    log: LogFolder,
    /// Bytes to read a second at the most, such as 50M (or K, G); without it, as fast as it goes.
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
            say("no segment is sealed yet, so there was nothing to read")?;
        }
        let unsealed = match report.unsealed {
            1 => "1 segment is".to_owned(),
            count => format!("{count} segments are"),
        };
        say(&format!("{unsealed} not sealed yet: `gesta verify` proves what is in there too"))?;
        if report.is_sound() {
            return Ok(());
        }
        Err(Failure::new(format!("the log in `{}` is damaged", folder.display()))
            .help("restore it from a backup with `gesta restore`; what is damaged is not served meanwhile"))
    }
}

fn describe(segment: &ScrubbedSegment) -> String {
    let ScrubbedSegment { segment, bytes, frames, events, damage } = segment;
    let mut text =
        format!("segment {segment}: {events} events in {frames} frames of {bytes} bytes proved themselves");
    damage.iter().for_each(|damage| text.push_str(&format!("\ndamage: {damage}")));
    text
}
