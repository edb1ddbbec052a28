//! Faults on the real file system: what they need is installed, or it is said what is missing.

use std::path::Path;

use crate::{Failure, shell};

/// Programs that faults are made with, and the Debian package that each comes in.
type Programs = &'static [(&'static str, &'static str)];

/// For every part.
const TRACING: Programs = &[("strace", "strace"), ("prlimit", "util-linux")];
/// For those that mount file systems.
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
/// For the one that records a disk. The daemon has changed its package.
const RECORDING: Programs = &[
    ("setpriv", "util-linux"),
    ("qemu-storage-daemon", "qemu-utils"),
    ("qemu-storage-daemon", "qemu-system-common"),
];
/// What each part needs besides the first.
const PARTS: &[(&str, &[Programs])] = &[
    ("all", &[MOUNTING, RECORDING]),
    ("full-disk", &[MOUNTING]),
    ("written-back", &[MOUNTING]),
    ("power", &[MOUNTING]),
    ("power-blocks", &[MOUNTING, RECORDING]),
];

/// Kills processes; the arguments are those of the program.
pub(crate) fn torture(arguments: &[&str]) -> Result<(), Failure> {
    run(&[&["torture"], arguments].concat())
}

/// Makes everything fail that a machine can make fail, or the parts that are named, or one with its options.
pub(crate) fn faults(arguments: &[&str]) -> Result<(), Failure> {
    let arguments = if arguments.is_empty() { &["all"] } else { arguments };
    let named = PARTS.iter().filter(|(part, _)| arguments.contains(part));
    for programs in [TRACING].into_iter().chain(named.flat_map(|(_, programs)| *programs).copied()) {
        for (program, package) in programs {
            if !is_on_path(program) {
                install(package).map_err(|failure| format!("`{program}` is missing: {failure}"))?;
            }
        }
    }
    if arguments.iter().any(|argument| argument.starts_with("--")) {
        return run(arguments);
    }
    arguments.iter().try_for_each(|part| run(&[part]))
}

/// Installs a package of the system.
pub(crate) fn install(package: &str) -> Result<(), Failure> {
    println!("\n=== `{package}` is missing; trying `apt-get install`");
    let command =
        format!("DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {package}");
    shell::output_of(&command)
        .or_else(|_| shell::output_of("apt-get update").and_then(|_| shell::output_of(&command)))
        .map(drop)
        .map_err(|failure| format!("{failure}; install it in your system's way"))
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').any(|folder| Path::new(folder).join(program).is_file())
}

/// Builds the program and the process that it kills, and runs it.
fn run(arguments: &[&str]) -> Result<(), Failure> {
    let build = "cargo build --quiet --release --package sim --bins";
    let command =
        format!("cargo run --quiet --release --package sim --bin faults -- {}", arguments.join(" "));
    for command in [build, &command] {
        match shell::command(command).status() {
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
