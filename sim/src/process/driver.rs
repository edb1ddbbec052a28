//! Starts the process for fault injection and reads its output.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use super::said::Said;
use crate::model::Wrong;

/// The program `torture`, which appends.
#[derive(Debug, Clone)]
pub struct Driver(PathBuf);

/// A process of that program; it is killed when dropped.
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The exit status and the output of a process.
#[derive(Debug)]
pub(super) struct Ended {
    /// The lines that it printed, in order, without a line that was cut off.
    pub(super) said: Vec<Said>,
    /// The exit status.
    pub(super) status: ExitStatus,
}

impl Driver {
    /// The program at this path.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self(program.into())
    }

    /// The program in the folder of the running one.
    ///
    /// # Errors
    /// If it is not there.
    pub fn beside_this_program() -> Result<Self, Wrong> {
        let own = std::env::current_exe()
            .map_err(|error| format!("cannot find the path of this program: {error}"))?;
        let driver = own.with_file_name("torture");
        if !driver.is_file() {
            return Err(format!(
                "`{}` is missing: build it with `cargo build -p sim --bins`",
                driver.display()
            ));
        }
        Ok(Self(driver))
    }

    /// Starts it in one of its modes on a folder.
    pub(super) fn start(&self, mode: &str, folder: &Path, counts: &[u64]) -> Result<Process, Wrong> {
        self.start_under(&[], mode, folder, counts)
    }

    /// Starts it as an argument of another program.
    pub(super) fn start_under(
        &self,
        under: &[String],
        mode: &str,
        folder: &Path,
        counts: &[u64],
    ) -> Result<Process, Wrong> {
        let program = self.0.display().to_string();
        let words = under.iter().cloned().chain([program, mode.to_owned(), folder.display().to_string()]);
        let words = words.chain(counts.iter().map(u64::to_string)).collect::<Vec<_>>();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Cargo sets this variable. With it the loader searches each of its folders, with one system call for each.
        command.env_remove("LD_LIBRARY_PATH");
        let mut child = command.spawn().map_err(|error| format!("cannot start `{}`: {error}", words[0]))?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Process { input: child.stdin.take(), child, output })
    }
}

impl Process {
    /// Waits for a line. Returns `None` if the process has ended.
    pub(super) fn hear(&mut self) -> Result<Option<Said>, Wrong> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .map_err(|error| format!("cannot read the output of the process: {error}"))?;
        line.strip_suffix('\n').map(str::parse).transpose()
    }

    /// Sends it a line.
    pub(super) fn go_on(&mut self) -> Result<(), Wrong> {
        let input = self.input.as_mut().expect("it is open until the process has ended");
        writeln!(input).map_err(|error| format!("cannot write to the process: {error}"))
    }

    /// Kills it and reads the rest of its output.
    pub(super) fn kill(mut self) -> Result<Ended, Wrong> {
        self.child.kill().map_err(|error| format!("cannot kill the process: {error}"))?;
        self.end()
    }

    /// Reads its output until it exits.
    pub(super) fn end(mut self) -> Result<Ended, Wrong> {
        drop(self.input.take());
        let mut text = String::new();
        self.output
            .read_to_string(&mut text)
            .map_err(|error| format!("cannot read the output of the process: {error}"))?;
        let status = self.child.wait().map_err(|error| format!("cannot wait for the process: {error}"))?;
        // Text after the last line feed was cut off.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let said = whole.lines().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Ended { said, status })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
