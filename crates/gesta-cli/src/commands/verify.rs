//! `gesta verify`: reads and proves every byte of a log, or of a backup.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gesta_log::{BackupReport, Report};
use gesta_server::format_time;

use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{IfInUse, LogFolder, cannot_open, check_is_backup};

#[derive(clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    log: LogFolder,
    /// The folder of a backup, to prove that instead of a log.
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
            .help("restore it from a backup with `gesta restore`; what is damaged is not served meanwhile")
            .help("to save what is whole, use `gesta export`: where it meets damage, it says how to go on behind it");
        Err(match is_unsettled {
            true => failure.help(
                "`gesta repair` says what it could put right, and changes nothing before it is told to",
            ),
            false => failure,
        })
    }
}

fn verify_backup(folder: &Path) -> Outcome {
    check_is_backup(folder)?;
    let report = gesta_log::verify_backup(folder)
        .map_err(|error| Failure::new("cannot read the backup").because(&error))?;
    let BackupReport { store, position, taken_at, segments, bytes, events, .. } = &report;
    let taken_at = format_time(*taken_at);
    say(&format!(
        "{events} events of store {store} proved themselves, in {bytes} bytes of {segments} segments"
    ))?;
    say(&format!("the backup was taken at {taken_at} and ends at position {position}"))?;
    for damage in &report.damage {
        say(&format!("damage: {damage}"))?;
    }
    if report.is_sound() {
        return Ok(());
    }
    Err(Failure::new(format!("the backup in `{}` is damaged", folder.display()))
        .help("keep it, and take another one into another folder"))
}

fn describe(report: &Report) -> String {
    let Report { segments, frames, events, streams, repeated_ids, recovery, index_files, index_errors } =
        report;
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
    if *index_files > 0 {
        line(format!("{index_files} index files were held against them"));
    }
    for error in index_errors {
        line(format!("index: {error}; delete the folder `index` while the log is closed, it is built anew"));
    }
    text
}
