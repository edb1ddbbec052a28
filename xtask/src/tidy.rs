//! The rules of the house that no compiler checks, and the command that applies them.
//!
//! A rule is a pure function from the [`Repository`] to its findings. A new one is a function, a line
//! in [`RULES`], and a sample it rejects beside one it accepts in `samples.rs`.

mod commented_code;
mod crates;
mod functions;
mod layers;
mod links;
mod machine_paths;
mod mask;
mod published;
mod repository;
#[cfg(test)]
mod samples;
mod scan;
mod source;
mod storeys;
mod wording;

use std::fmt;

use crate::Failure;
use repository::Repository;

type Rule = fn(&Repository) -> Vec<Finding>;

/// Every rule, under the name its findings carry.
const RULES: &[(&str, Rule)] = &[
    ("first-line", source::first_line),
    ("leftovers", source::leftovers),
    ("bare-matches", source::bare_matches),
    ("sleeping-test", source::sleeping_test),
    ("commented-code", commented_code::check),
    ("long-function", functions::check),
    ("layers", layers::check),
    ("storeys", storeys::check),
    ("on-the-map", layers::on_the_map),
    ("published", published::check),
    ("machine-path", machine_paths::check),
    ("dead-link", links::check),
    ("wording", wording::check),
];

/// A rule's finding on one line.
#[derive(Debug)]
struct Finding {
    severity: Severity,
    path: String,
    line: usize,
    message: String,
    remedy: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

impl Finding {
    fn error(path: &str, line: usize, message: impl Into<String>, remedy: &'static str) -> Self {
        Self { severity: Severity::Error, path: path.to_owned(), line, message: message.into(), remedy }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    remedy: {}", self.path, self.line, self.message, self.remedy)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Applies every rule to the repository and prints the findings. Fails on errors, not on warnings.
pub(crate) fn run() -> Result<(), Failure> {
    let repository = Repository::read()?;
    let mut errors = 0;
    for (name, rule) in RULES {
        for finding in rule(&repository) {
            println!("{}[{name}]: {finding}", finding.severity);
            errors += usize::from(finding.severity == Severity::Error);
        }
    }
    match errors {
        0 => Ok(()),
        1 => Err("tidy found one error".to_owned()),
        _ => Err(format!("tidy found {errors} errors")),
    }
}
