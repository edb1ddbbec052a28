//! Which crates may depend on which, and that the map names every crate.

use super::Finding;
use super::crates::Crate;
use super::repository::Repository;

/// The crates of the workspace that a crate may depend on. Nothing but a host may depend on [`BINARY`].
enum Neighbours {
    Only(&'static [&'static str]),
    All,
}

use Neighbours::{All, Only};

/// The layering that ARCHITECTURE.md describes. Tests may depend on anything but [`BINARY`].
const LAYERS: &[(&str, Neighbours)] = &[
    ("gesta-core", Only(&[])),
    ("gesta-log", Only(&["gesta-core"])),
    ("gesta-state", Only(&["gesta-core"])),
    ("gesta-tls", Only(&[])),
    ("gesta-valkey", Only(&["gesta-core", "gesta-tls"])),
    ("gesta-wire", Only(&["gesta-consumer", "gesta-core"])),
    ("gesta-consumer", Only(&["gesta-core"])),
    ("gesta-postgres-connect", Only(&["gesta-tls"])),
    ("gesta-views", Only(&["gesta-core", "gesta-consumer", "gesta-postgres-connect"])),
    ("gesta-postgres", Only(&["gesta-core", "gesta-postgres-connect"])),
    ("gesta-jetstream", Only(&["gesta-core", "gesta-log"])),
    ("gesta-publish", Only(&["gesta-core", "gesta-consumer", "gesta-tls", "gesta-wire"])),
    ("gesta-client", Only(&["gesta-core", "gesta-consumer", "gesta-wire"])),
    ("gesta-conformance", Only(&["gesta-core", "gesta-consumer"])),
    ("gesta-macros", Only(&[])),
    ("gesta", Only(&["gesta-consumer", "gesta-core", "gesta-macros", "gesta-views", "gesta-wire"])),
    // The server does not know which store it runs on, so no engine and no database is listed.
    (
        "gesta-server",
        Only(&["gesta", "gesta-client", "gesta-consumer", "gesta-core", "gesta-views", "gesta-wire"]),
    ),
    (BINARY, All),
    ("sim", All),
    ("test-servers", Only(&[])),
    ("xtask", Only(&[])),
];

/// The command-line tool, which is also a library. Only hosts depend on it, in tests too.
const BINARY: &str = "gesta-cli";

/// Example programs as an application author writes them. They may depend on anything.
const HOSTS: &str = "examples/";

/// External crates that would break the promise of a crate.
const STRANGERS: &[(&str, &[&str])] =
    &[("gesta-core", WORLD), ("gesta-log", WORLD), ("gesta-views", &["axum", "hyper"])];

/// Runtimes, network and payload formats: the contract and the engine know none of them.
const WORLD: &[&str] = &["async-std", "axum", "hyper", "serde_json", "smol", "tokio", "tonic"];

/// Reports dependencies that the layering does not allow.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in repository.crates.iter().filter(|package| !package.folder.starts_with(HOSTS)) {
        let Some((name, neighbours)) = LAYERS.iter().find(|(name, _)| *name == package.name) else {
            let message = format!("`{}` has no place in the layering", package.name);
            let remedy = "add it to LAYERS in xtask/src/tidy/layers.rs and to ARCHITECTURE.md";
            findings.push(Finding::error(&manifest(package), 1, message, remedy));
            continue;
        };
        let tests_use_binary = package.tests_use.iter().find(|used| *used == BINARY);
        let forbidden = package.uses.iter().filter(|used| !allows(repository, name, neighbours, used));
        findings.extend(forbidden.chain(tests_use_binary).map(|dependency| {
            let message = format!("`{name}` may not depend on `{dependency}`");
            let remedy = "move the code to a crate that may, or change LAYERS in xtask/src/tidy/layers.rs \
                          and ARCHITECTURE.md, with a note in docs/decisions";
            let line = line_naming(repository, &manifest(package), dependency);
            Finding::error(&manifest(package), line, message, remedy)
        }));
    }
    findings
}

/// Whether a crate with these neighbours may name the dependency in its manifest.
fn allows(repository: &Repository, name: &str, neighbours: &Neighbours, dependency: &str) -> bool {
    let is_stranger =
        STRANGERS.iter().any(|(shy, strangers)| *shy == name && strangers.contains(&dependency));
    let in_workspace = repository.crates.iter().any(|package| package.name == dependency);
    let is_neighbour = match neighbours {
        All => true,
        Only(names) => names.contains(&dependency),
    };
    !is_stranger && dependency != BINARY && (is_neighbour || !in_workspace)
}

/// Reports crates that ARCHITECTURE.md does not name.
pub(super) fn on_the_map(repository: &Repository) -> Vec<Finding> {
    let map = repository.files.iter().find(|file| file.path == "ARCHITECTURE.md");
    let map = map.map_or("", |file| &file.text);
    let missing = repository.crates.iter().filter(|package| !names(map, &package.name));
    missing
        .map(|package| {
            let message = format!("`{}` is not named here", package.name);
            let remedy = "add the crate to the code map, with its purpose";
            Finding::error("ARCHITECTURE.md", 1, message, remedy)
        })
        .collect()
}

/// Whether the text names the crate itself, not only one whose name contains it.
fn names(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').any(|word| word == name)
}

fn manifest(package: &Crate) -> String {
    format!("{}/Cargo.toml", package.folder)
}

/// The line of the manifest that names the dependency, or the first one.
fn line_naming(repository: &Repository, manifest: &str, dependency: &str) -> usize {
    let file = repository.files.iter().find(|file| file.path == manifest);
    let line = file.and_then(|file| file.text.lines().position(|line| names(line, dependency)));
    line.map_or(1, |index| index + 1)
}
