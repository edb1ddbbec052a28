//! No file names a path that exists on one machine only, or beside one checkout.

use super::Finding;
use super::repository::Repository;

/// Folders of the file system's root that hold people's work.
const ROOT_FOLDERS: &[&str] = &["Users", "farm", "home", "root", "work"];

/// Folders that may be beside a checkout and are never part of one.
const SIBLINGS: &[&str] = &["shared"];

/// Reports paths that do not exist in another checkout.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let patterns: Vec<String> = ROOT_FOLDERS
        .iter()
        .map(|folder| format!("/{folder}/"))
        .chain(SIBLINGS.iter().map(|folder| format!("../{folder}/")))
        .collect();

    let mut findings = Vec::new();
    for file in &repository.files {
        for (index, line) in file.text.lines().enumerate() {
            for pattern in patterns.iter().filter(|pattern| holds_path(line, pattern)) {
                let message = format!("`{pattern}…` exists on one machine only");
                let remedy = "name a path relative to this repository, or describe what is meant";
                findings.push(Finding::error(&file.path, index + 1, message, remedy));
            }
        }
    }
    findings
}

/// Whether a path begins like this; `crates/x/` and `https://a.b/x/` are no absolute paths to `/x/`.
fn holds_path(line: &str, pattern: &str) -> bool {
    let continues_a_path = |c: char| c.is_alphanumeric() || "_-.~$}".contains(c);
    line.match_indices(pattern)
        .any(|(at, _)| pattern.starts_with('.') || !line[..at].ends_with(continues_a_path))
}
