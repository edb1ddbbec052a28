//! Stores on a cluster of NATS JetStream, for commands that read one, and why one cannot be opened.

use std::path::Path;

use gesta_core::{Retry, with_causes};
use gesta_jetstream::{Halt, JetStreamStore, JetStreamUrl, OpenError, Options, RepairError, Stopped};

use crate::failure::{Failure, Outcome};

/// Opens a store that must be there, with the copy in the folder that its address names.
pub(crate) fn open_existing(url: &JetStreamUrl) -> Outcome<JetStreamStore> {
    let copy = copy_of(url)?;
    let options = Options { only_existing: true, ..Options::default() };
    JetStreamStore::open(url, copy, &options).map_err(|error| cannot_open(url, copy, &error))
}

/// The folder of the copy, which the address must name.
pub(crate) fn copy_of(url: &JetStreamUrl) -> Outcome<&Path> {
    url.copy().ok_or_else(|| no_copy(&url.to_string()))
}

/// The failure for an address without a folder for the copy.
pub(crate) fn no_copy(url: &str) -> Failure {
    Failure::usage(format!("the store `{url}` needs a folder for the copy of this process"))
        .help(format!("add it to the address: `{url}?copy=FOLDER`; no two processes may share it"))
        .help("the copy is read from the cluster, and kept for the next time")
}

/// The failure for a cluster that cannot be used as a store. `url` has no password.
pub(crate) fn cannot_open(url: impl std::fmt::Display, copy: &Path, error: &OpenError) -> Failure {
    let failure = Failure::new(format!("cannot open the store `{url}`"));
    match error {
        OpenError::Copy(gesta_log::OpenError::Locked { holder, .. }) => {
            Failure::new(format!("the copy in `{}` is in use by {holder}", copy.display())).help(
                "each process needs a folder of its own: give another one with `copy=FOLDER` in the address",
            )
        }
        OpenError::Copy(error @ gesta_log::OpenError::OtherStore { .. }) => failure
            .because(error)
            .help(format!("keep `{}`: it may be all that is left of that store", copy.display()))
            .help("check the name of the store, or give another folder with `copy=FOLDER` in the address"),
        OpenError::Copy(error) => failure.because(error).help(format!(
            "the copy can be read again: move `{}` away, and run the command again",
            copy.display()
        )),
        OpenError::Unreachable { .. } => {
            failure.because(error).help("check the address; two of three servers must run")
        }
        OpenError::Lost { halt, .. } => {
            let failure = failure.because(error).help(keep(copy));
            let failure = failure.help(format!("{} shows them", repair(&url, copy)));
            match halt {
                Halt::Damaged { .. } | Halt::Broken(_) => failure.help(foreign(copy)),
                _ => failure,
            }
        }
        error => failure.because(error),
    }
}

/// Why an open store takes no more writes, and what helps. `url` has no password.
pub(crate) fn stopped_with_help(stopped: &Stopped, url: &str, copy: &Path) -> String {
    match stopped {
        Stopped::Lost { .. } => {
            let (why, keep, repair) = (with_causes(stopped), keep(copy), repair(url, copy));
            format!("{why}; {keep}; stop the server, and {repair} shows them")
        }
        stopped => format!(
            "{stopped}; check the folder `{}` and its disk, then start the server again",
            copy.display()
        ),
    }
}

fn keep(copy: &Path) -> String {
    format!("keep `{}`: it may hold the only copy of lost events", copy.display())
}

/// The help for a store to which another program has published.
fn foreign(copy: &Path) -> String {
    format!(
        "if another program has published to the subjects of the store, nothing is lost: `gesta copy --from {}` makes a store of another name without those messages",
        copy.join("p0").display()
    )
}

fn repair(url: impl std::fmt::Display, copy: &Path) -> String {
    format!("`gesta jetstream repair --store '{url}?copy={}'`", copy.display())
}

/// The failure for a repair that cannot go on.
pub(crate) fn cannot_repair(url: &JetStreamUrl, copy: &Path, error: &RepairError) -> Failure {
    match error {
        RepairError::Open(error) => cannot_open(url, copy, error),
        error => {
            let failure = Failure::new(format!("cannot repair the store `{url}`")).because(error);
            match error.retry() {
                Retry::Never if matches!(error, RepairError::Damaged { .. } | RepairError::Broken { .. }) => {
                    failure.help(foreign(copy))
                }
                Retry::Never => failure,
                _ => failure.help("what was published stays; run the same command again, it goes on"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_stopped_names_the_cause_and_what_helps() {
        let said = |stopped| stopped_with_help(&stopped, "nats://a/shop", Path::new("data/copy"));
        let lost = said(Stopped::Lost { partition: 2, halt: Halt::Behind { last: 3, copy: 5 } });
        for part in [
            "partition 2 takes no more writes: the cluster has lost messages: its stream ends at message 3",
            "keep `data/copy`",
            "`gesta jetstream repair --store 'nats://a/shop?copy=data/copy'` shows them",
        ] {
            assert!(lost.contains(part), "{lost}");
        }
        let moved = said(Stopped::Copy { partition: 0, reason: "the folder was moved".to_owned() });
        assert!(moved.contains("the folder was moved; check the folder `data/copy`"), "{moved}");
    }
}
