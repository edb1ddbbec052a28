//! The input of the rules: the files of the repository, and its crates.

use std::fs;

use super::crates::{self, Crate};
use super::mask::mask;
use crate::{Failure, shell};

/// The repository as the rules see it.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) files: Vec<File>,
    pub(super) crates: Vec<Crate>,
}

/// One text file. For Rust, `code` and `comments` are `text` with everything else blanked; lines keep their numbers. For other
/// languages both are empty.
#[derive(Debug)]
pub(super) struct File {
    /// Relative to the root, with `/` between its parts.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) code: String,
    pub(super) comments: String,
}

impl Repository {
    /// Reads every file that git tracks or would track, and asks cargo for the crates.
    pub(super) fn read() -> Result<Self, Failure> {
        let listing = shell::output_of("git ls-files -z --cached --others --exclude-standard")?;
        // Files that are not text are left out: deleted files that git still lists, and binaries.
        let files = listing
            .split_terminator('\0')
            .filter_map(|path| fs::read_to_string(path).ok().map(|text| File::new(path, text)))
            .collect();
        Ok(Self { files, crates: crates::read()? })
    }

    /// The Rust files that people write: not those whose first line says `@generated`.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust() && !file.first_line().contains("@generated"))
    }

    pub(super) fn markdown(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".md"))
    }

    /// Whether the path is a file, or a folder with a file in it.
    pub(super) fn contains(&self, path: &str) -> bool {
        self.files.iter().any(|file| {
            let rest = file.path.strip_prefix(path);
            path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl File {
    pub(super) fn new(path: &str, text: String) -> Self {
        let mut file = Self { path: path.to_owned(), text, code: String::new(), comments: String::new() };
        if file.is_rust() {
            (file.code, file.comments) = mask(&file.text);
        }
        file
    }

    pub(super) fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}
