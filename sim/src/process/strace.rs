//! `strace` makes a system call fail, or kills the process at it.
//!
//! It counts calls by thread: with threads, "the third" is the third of each thread. It injects faults only into
//! calls that it traces.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::model::Wrong;

/// Calls that change the disk or write output.
pub(super) const CALLS: &[&str] = &[
    "openat",
    "mkdir",
    "flock",
    "write",
    "pwritev",
    "fallocate",
    "ftruncate",
    "fdatasync",
    "fsync",
    "rename",
    "unlink",
];

/// A run under strace with its output file.
#[derive(Debug, Clone)]
pub struct Strace {
    log: PathBuf,
}

/// One call in the output of strace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// The file of its first argument, if any: a path, or the path of a descriptor.
    pub(super) path: Option<String>,
    /// The line, starting with the name of the call.
    pub(super) line: String,
}

impl Call {
    /// True if strace injected its result.
    pub(super) fn is_injected(&self) -> bool {
        self.line.ends_with("(INJECTED)")
    }

    /// Offset and length of a write.
    pub(super) fn written(&self) -> Option<(u64, u64)> {
        let (arguments, result) = self.line.rsplit_once(" = ")?;
        let offset = arguments.trim_end().strip_suffix(')')?.rsplit(", ").next()?;
        Some((offset.parse().ok()?, result.parse().ok()?))
    }
}

impl Strace {
    /// Writes to the file `log`.
    #[must_use]
    pub fn new(log: impl Into<PathBuf>) -> Self {
        Self { log: log.into() }
    }

    /// Checks that strace is installed and may trace on this machine.
    ///
    /// # Errors
    /// The reason why it cannot be used, and a remedy.
    pub fn ready() -> Result<(), Wrong> {
        let mut probe = Command::new("strace");
        probe.args(["-qqq", "-o", "/dev/null", "-e", "trace=openat", "true"]).stderr(Stdio::null());
        match probe.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => {
                Err("`strace` may not trace here: allow `ptrace` (in a container: `--cap-add SYS_PTRACE`)"
                    .to_owned())
            }
            Err(error) => Err(format!(
                "`strace` does not start ({error}): install it, as with `apt-get install strace`"
            )),
        }
    }

    /// The arguments that run a command under strace with a fault such as `fdatasync:error=EIO:when=3`.
    pub(super) fn words(&self, fault: Option<&str>) -> Vec<String> {
        let words = ["strace", "-f", "-qqq", "-y", "-s0", "-e", "signal=none", "-o"].map(str::to_owned);
        let mut words = words.to_vec();
        words.extend([self.log.display().to_string(), "-e".to_owned(), format!("trace={}", CALLS.join(","))]);
        if let Some(fault) = fault {
            words.extend(["-e".to_owned(), format!("inject={fault}")]);
        }
        words.push("--".to_owned());
        words
    }

    /// The calls, in the order in which they returned. A call that never returned is left out.
    pub(super) fn calls(&self) -> Result<Vec<Call>, Wrong> {
        let text = std::fs::read_to_string(&self.log)
            .map_err(|error| format!("reading the output of strace: {error}"))?;
        // With threads, a call may be printed in two halves, with others in between.
        let mut begun = HashMap::new();
        let mut calls = Vec::new();
        for line in text.lines() {
            let (thread, rest) = line.split_once(' ').unwrap_or(("", line));
            let rest = rest.trim_start();
            if let Some(half) = rest.strip_suffix("<unfinished ...>") {
                begun.insert(thread, half.trim_end().to_owned());
            } else if let Some((_, half)) =
                rest.strip_prefix("<... ").and_then(|own| own.split_once(" resumed>"))
            {
                let whole = begun.remove(thread).map(|begin| begin + half);
                calls.extend(whole.and_then(|line| parse(&line)));
            } else {
                calls.extend(parse(rest));
            }
        }
        Ok(calls)
    }

    /// The number of calls of each kind that changed something below the folder or wrote to a pipe.
    pub(super) fn counts(&self) -> Result<BTreeMap<String, u64>, Wrong> {
        let mut counts = BTreeMap::new();
        for call in self.calls()? {
            *counts.entry(call.name).or_default() += 1;
        }
        Ok(counts)
    }
}

/// Parses a line such as `fdatasync(3</tmp/x>) = 0`.
fn parse(line: &str) -> Option<Call> {
    let (name, arguments) = line.split_once('(')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(is_name) {
        return None;
    }
    let first = if name == "openat" {
        arguments.split_once(", ").map_or(arguments, |(_, rest)| rest)
    } else {
        arguments
    };
    let path = match first.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map(|(path, _)| path),
        None => first.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path),
    };
    Some(Call { name: name.to_owned(), path: path.map(str::to_owned), line: line.to_owned() })
}

/// Copies a folder with everything below it.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), Wrong> {
    let failed = |error: std::io::Error| format!("copying `{}`: {error}", from.display());
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            std::fs::copy(&from, &to).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_strace_are_parsed() {
        let cases = [
            ("fdatasync(3</tmp/a>) = -1 EIO (Input/output error) (INJECTED)", "fdatasync", true),
            ("rename(\"/tmp/a\", \"/tmp/b\") = 0", "rename", false),
            ("openat(AT_FDCWD</x>, \"/tmp/a\", O_RDONLY) = 3</tmp/a>", "openat", false),
        ];
        for (line, name, injected) in cases {
            let call = parse(line).unwrap();
            let understood = (&call.name[..], call.path.as_deref(), call.is_injected());
            assert_eq!(understood, (name, Some("/tmp/a"), injected));
        }
        assert_eq!(parse("+++ killed by SIGKILL +++"), None);
        let call = parse("pwritev(5</tmp/a>, [{iov_base=\"\"..., iov_len=8}], 1, 4096) = 8").unwrap();
        assert_eq!(call.written(), Some((4096, 8)));
    }

    #[test]
    fn the_two_halves_of_a_call_are_joined() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let lines = [
            "7  fdatasync(3</tmp/a> <unfinished ...>",
            "8  fsync(4</tmp/b>)  = 0",
            "7  <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)",
            "8  fsync(4</tmp/b> <unfinished ...>",
        ];
        std::fs::write(&log, lines.join("\n")).unwrap();
        let calls = Strace::new(log).calls().unwrap();
        let paths = calls.iter().map(|call| (call.path.as_deref(), call.is_injected()));
        assert_eq!(paths.collect::<Vec<_>>(), [(Some("/tmp/b"), false), (Some("/tmp/a"), true)]);
    }
}
