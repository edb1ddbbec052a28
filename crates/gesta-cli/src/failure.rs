//! Failures of commands: a message, its causes, and help.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use gesta_core::ReadError;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    causes: Vec<String>,
    help: Vec<String>,
    usage: bool,
    /// The reader of the output is gone, so there is nobody to tell.
    silent: bool,
}

/// The result of a command.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with that message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), help: Vec::new(), usage: false, silent: false }
    }

    /// A mistake in the use of the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(message) }
    }

    /// Adds an error and its sources as causes.
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds a line of help.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The same failure under a new message. The old message becomes the first cause.
    pub(crate) fn under(mut self, message: impl Into<String>) -> Self {
        self.causes.insert(0, std::mem::replace(&mut self.message, message.into()));
        self
    }

    /// Adds one cause.
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// A failed read of the log, for commands with `--from`.
    pub(crate) fn of_read(error: ReadError) -> Self {
        let resume = match &error {
            ReadError::DataLoss { resume, .. } => Some(resume.clone()),
            _ => None,
        };
        let failure = Self::from(error);
        match resume {
            Some(resume) => failure.help(format!("to continue after the damage, add `--from {resume}`")),
            None => failure,
        }
    }

    /// The same failure, reported also if the reader of the output is gone: what it has read is not whole.
    pub(crate) fn of_whole_output(mut self) -> Self {
        self.silent = false;
        self
    }

    /// Prints the failure and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if self.silent {
            return ExitCode::SUCCESS;
        }
        let mut text = format!("error: {}\n", self.message);
        for cause in &self.causes {
            text.push_str(&format!("  because: {cause}\n"));
        }
        for help in &self.help {
            text.push_str(&format!("  help: {help}\n"));
        }
        // If the error output is closed, nobody can be told.
        let _ = io::stderr().write_all(text.as_bytes());
        ExitCode::from(if self.usage { 2 } else { 1 })
    }
}

/// A failed write to the standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let silent = error.kind() == io::ErrorKind::BrokenPipe;
        Self { silent, ..Self::new("cannot write the output").because(&error) }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::new("cannot read the log").because(&error)
    }
}

impl From<gesta_core::AppendError> for Failure {
    fn from(error: gesta_core::AppendError) -> Self {
        Self::new("cannot append").because(&error)
    }
}

impl From<gesta_core::NameError> for Failure {
    fn from(error: gesta_core::NameError) -> Self {
        Self::usage(error.to_string())
    }
}
