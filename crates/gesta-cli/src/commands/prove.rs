//! `HOST prove`: checks that the host reads all events that were ever released, by the lock, by samples, and on a log.

use std::error::Error;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Instant;

use gesta::schema::{Amount, Finding, Lock, LockFiles, Stored, prove, prove_stored, unreadable_by};
use gesta::{App, Gesta};

use super::lock::LOCK_FILE;
use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::output::{count, say};
use crate::store::StoreUrl;
use crate::target::Opened;
use crate::unread::Unread;

#[derive(clap::Args)]
pub(crate) struct ProveEvents {
    /// The file of the lock. The samples are in a folder beside it: `events.samples` for `events.lock`.
    #[arg(long, value_name = "FILE", default_value = LOCK_FILE)]
    lock: PathBuf,
    /// Also decode the events of this log, and fold 100 streams of each category. Nothing is written to it. A folder, or the address of
    /// a server.
    #[arg(long, value_name = "STORE")]
    log: Option<Unread<StoreUrl>>,
    /// Read only the first event of each type, the last, and N in between, and fold N streams of each category.
    #[arg(long, value_name = "N", requires = "log")]
    sample: Option<NonZeroU32>,
    /// The lock of the program that runs: list what this one writes and that one cannot read.
    #[arg(long, value_name = "FILE")]
    deployed: Option<PathBuf>,
}

impl ProveEvents {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        let (catalog, files) = (host.catalog()?, LockFiles::at(&self.lock));
        let proof = prove(&catalog, &files).map_err(|error| cannot_use(&error))?;
        let mut findings = proof.findings;
        let (versions, samples) = (count(proof.versions, "version"), count(proof.samples, "sample"));
        let mut lines = vec![format!("proved: {versions}, {samples}")];
        if let Some(deployed) = &self.deployed {
            let deployed = LockFiles::at(deployed).read().map_err(|error| cannot_use(&error))?;
            findings.extend(unreadable_by(&deployed, &catalog));
        }
        if let Some(url) = &self.log {
            let released = files.read().map_err(|error| cannot_use(&error))?;
            let (found, said) = self.prove_log(host, &url.read("--log")?, &released)?;
            findings.extend(found);
            lines.extend(said);
        }
        findings.iter().try_for_each(|finding| say(&finding.to_string()))?;
        match findings.iter().filter(|finding| finding.is_error()).count() {
            0 => lines.iter().try_for_each(|line| Ok(say(line)?)),
            errors => Err(Failure::new(format!("the events are not proved: {}", count(errors, "error")))),
        }
    }

    fn prove_log(&self, host: &Host, url: &StoreUrl, lock: &Lock) -> Outcome<(Vec<Finding>, Vec<String>)> {
        let (opened, none) = (Opened::of_url(url)?, App::new(""));
        let gesta = Gesta::new(std::sync::Arc::clone(opened.store()));
        let app = host.app.as_deref().unwrap_or(&none);
        let catalog = host.catalog()?;
        let stored = Stored { gesta: &gesta, app, catalog: &catalog, lock };
        let amount = self.sample.map_or(Amount::All, Amount::Sample);
        let begin = Instant::now();
        let proof = pollster::block_on(prove_stored(stored, amount)).map_err(|error| cannot_use(&error))?;
        opened.finish()?;
        let rate = u128::from(proof.events) * 1_000 / begin.elapsed().as_millis().max(1);
        let (events, streams) = (count(proof.events, "stored event"), count(proof.streams, "stream"));
        let met = count(proof.met.len(), "version");
        let mut lines =
            vec![format!("proved on the log: {events} of {met}, {streams} folded ({rate} events/s)")];
        if self.sample.is_some() {
            lines.extend(proof.unmet.iter().map(not_met));
        }
        Ok((proof.findings, lines))
    }
}

/// The line for a version that a sample did not meet.
fn not_met((event_type, version): &(String, u16)) -> String {
    format!(
        "not met: {event_type} version {version}; the sample may have missed it: `gesta inventory` tells if the log has any, and \
         `--log` without `--sample` reads all"
    )
}

/// A failure of files or stores.
pub(super) fn cannot_use(error: &dyn Error) -> Failure {
    Failure::new("the events cannot be checked").because(error)
}
