//! Starting the process that faults happen to, and hearing what it says.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use super::said::Said;
use crate::model::Wrong;

/// The program that appends, `torture`.
#[derive(Debug, Clone)]
pub struct Driver(PathBuf);

/// A process of it, killed when dropped.
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// How a process ended, and what it had said.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it said, in order. A line that was cut off is not there.
    pub(super) said: Vec<Said>,
    /// How it ended.
    pub(super) status: ExitStatus,
}

impl Driver {
    /// The program in that file.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self(program.into())
    }

    /// The program that lies beside the running one.
    ///
    /// # Errors
    /// If it does not.
    pub fn beside_this_program() -> Result<Self, Wrong> {
        let own =
            std::env::current_exe().map_err(|error| format!("this program does not know itself: {error}"))?;
        let driver = own.with_file_name("torture");
        if !driver.is_file() {
            return Err(format!(
                "`{}` is missing: build it with `cargo build -p sim --bins`",
                driver.display()
            ));
        }
        Ok(Self(driver))
    }

    /// Starts it in one of its modes, on a folder.
    pub(super) fn start(&self, mode: &str, folder: &Path, counts: &[u64]) -> Result<Process, Wrong> {
        self.start_under(&[], mode, folder, counts)
    }

    /// Starts it under another program, which is given with its own arguments.
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
        // Cargo sets it: the program would begin with a look into each of its folders, and each look is a system call.
        command.env_remove("LD_LIBRARY_PATH");
        let mut child = command.spawn().map_err(|error| format!("cannot start `{}`: {error}", words[0]))?;
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Process { input: child.stdin.take(), child, output })
    }
}

impl Process {
    /// Waits for a line. `None` where the process has ended.
    pub(super) fn hear(&mut self) -> Result<Option<Said>, Wrong> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| format!("the process cannot be heard: {error}"))?;
        line.strip_suffix('\n').map(str::parse).transpose()
    }

    /// Sends it a line.
    pub(super) fn go_on(&mut self) -> Result<(), Wrong> {
        let input = self.input.as_mut().expect("it is open until the process has ended");
        writeln!(input).map_err(|error| format!("the process does not listen: {error}"))
    }

    /// Kills it, and hears what it still had to say.
    pub(super) fn kill(mut self) -> Result<Ended, Wrong> {
        self.child.kill().map_err(|error| format!("the process cannot be killed: {error}"))?;
        self.end()
    }

    /// Hears all that it has to say, until it ends by itself.
    pub(super) fn end(mut self) -> Result<Ended, Wrong> {
        drop(self.input.take());
        let mut text = String::new();
        self.output
            .read_to_string(&mut text)
            .map_err(|error| format!("the process cannot be heard: {error}"))?;
        let status =
            self.child.wait().map_err(|error| format!("the process cannot be waited for: {error}"))?;
        // What stands behind the last line feed was cut off.
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
