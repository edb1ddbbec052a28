//! `gesta verify`: checks every byte of a log or of a backup.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gesta_log::{BackupReport, Report};
use gesta_wire::format_time;

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::target::{IfInUse, LogFolder, cannot_open, check_is_backup};

#[derive(clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    log: LogFolder,
    /// Check this backup instead of a log.
    #[arg(long, value_name = "FOLDER", conflicts_with = "dir")]
    backup: Option<PathBuf>,
}

impl Verify {
    pub(crate) fn run(self) -> Outcome {
        if let Some(backup) = self.backup {
            return verify_backup(&backup);
        }
        let folder = &self.log.existing()?;
        let report = gesta_log::verify(folder).map_err(|error| cannot_open(folder, &error, IfInUse::Stop))?;
        say(&describe(&report))?;
        if report.is_sound() {
            return Ok(());
        }
        let is_unsettled = report.recovery.damage.is_empty() && report.recovery.read_only.is_some();
        let failure = Failure::new(format!("the log in `{}` is damaged", folder.display()))
            .help("restore the log from a backup with `gesta restore`; damaged events are not served")
            .help("to save the undamaged events, use `gesta export`: at damage, it says how to continue after it");
        Err(match is_unsettled {
            true => {
                failure.help("`gesta repair` shows what can be repaired, and changes nothing without a flag")
            }
            false => failure,
        })
    }
}

fn verify_backup(folder: &Path) -> Outcome {
    check_is_backup(folder)?;
    let report = gesta_log::verify_backup(folder).map_err(|error| {
        Failure::new(format!("cannot read the backup in `{}`", folder.display())).because(&error)
    })?;
    let BackupReport { store, position, taken_at, segments, bytes, events, .. } = &report;
    let taken_at = format_time(*taken_at);
    say(&format!(
        "checked {} of store {store}: {bytes} bytes in {}",
        count(*events, "event"),
        count(*segments, "segment")
    ))?;
    say(&format!("the backup was taken at {taken_at} and ends at position {position}"))?;
    for damage in &report.damage {
        say(&format!("damage: {damage}"))?;
    }
    for flaw in &report.flaws {
        say(&format!("flaw: {flaw}"))?;
    }
    let state = folder.join(gesta_state::FILE_NAME);
    let values = state.exists().then(|| gesta_state::verify(&state)).transpose();
    match &values {
        Ok(None) => {}
        Ok(Some(values)) => say(&format!("checked {} of its server", count(*values, "value")))?,
        Err(error) => say(&format!("damage: {error}"))?,
    }
    if report.is_sound() && values.is_ok() {
        return Ok(());
    }
    Err(Failure::new(format!("the backup in `{}` is damaged", folder.display()))
        .help("keep it, and take a new backup into another folder"))
}

fn describe(report: &Report) -> String {
    let Report { segments, frames, events, streams, repeated_ids, recovery, index_files, index_errors } =
        report;
    let mut text = format!(
        "checked {} of {}: {} in {}",
        count(*events, "event"),
        count(*streams, "stream"),
        count(*frames, "frame"),
        count(*segments, "segment")
    );
    let mut line = |what: String| write!(text, "\n{what}").expect("a string can be written to");
    recovery.damage.iter().for_each(|damage| line(format!("damage: {damage}")));
    recovery.flaws.iter().for_each(|flaw| line(format!("flaw: {flaw}")));
    recovery.read_only.iter().for_each(|reason| line(format!("read-only: {reason}")));
    if *repeated_ids > 0 {
        line(format!("{} used twice in one stream", count(*repeated_ids, "event id")));
    }
    if *index_files > 0 {
        line(format!("compared {} with the events", count(*index_files, "index file")));
    }
    for error in index_errors {
        line(format!(
            "index: {error}; delete the folder `index` while the log is closed: it will be rebuilt"
        ));
    }
    text
}
