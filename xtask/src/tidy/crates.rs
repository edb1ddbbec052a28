//! The crates of the workspace and their dependencies, from cargo.

use crate::{Failure, shell};

/// A crate of the workspace and the crates that its manifest names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crate {
    pub(super) name: String,
    /// Relative to the root.
    pub(super) folder: String,
    /// Normal and build dependencies, optional ones too, from inside and outside the workspace.
    pub(super) uses: Vec<String>,
    /// Dependencies of its tests.
    pub(super) tests_use: Vec<String>,
}

/// Asks cargo.
pub(super) fn read() -> Result<Vec<Crate>, Failure> {
    let tree = |edges| {
        shell::output_of(&format!(
            "cargo tree --workspace --all-features --depth 1 --prefix none --edges {edges}"
        ))
    };
    let root = std::env::current_dir().map_err(|error| format!("cannot name the current folder: {error}"))?;
    Ok(parse(&root.display().to_string(), &tree("normal,build")?, &tree("dev")?))
}

/// Reads what `cargo tree` printed about normal dependencies and about those of tests: for each crate
/// of the workspace, in the same order, a block of lines like `name v1.2.3 (/repository/folder)`, first the
/// crate, then what it depends on.
pub(super) fn parse(root: &str, normal: &str, tests: &str) -> Vec<Crate> {
    blocks(normal)
        .zip(blocks(tests))
        .map(|((package, uses), (same_package, tests_use))| {
            let name = first_word(package);
            assert_eq!(name, first_word(same_package), "cargo lists the crates in one order");
            Crate { name, folder: folder(root, package), uses, tests_use }
        })
        .collect()
}

fn blocks(tree: &str) -> impl Iterator<Item = (&str, Vec<String>)> {
    tree.split("\n\n").map(|block| {
        let mut lines = block.trim().lines();
        (lines.next().unwrap_or_default(), lines.map(first_word).collect())
    })
}

fn first_word(line: &str) -> String {
    line.split(' ').next().unwrap_or_default().to_owned()
}

fn folder(root: &str, package: &str) -> String {
    let inside = package.split_once(&format!("({root}/")).and_then(|(_, rest)| rest.split_once(')'));
    inside.map_or_else(String::new, |(folder, _)| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_read_from_what_cargo_prints() {
        let normal = "a v0.1.0 (/r/crates/a)\nbytes v1.0.0\n\nm v0.1.0 (proc-macro) (/r/m) (*)\n";
        let tests = "a v0.1.0 (/r/crates/a)\n\nm v0.1.0 (proc-macro) (/r/m)\na v0.1.0 (/r/crates/a)\n";
        let [a, m] = &parse("/r", normal, tests)[..] else { panic!("two crates") };
        assert_eq!((&*a.name, &*a.folder, &*m.name, &*m.folder), ("a", "crates/a", "m", "m"));
        assert_eq!((&a.uses[..], &m.tests_use[..]), (&["bytes".to_owned()][..], &["a".to_owned()][..]));
        assert!(a.tests_use.is_empty() && m.uses.is_empty());
    }
}
