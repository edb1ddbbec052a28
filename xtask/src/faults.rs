//! Faults on the real file system. Programs that they need are installed, or named in the error.

use std::path::Path;

use crate::{Failure, install, shell, sim};

/// Programs that make faults, each with its Debian package.
type Programs = &'static [(&'static str, &'static str)];

/// Every part needs these.
const TRACING: Programs = &[("strace", "strace"), ("prlimit", "util-linux")];
/// Parts that mount file systems need these.
const MOUNTING: Programs = &[
    ("fallocate", "util-linux"),
    ("unshare", "util-linux"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
    ("filefrag", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("perl", "perl-base"),
];
/// The part that records a disk needs these. The daemon's package depends on the release of Debian.
const RECORDING: Programs = &[
    ("setpriv", "util-linux"),
    ("qemu-storage-daemon", "qemu-utils"),
    ("qemu-storage-daemon", "qemu-system-common"),
];
/// What a part needs besides [`TRACING`].
const PARTS: &[(&str, &[Programs])] = &[
    ("all", &[MOUNTING, RECORDING]),
    ("full-disk", &[MOUNTING]),
    ("written-back", &[MOUNTING]),
    ("power", &[MOUNTING]),
    ("power-blocks", &[MOUNTING, RECORDING]),
];

/// Kills processes. The arguments go to the program.
pub(crate) fn torture(arguments: &[&str]) -> Result<(), Failure> {
    run(&[&["torture"], arguments].concat())
}

/// Runs every part, the parts that are named, or one part with its options.
pub(crate) fn faults(arguments: &[&str]) -> Result<(), Failure> {
    let arguments = if arguments.is_empty() { &["all"] } else { arguments };
    let named = PARTS.iter().filter(|(part, _)| arguments.contains(part));
    for programs in [TRACING].into_iter().chain(named.flat_map(|(_, programs)| *programs).copied()) {
        for (program, package) in programs {
            if !is_on_path(program) {
                install::run(&install::package(package))
                    .map_err(|failure| format!("`{program}` is missing: {failure}"))?;
            }
        }
    }
    if arguments.iter().any(|argument| argument.starts_with("--")) {
        return run(arguments);
    }
    arguments.iter().try_for_each(|part| run(&[part]))
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').any(|folder| Path::new(folder).join(program).is_file())
}

/// Builds the program and the process that it kills, and runs it.
fn run(arguments: &[&str]) -> Result<(), Failure> {
    let build = format!("cargo build --quiet {} --bins", sim::BUILD);
    let command = format!("cargo run --quiet {} --bin faults -- {}", sim::BUILD, arguments.join(" "));
    for command in [build, command] {
        match shell::command(&command).status() {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("`{command}` failed ({status})")),
            Err(error) => return Err(format!("cannot start `{command}`: {error}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_or_not() {
        assert!(is_on_path("cargo"));
        assert!(!is_on_path("no-such-program"));
    }
}
