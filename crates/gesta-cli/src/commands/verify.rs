//! `gesta verify`: reads and proves every byte of a log.

use std::fmt::Write as _;
use std::path::PathBuf;

use gesta_log::Report;

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{Place, Target, cannot_open, check_is_log};

#[derive(clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    target: Target,
}

impl Verify {
    pub(crate) fn run(self) -> Outcome {
        let folder: PathBuf = match self.target.place()? {
            Place::Folder(folder) => folder,
            Place::Server(_) => {
                return Err(
                    Failure::usage("a log is verified where its files are").help("give `--dir <folder>`")
                );
            }
        };
        check_is_log(&folder)?;
        let report = gesta_log::verify(&folder).map_err(|error| cannot_open(&folder, &error))?;
        say(&describe(&report))?;
        if report.is_sound() {
            return Ok(());
        }
        Err(Failure::new(format!("the log in `{}` is damaged", folder.display()))
            .help("restore what is damaged from a backup; nothing of it is served meanwhile"))
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
