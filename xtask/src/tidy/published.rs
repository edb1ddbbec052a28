//! Crates that go to a registry carry what a registry and its readers need.
//!
//! The step `packages` of `cargo xtask test` lets cargo pack them. This rule finds what cargo accepts and a reader misses.

use super::Finding;
use super::crates::Crate;
use super::repository::{File, Repository};

/// What the manifest of a published crate must say, each with its remedy.
const FIELDS: &[(&str, &str)] = &[
    ("description = ", "say in one line what the crate is for"),
    ("license.workspace = true", "take it from the workspace"),
    ("readme.workspace = true", "take it from the workspace"),
    ("rust-version.workspace = true", "take it from the workspace"),
    ("keywords.workspace = true", "take it from the workspace"),
    ("categories.workspace = true", "take it from the workspace"),
];

/// Files that a published crate must hold.
const FILES: &[&str] = &["LICENSE-APACHE", "LICENSE-MIT"];

/// Reports what published crates lack.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let manifest = |folder: &str| {
        let path = if folder.is_empty() { "Cargo.toml".to_owned() } else { format!("{folder}/Cargo.toml") };
        repository.files.iter().find(|file| file.path == path)
    };
    let published = repository.crates.iter().filter_map(|package| {
        let file = manifest(&package.folder)?;
        is_published(file).then_some((package, file))
    });
    let published = published.collect::<Vec<_>>();
    let mut findings = Vec::new();
    for (package, file) in &published {
        findings.extend(missing_fields(file));
        findings.extend(missing_files(repository, package, file));
        findings.extend(package.uses.iter().filter_map(|used| {
            let is_local = repository.crates.iter().any(|other| other.name == *used);
            let is_public = published.iter().any(|(other, _)| other.name == *used);
            let message = format!("`{}` is published and needs `{used}`, which is not", package.name);
            let remedy = "publish that crate too, or depend on it in tests only";
            (is_local && !is_public).then(|| Finding::error(&file.path, 1, message, remedy))
        }));
    }
    let names = published.iter().map(|(package, _)| &*package.name).collect::<Vec<_>>();
    let manifests = manifest("").into_iter().chain(published.iter().map(|(_, file)| *file));
    findings.extend(manifests.flat_map(|file| paths_without_version(file, &names)));
    findings
}

fn is_published(manifest: &File) -> bool {
    !manifest.text.lines().any(|line| line.trim() == "publish = false")
}

fn missing_fields(manifest: &File) -> Vec<Finding> {
    let missing =
        FIELDS.iter().filter(|(field, _)| !manifest.text.lines().any(|line| line.starts_with(field)));
    missing
        .map(|(field, remedy)| {
            Finding::error(
                &manifest.path,
                1,
                format!("a published crate needs `{}`", field.trim_end_matches(" = ")),
                remedy,
            )
        })
        .collect()
}

fn missing_files(repository: &Repository, package: &Crate, manifest: &File) -> Vec<Finding> {
    let missing = FILES.iter().filter(|name| !repository.contains(&format!("{}/{name}", package.folder)));
    missing
        .map(|name| {
            let remedy = "link it: `ln -s ../../LICENSE-… .` in the folder of the crate";
            Finding::error(
                &manifest.path,
                1,
                format!("the folder of a published crate needs `{name}`"),
                remedy,
            )
        })
        .collect()
}

/// Published crates that the manifest depends on by path alone, outside the tables for tests: a registry needs a version.
fn paths_without_version(manifest: &File, published: &[&str]) -> Vec<Finding> {
    let mut table = "";
    let mut findings = Vec::new();
    for (index, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            table = line;
        }
        let for_users = table.ends_with("dependencies]") && !table.contains("dev-dependencies");
        let named = line.split([' ', '=', '.']).next().is_some_and(|name| published.contains(&name));
        if for_users && named && line.contains("path = ") && !line.contains("version = ") {
            let remedy = "add `version = \"…\"`, the version of the workspace";
            let message = "a dependency by path has no version";
            findings.push(Finding::error(&manifest.path, index + 1, message, remedy));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "[package]\ndescription = \"A.\"\nlicense.workspace = true\nreadme.workspace = true\n\
        rust-version.workspace = true\nkeywords.workspace = true\ncategories.workspace = true\n";

    /// What the rule says about two crates, `a` with this manifest and the unpublished `b`, which `a` uses if `uses_b`.
    fn said(manifest: &str, root: &str, uses_b: bool) -> Vec<String> {
        let package = |name: &str, uses: &[&str]| Crate {
            name: name.to_owned(),
            folder: format!("crates/{name}"),
            uses: uses.iter().map(|name| (*name).to_owned()).collect(),
            tests_use: vec!["b".to_owned()],
        };
        let files = [
            ("Cargo.toml", root),
            ("crates/a/Cargo.toml", manifest),
            ("crates/a/LICENSE-MIT", ""),
            ("crates/a/LICENSE-APACHE", ""),
            ("crates/b/Cargo.toml", "[package]\npublish = false\n"),
        ];
        let repository = Repository {
            files: files.map(|(path, text)| File::new(path, text.to_owned())).into(),
            crates: vec![package("a", if uses_b { &["b"] } else { &[] }), package("b", &[])],
        };
        check(&repository).into_iter().map(|finding| finding.message.replace('`', "")).collect()
    }

    #[test]
    fn a_published_crate_has_every_field_and_file() {
        assert_eq!(said(WHOLE, "", false), [""; 0]);
        let without = WHOLE.replace("readme.workspace = true\n", "");
        assert_eq!(said(&without, "", false), ["a published crate needs readme.workspace = true"]);
        assert_eq!(said("publish = false", "", true), [""; 0]);
    }

    #[test]
    fn a_published_crate_depends_on_published_crates_with_versions() {
        assert_eq!(said(WHOLE, "", true), ["a is published and needs b, which is not"]);
        let versionless = ["a dependency by path has no version"];
        let table = "[workspace.dependencies]\n";
        assert_eq!(said(WHOLE, &format!("{table}a = {{ path = \"crates/a\" }}"), false), versionless);
        assert_eq!(said(WHOLE, &format!("{table}b = {{ path = \"crates/b\" }}"), false), [""; 0]);
        let in_tests = format!("{WHOLE}[dev-dependencies]\na = {{ path = \".\" }}");
        assert_eq!(said(&in_tests, "", false), [""; 0]);
    }
}
