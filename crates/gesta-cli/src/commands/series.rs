//! The flags of commands that show something at many moments.

use std::fmt::Write as _;

use gesta::past::{By, Cuts};
use gesta_core::Timestamp;
use gesta_wire::format_time;

use super::append::parse_when;
use crate::failure::{Failure, Outcome};
use crate::target::encode;

/// The flags of a series.
#[derive(Default, clap::Args)]
pub(crate) struct SeriesFlags {
    /// At the end of each `hour`, `day`, `week`, `month` or `year`, or after each run of a number of events.
    #[arg(long, value_name = "STEP")]
    pub(crate) every: Option<String>,
    /// The time zone of the calendar, such as `Europe/Prague`. The default is `UTC`.
    #[arg(long, value_name = "ZONE", requires = "every")]
    zone: Option<String>,
    /// Count when events happened, not when they were recorded.
    #[arg(long, requires = "every")]
    by_time: bool,
    /// Leave out moments before this time, in RFC 3339.
    #[arg(long, value_name = "TIME", requires = "every", value_parser = parse_when)]
    from: Option<Timestamp>,
    /// Leave out moments after this time, in RFC 3339.
    #[arg(long, value_name = "TIME", requires = "every", value_parser = parse_when)]
    to: Option<Timestamp>,
    /// End with the last moment that has passed, and close it: later events get a later time, so the answer never changes.
    #[arg(long, requires = "every", conflicts_with = "by_time")]
    closed: bool,
}

impl SeriesFlags {
    /// The cuts that they name.
    pub(crate) fn cuts(&self, every: &str) -> Outcome<Cuts> {
        let cuts = Cuts::parse(every, self.zone.as_deref());
        let cuts = cuts.map_err(|error| Failure::usage(error.to_string()))?;
        let cuts = if self.by_time { cuts.by(By::Time) } else { cuts };
        let cuts = self.from.into_iter().fold(cuts, Cuts::from);
        let cuts = self.to.into_iter().fold(cuts, Cuts::to);
        let cuts = if self.closed { cuts.closed() } else { cuts };
        cuts.check().map_err(Failure::usage)?;
        Ok(cuts)
    }

    /// The same, as query parameters of a URL.
    pub(crate) fn params(&self, every: &str) -> String {
        let mut params = format!("?every={}", encode(every));
        if let Some(zone) = &self.zone {
            write!(params, "&zone={}", encode(zone)).expect("a string can be written to");
        }
        if self.by_time {
            params.push_str("&by=time");
        }
        if self.closed {
            params.push_str("&closed=true");
        }
        for (name, time) in [("from", self.from), ("to", self.to)] {
            if let Some(time) = time {
                write!(params, "&{name}={}", encode(&format_time(time))).expect("a string can be written to");
            }
        }
        params
    }
}
