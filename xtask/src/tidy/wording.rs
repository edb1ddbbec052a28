//! Plain English: phrases that make a reader solve a sentence, each with what to write in its place.
//!
//! The rule looks at every text that people read: comments, documentation, messages, names of tests, pages, manifests and scripts.

use super::Finding;
use super::repository::{File, Repository};
use super::scan::{line_at, words};

/// Phrases, in lower case, and their remedies.
const PHRASES: &[(&str, &str)] = &[
    ("so many", "give the number or its name: `n` runs, the first eight segments, `--seconds N`"),
    ("whoever", "name who it is: the caller, the reader, the operator, a client"),
    ("whatever it", "name the thing: all other commands, any event"),
    ("of which", "make two sentences, or use `whose`, `where` or a list"),
    ("of what", "use the noun: of the data, of the request, of the changes"),
    ("proves itself", "say what is checked: the checksum is right, the frame is valid"),
    ("prove themselves", "say what is checked: the checksums are right, the frames are valid"),
    ("is no reason", "say what happens: does not stop, does not fail"),
    ("nobody's", "say what it is: unused, unowned, without a caller"),
    ("it is not said", "name what is missing: no log or server given"),
];

/// Beginnings of comment lines and of lines of pages.
const OPENINGS: &[&str] = &["Whether of", "What of", "Of"];
const OPENING_REMEDY: &str = "begin with the subject: `The last group has …`, `Usable runs among …`";

/// The file that must name the phrases.
const THIS_FILE: &str = "xtask/src/tidy/wording.rs";

/// Reports every phrase.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    repository.files.iter().filter(|file| is_read(file)).flat_map(findings).collect()
}

/// Whether people of this project wrote the file.
fn is_read(file: &File) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let written = [".rs", ".md", ".toml", ".sql", ".stderr", ".sh"].iter().any(|end| name.ends_with(end));
    (written || ["justfile", "run"].contains(&name)) && file.path != THIS_FILE
}

fn findings(file: &File) -> Vec<Finding> {
    let phrases = PHRASES.iter().flat_map(|(phrase, remedy)| {
        lines_with(&file.text, phrase).into_iter().map(move |line| (line, *phrase, *remedy))
    });
    let openings = openings(file).into_iter().map(|(line, opening)| (line, opening, OPENING_REMEDY));
    let mut found = phrases.chain(openings).collect::<Vec<_>>();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(line, phrase, remedy)| {
            Finding::error(
                &file.path,
                line,
                format!("\"{phrase}\" makes the reader solve a sentence"),
                remedy,
            )
        })
        .collect()
}

/// The lines on which the phrase begins, in any case, also across lines and in `snake_case` names.
fn lines_with(text: &str, phrase: &str) -> Vec<usize> {
    let text = text.to_ascii_lowercase().replace('_', " ");
    let mut parts = phrase.split(' ');
    let first = parts.next().expect("a phrase has a word");
    words(&text, first)
        .filter(|at| {
            let mut rest = &text[at + first.len()..];
            parts.clone().all(|part| match next_word(rest, part) {
                Some(after) => {
                    rest = after;
                    true
                }
                None => false,
            })
        })
        .map(|at| line_at(&text, at))
        .collect()
}

/// What follows `word`, if the text goes on with it behind a gap: white space, and the marks that begin a comment line.
fn next_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let trimmed = text.trim_start_matches(|c: char| c.is_whitespace() || "/!#*\\".contains(c));
    let has_gap = text[..text.len() - trimmed.len()].contains(char::is_whitespace);
    let after = trimmed.strip_prefix(word)?;
    (has_gap && !after.starts_with(char::is_alphanumeric)).then_some(after)
}

/// The lines that begin with an opening. In Rust, comments alone are looked at.
fn openings(file: &File) -> Vec<(usize, &'static str)> {
    let text = if file.path.ends_with(".rs") { &file.comments } else { &file.text };
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let said = line.trim_start_matches(|c: char| c.is_whitespace() || "/!#*->".contains(c));
        let opening = OPENINGS.iter().find(|opening| {
            said.strip_prefix(**opening).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        });
        found.extend(opening.map(|opening| (index + 1, *opening)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_in_any_case_across_lines_and_in_names() {
        let cases: &[(&str, &str, &[usize])] = &[
            ("// Of so many.", "so many", &[1]),
            ("a\n/// so\n/// many b", "so many", &[2]),
            ("\"so \\\n   many\"", "so many", &[1]),
            ("fn a_batch_of_which_nothing_is_left() {}", "of which", &[1]),
            ("Whoever asks", "whoever", &[1]),
            ("also many; so-many; so manyfold; somany", "so many", &[]),
            ("of whichever", "of which", &[]),
        ];
        for (text, phrase, lines) in cases {
            assert_eq!(lines_with(text, phrase), *lines, "{text}");
        }
    }
}
