//! Rules about single lines of Rust.

use std::ops::Range;

use super::Finding;
use super::repository::{File, Repository};
use super::scan::{bracketed, line_at, words};

/// Every Rust file begins with its purpose.
pub(super) fn first_line(repository: &Repository) -> Vec<Finding> {
    let silent = repository.rust().filter(|file| !file.first_line().starts_with("//! "));
    silent
        .map(|file| {
            let remedy = "state the purpose of the file in one sentence, on its first line, after `//!`";
            Finding::error(&file.path, 1, "the file does not state its purpose", remedy)
        })
        .collect()
}

/// No leftovers of work in progress.
pub(super) fn leftovers(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut look_for = |file: &File, text: &str, leftover: &str, remedy| {
        findings.extend(words(text, leftover).map(|at| {
            Finding::error(&file.path, line_at(text, at), format!("`{leftover}` is left behind"), remedy)
        }));
    };
    for file in repository.rust() {
        look_for(file, &file.code, "dbg!", "remove it");
        for unfinished in ["todo!", "unimplemented!"] {
            look_for(file, &file.code, unfinished, "finish the code, or return an error with the reason");
        }
        for note in ["FIXME", "XXX"] {
            look_for(file, &file.comments, note, "repair it, or give the reason in a sentence");
        }
    }
    findings
}

/// `matches!(…);` as a statement looks like a check and is none.
pub(super) fn bare_matches(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.rust() {
        for at in words(&file.code, "matches!") {
            let (before, after) = file.code.split_at(at);
            let begins = before.trim_end().is_empty() || before.trim_end().ends_with([';', '{', '}']);
            let ends = bracketed(after).is_some_and(|call| after[call.end..].trim_start().starts_with(';'));
            if begins && ends {
                let line = line_at(&file.code, at);
                let message = "the result of `matches!` is thrown away";
                findings.push(Finding::error(&file.path, line, message, "write `assert!(matches!(…))`"));
            }
        }
    }
    findings
}

/// Tests wait for events, not for time. A sleep is too short on a slow machine and too long on others.
pub(super) fn sleeping_test(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.rust() {
        for sleep in ["thread::sleep", "time::sleep"] {
            let calls = words(&file.code, sleep).filter(|&at| is_test(file, at));
            findings.extend(calls.map(|at| {
                let remedy = "wait for what must happen: a channel, a notification, a condition variable";
                let line = line_at(&file.code, at);
                Finding::error(&file.path, line, format!("a test calls `{sleep}`"), remedy)
            }));
        }
    }
    findings
}

/// Whether the code at `offset` is for tests only: its file is in `tests` or states laws for every store, or it is in a module marked
/// `#[cfg(test)]`.
fn is_test(file: &File, offset: usize) -> bool {
    let in_test_file =
        file.path.split('/').any(|part| ["tests", "tests.rs", "gesta-conformance"].contains(&part));
    in_test_file || test_modules(&file.code).any(|module| module.contains(&offset))
}

/// The ranges of the test modules in masked code.
pub(super) fn test_modules(code: &str) -> impl Iterator<Item = Range<usize>> {
    code.match_indices("#[cfg(test)]").filter_map(|(at, _)| {
        let start = at + code[at..].find(['{', ';'])?;
        // A semicolon comes first where the module lies in another file.
        let body = code[start..].starts_with('{').then(|| bracketed(&code[start..]))??;
        Some(at..start + body.end)
    })
}
