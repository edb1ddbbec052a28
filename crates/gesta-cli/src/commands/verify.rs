//! `gesta verify`: reads and proves every byte of a log.

use std::fmt::Write as _;
use std::path::PathBuf;

use gesta_log::Report;

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{IfInUse, cannot_open, check_is_log};

#[derive(clap::Args)]
pub(crate) struct Verify {
    /// The folder of the log, which no server may have open.
    #[arg(long, value_name = "FOLDER", env = "GESTA_DIR")]
    dir: PathBuf,
}

impl Verify {
    pub(crate) fn run(self) -> Outcome {
        let folder = self.dir;
        check_is_log(&folder)?;
        let report =
            gesta_log::verify(&folder).map_err(|error| cannot_open(&folder, &error, IfInUse::Stop))?;
        say(&describe(&report))?;
        if report.is_sound() {
            return Ok(());
        }
        Err(Failure::new(format!("the log in `{}` is damaged", folder.display()))
            .help("restore what is damaged from a backup; nothing of it is served meanwhile")
            .help("to save what is whole, use `gesta export`: where it meets damage, it says how to go on behind it"))
    }
}

fn describe(report: &Report) -> String {
    let Report { segments, frames, events, streams, repeated_ids, recovery } = report;
    let mut text = format!(
        "{events} events of {streams} streams proved themselves, in {frames} frames of {segments} segments"
    );
    let mut line = |what: String| write!(text, "\n{what}").expect("a text can be written to");
    recovery.damage.iter().for_each(|damage| line(format!("damage: {damage}")));
    recovery.flaws.iter().for_each(|flaw| line(format!("flaw: {flaw}")));
    recovery.read_only.iter().for_each(|reason| line(format!("read-only: {reason}")));
    if *repeated_ids > 0 {
        line(format!("{repeated_ids} event ids stand twice in one stream"));
    }
    text
}
