//! No code is kept in comments: git keeps it better.

use super::Finding;
use super::repository::Repository;

/// Keywords of Rust. Two of them side by side are no English.
const KEYWORDS: &[&str] = &[
    "as", "async", "break", "const", "continue", "dyn", "else", "enum", "fn", "for", "if", "impl", "in",
    "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct", "trait",
    "type", "unsafe", "use", "where", "while",
];

/// Keywords that begin a statement which ends in a semicolon.
const STATEMENTS: &[&str] = &["break", "const", "continue", "let", "mod", "pub", "return", "static", "use"];

/// Reports comments that look like code. Documentation is skipped: its code is compiled.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.rust() {
        for (index, line) in file.comments.lines().enumerate() {
            let comment = line.trim().strip_prefix("//").filter(|text| !text.starts_with(['/', '!']));
            if comment.is_some_and(|text| is_code(text.trim())) {
                let remedy = "delete it; write its explanation as a sentence";
                findings.push(Finding::error(&file.path, index + 1, "code stands in a comment", remedy));
            }
        }
    }
    findings
}

/// A guess that prefers missing code to reporting a sentence. Sentences put names in backticks, which Rust does not have.
fn is_code(text: &str) -> bool {
    let only_brackets = text.chars().all(|c| "{}()[];,".contains(c));
    if text.contains('`') || is_prose(text) {
        return false;
    }
    let first_word = text.split_whitespace().next().unwrap_or_default();
    match text.chars().next_back() {
        Some(';') => {
            STATEMENTS.contains(&first_word) || text.contains(" = ") || is_call(text) || only_brackets
        }
        Some('{') => KEYWORDS.contains(&first_word) || text.starts_with('}') || text.contains("=>"),
        Some('}') => KEYWORDS.contains(&first_word) || only_brackets || text.contains("=>"),
        _ => only_brackets && text.starts_with('}'),
    }
}

/// Two plain words side by side, neither of them a keyword: `the writer`, but not `let writer`.
fn is_prose(text: &str) -> bool {
    let words: Vec<&str> =
        text.split_whitespace().map(|word| word.trim_end_matches([',', ';', '.', ':'])).collect();
    words.windows(2).any(|pair| pair.iter().all(|word| is_plain(word)))
}

fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphabetic() || c == '\'') && !KEYWORDS.contains(&word)
}

/// `name(…);` or `name!(…)?;` and nothing that reads like a word outside the brackets.
fn is_call(text: &str) -> bool {
    let called = text
        .split_once('(')
        .is_some_and(|(name, _)| name.ends_with(|c: char| c.is_alphanumeric() || "_!>".contains(c)));
    let complete = [");", ")?;", ".await;", ".await?;"].iter().any(|end| text.ends_with(end));
    called && complete && !text.split_whitespace().any(is_plain)
}
