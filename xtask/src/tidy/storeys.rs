//! The folders of `gesta-log` as storeys: imports point down, and no two siblings of a folder import each other.
//!
//! A *storey* is a folder or a file directly below `src`. A folder counts with its files as one sibling of its neighbours. Test modules and
//! the fuzzer's entry points may import anything.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::repository::{File, Repository};
use super::scan::{bracketed, line_at, words};
use super::source::test_modules;

const SOURCE: &str = "crates/gesta-log/src/";

/// From the ground up. A line may import from itself and from the lines above it in this table.
const STOREYS: &[&[&str]] = &[
    &["bugs", "damage", "locks", "read_only"],
    &["format"],
    &["limits"],
    &["env"],
    &["error"],
    &["folder"],
    &["segment"],
    &["index"],
    &["options"],
    &["recover"],
    &["shared"],
    &["rebuild"],
    &["read"],
    &["operations"],
    &["write"],
    &["store"],
    &["sim", "fuzzing", "testing"],
];

/// One import: where it stands, and the module file that it leads to, both without `.rs`.
#[derive(Debug, PartialEq, Eq)]
struct Import {
    line: usize,
    from: String,
    to: String,
}

/// Reports files without a storey, imports that point up, and siblings that import each other.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let files = repository.files.iter().filter_map(|file| Some((module(&file.path)?, file)));
    let files = files.collect::<BTreeMap<_, _>>();
    let homeless = files.iter().filter(|(name, _)| storey(name).is_none()).map(|(name, file)| {
        let remedy = "move it into a folder, or give it a line in STOREYS in xtask/src/tidy/storeys.rs";
        Finding::error(&file.path, 1, format!("`{name}` has no storey"), remedy)
    });
    let imports = files.iter().flat_map(|(name, file)| imports(name, file, &files)).collect::<Vec<_>>();
    let upward = imports.iter().filter(|import| is_upward(import)).map(|import| {
        let message = format!("`{}` imports from `{}`, which is above it", import.from, import.to);
        let remedy = "hand the value in, or move it down; STOREYS in xtask/src/tidy/storeys.rs has the order";
        Finding::error(&files[&*import.from].path, import.line, message, remedy)
    });
    let circles = circles(&imports).into_iter().map(|(import, from, to)| {
        let remedy = "move what both need into the lower one of them, or into a third";
        let message = format!("`{from}` and `{to}` import each other");
        Finding::error(&files[&*import.from].path, import.line, message, remedy)
    });
    homeless.chain(upward).chain(circles).collect()
}

/// The module of a file of the log: its path below `src` without `.rs` or `/mod.rs`. `None` for tests, the fuzzer and the root.
fn module(path: &str) -> Option<&str> {
    let name = path.strip_prefix(SOURCE)?.strip_suffix(".rs")?;
    let name = name.strip_suffix("/mod").unwrap_or(name);
    let is_test = name.split('/').any(|part| part == "tests" || part == "fuzzing");
    (name != "lib" && !is_test).then_some(name)
}

/// The number of a module's line in [`STOREYS`].
fn storey(module: &str) -> Option<usize> {
    let top = module.split('/').next()?;
    STOREYS.iter().position(|line| line.contains(&top))
}

/// Whether the import points up. A module without a storey is reported on its own.
fn is_upward(import: &Import) -> bool {
    storey(&import.from).zip(storey(&import.to)).is_some_and(|(from, to)| to > from)
}

/// The two siblings that an import joins: of each module the part of its path just below the folder that both share. `None` between a
/// module and one below it.
fn siblings(import: &Import) -> Option<(&str, &str)> {
    let (from, to) = (&import.from, &import.to);
    let shared = from.split('/').zip(to.split('/')).take_while(|(from, to)| from == to).count();
    Some((cut(from, shared + 1)?, cut(to, shared + 1)?))
}

/// The first `parts` parts of a path; `None` if it has fewer.
fn cut(path: &str, parts: usize) -> Option<&str> {
    match path.match_indices('/').nth(parts - 1) {
        Some((end, _)) => Some(&path[..end]),
        None => (path.split('/').count() == parts).then_some(path),
    }
}

/// The first import between each two siblings that reach each other.
fn circles(imports: &[Import]) -> Vec<(&Import, &str, &str)> {
    let mut edges: BTreeMap<(&str, &str), &Import> = BTreeMap::new();
    for import in imports {
        if let Some(pair) = siblings(import) {
            edges.entry(pair).or_insert(import);
        }
    }
    let reaches = |start: &str, goal: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(module) = open.pop() {
            open.extend(
                edges
                    .keys()
                    .filter(|(from, _)| *from == module)
                    .map(|(_, to)| *to)
                    .filter(|to| seen.insert(*to)),
            );
        }
        seen.contains(goal)
    };
    edges
        .iter()
        .filter(|((from, to), _)| reaches(to, from))
        .map(|((from, to), import)| (*import, *from, *to))
        .collect()
}

/// The imports of one module from others, in `use` declarations and in paths.
fn imports(name: &str, file: &File, files: &BTreeMap<&str, &File>) -> Vec<Import> {
    let tests = test_modules(&file.code).collect::<Vec<_>>();
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        let places = words(&file.code, start).filter(|at| !file.code[..*at].ends_with("super::"));
        for at in places.filter(|at| !tests.iter().any(|module| module.contains(at))) {
            for path in paths(&file.code[at..]) {
                let target = absolute(name, &path).and_then(|path| longest_module(&path, files));
                let line = line_at(&file.code, at);
                found.extend(target.filter(|to| *to != name).map(|to| Import {
                    line,
                    from: name.to_owned(),
                    to: to.to_owned(),
                }));
            }
        }
    }
    found
}

/// The paths that a `use` tree or a path at the beginning of `code` names, as lists of names.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = code;
    loop {
        rest = rest.trim_start();
        if rest.starts_with('{') {
            let Some(group) = bracketed(rest) else { return vec![names] };
            let branches = split_outside_brackets(&rest[1..group.end - 1]);
            let below = branches.into_iter().flat_map(paths);
            return below.map(|path| [&names[..], &path].concat()).collect();
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end == 0 {
            return vec![names];
        }
        names.push(&rest[..end]);
        match rest[end..].trim_start().strip_prefix("::") {
            Some(after) => rest = after,
            None => return vec![names],
        }
    }
}

/// The parts between commas that stand outside all braces.
fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The path from the root of the crate; `None` if it leaves the crate.
fn absolute(module: &str, path: &[&str]) -> Option<String> {
    let supers = path.iter().take_while(|name| **name == "super").count();
    let rest = if supers == 0 { path.strip_prefix(&["crate"])? } else { &path[supers..] };
    let mut names = module.split('/').collect::<Vec<_>>();
    names.truncate(if supers == 0 { 0 } else { names.len().checked_sub(supers)? });
    names.extend(rest);
    Some(names.join("/"))
}

/// The module file that a path leads into.
fn longest_module<'a>(path: &str, files: &BTreeMap<&'a str, &File>) -> Option<&'a str> {
    let mut name = path;
    loop {
        if let Some((module, _)) = files.get_key_value(name) {
            return Some(module);
        }
        name = name.rsplit_once('/')?.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rule says about files of the log, each given by its path below `src` and its text.
    fn said(files: &[(&str, &str)]) -> Vec<(String, usize, String)> {
        let files =
            files.iter().map(|(path, text)| File::new(&format!("{SOURCE}{path}"), (*text).to_owned()));
        let found = check(&Repository { files: files.collect(), crates: Vec::new() });
        let short = |finding: Finding| {
            (finding.path[SOURCE.len()..].to_owned(), finding.line, finding.message.replace('`', ""))
        };
        found.into_iter().map(short).collect()
    }

    #[test]
    fn imports_that_point_down_are_accepted() {
        let files = [
            ("lib.rs", "use crate::store::Store;"),
            ("env.rs", "mod os;"),
            ("env/os.rs", "use super::Env;"),
            ("folder/layout.rs", "use crate::env::{self, os::File};"),
            ("format/frame.rs", ""),
            ("write.rs", "mod group;\nfn a() { crate::format::frame::seal() }"),
            (
                "write/group.rs",
                "use crate::{env::os, format::frame};\n#[cfg(test)]\nmod tests { use crate::store::Store; }",
            ),
            ("write/tests.rs", "use crate::store::Store;"),
            ("store/open.rs", "use crate::write::group::Group; // not crate::sim"),
        ];
        assert_eq!(said(&files), []);
    }

    #[test]
    fn imports_that_point_up_are_found_in_use_trees_and_paths() {
        let files = [
            ("env/os.rs", "use crate::{\n    error::Error,\n    folder::{layout, manifest},\n};"),
            ("error.rs", ""),
            ("folder/layout.rs", ""),
            ("folder/manifest.rs", ""),
            ("format/frame.rs", "\nfn a() { super::super::read::plan() }"),
            ("read.rs", ""),
        ];
        let up = |path: &str, line, message: &str| {
            (path.to_owned(), line, format!("{message}, which is above it"))
        };
        assert_eq!(
            said(&files),
            [
                up("env/os.rs", 1, "env/os imports from error"),
                up("env/os.rs", 1, "env/os imports from folder/layout"),
                up("env/os.rs", 1, "env/os imports from folder/manifest"),
                up("format/frame.rs", 2, "format/frame imports from read"),
            ]
        );
    }

    #[test]
    fn siblings_that_import_each_other_are_found() {
        let files = [
            ("index.rs", "mod run; mod table;"),
            ("index/table.rs", "use super::run::list::List;"),
            ("index/run.rs", "mod list;\nuse crate::index::Key;"),
            ("index/run/list.rs", "\nuse crate::index::table::Table;"),
        ];
        let circle = |path: &str, line, message: &str| (path.to_owned(), line, message.to_owned());
        assert_eq!(
            said(&files),
            [
                circle("index/run/list.rs", 2, "index/run and index/table import each other"),
                circle("index/table.rs", 1, "index/table and index/run import each other"),
            ]
        );
    }

    #[test]
    fn a_file_without_a_storey_is_found() {
        let expected = ("attic.rs".to_owned(), 1, "attic has no storey".to_owned());
        assert_eq!(said(&[("attic.rs", "")]), [expected]);
    }

    #[test]
    fn use_trees_are_taken_apart() {
        let cases: &[(&str, &[&[&str]])] = &[
            ("crate::a::b;", &[&["crate", "a", "b"]]),
            ("crate::{a::{b, c as d}, e};", &[&["crate", "a", "b"], &["crate", "a", "c"], &["crate", "e"]]),
            ("super::a::B { c: 1 }", &[&["super", "a", "B"]]),
            ("crate::a::*;", &[&["crate", "a"]]),
        ];
        for (code, expected) in cases {
            assert_eq!(paths(code), *expected, "{code}");
        }
    }
}
