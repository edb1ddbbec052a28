//! Functions stay short enough to be read at once.

use super::repository::Repository;
use super::scan::{bracketed, line_at, words};
use super::{Finding, Severity};

/// A function with more lines of code than this is reported; with more than [`LINES_MAX`] it fails. Blank lines, comment lines and lines
/// inside a literal do not count.
const LINES_ADVISED: usize = 70;
const LINES_MAX: usize = 100;

/// Reports functions that are too long.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.rust() {
        for at in words(&file.code, "fn") {
            let Some((name, lines)) = function(&file.code[at..]) else { continue };
            let severity = match lines {
                ..=LINES_ADVISED => continue,
                _ if lines <= LINES_MAX => Severity::Warning,
                _ => Severity::Error,
            };
            let message = format!("`{name}` has {lines} lines of code, more than {LINES_ADVISED}");
            let remedy = "split it: pure decisions in separate functions, effects at the rim";
            let line = line_at(&file.code, at);
            findings.push(Finding { severity, ..Finding::error(&file.path, line, message, remedy) });
        }
    }
    findings
}

/// The name of the function that begins here and its lines of code; `None` for a function without a
/// body, or a type such as `fn(u8)`.
fn function(code: &str) -> Option<(&str, usize)> {
    let signature = code.strip_prefix("fn")?.trim_start();
    let name_end = signature.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let name = Some(&signature[..name_end]).filter(|name| !name.is_empty())?;

    let end = body_end(code)?;
    Some((name, code[..end].lines().filter(|line| !line.trim().is_empty()).count()))
}

/// Where the body ends: at the partner of the first brace that stands outside all other brackets.
fn body_end(code: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += code[at..].find(['(', '[', '{', ';'])?;
        if code[at..].starts_with(';') {
            return None;
        }
        let brackets = bracketed(&code[at..])?;
        if code[at..].starts_with('{') {
            return Some(at + brackets.end);
        }
        at += brackets.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_measured_in_lines_of_code() {
        let cases = [
            ("fn a() {}", Some(("a", 1))),
            ("fn a<T>(x: [u8; 4])\nwhere\n    T: B,\n{\n\n    c\n}\nfn b() {}", Some(("a", 6))),
            ("fn a(x: u8);\nfn b() {}", None),
            ("fn(u8) -> u8 {}", None),
        ];
        for (code, expected) in cases {
            assert_eq!(function(code), expected, "{code}");
        }
    }
}
