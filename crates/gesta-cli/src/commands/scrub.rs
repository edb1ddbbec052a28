//! `gesta scrub`: reads sealed segments again and proves them, at a limited rate.

use std::num::NonZeroU64;

use gesta_log::{ScrubOptions, ScrubbedSegment};

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{IfInUse, LogFolder, cannot_open};

#[derive(clap::Args)]
pub(crate) struct ScrubLog {
    #[command(flatten)]
    log: LogFolder,
    /// Bytes to read a second at the most, such as 50M (or K, G); without it, as fast as it goes.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
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
        say(&format!("{} segments are not sealed yet: `gesta verify` proves those too", report.unsealed))?;
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

/// Reads a number of bytes, with the letter of its unit, if it has one.
fn bytes(text: &str) -> Result<NonZeroU64, String> {
    let (number, shift) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes
        .and_then(NonZeroU64::new)
        .ok_or_else(|| "give a number of bytes above 0, such as 500K, 50M or 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_with_a_unit() {
        let cases = [("1", 1), ("20k", 20 << 10), ("50M", 50 << 20), ("2G", 2 << 30)];
        for (text, expected) in cases {
            assert_eq!(bytes(text).map(NonZeroU64::get), Ok(expected), "{text}");
        }
        for text in ["", "0", "M", "1.5M", "-1", "99999999999G", "1é"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
