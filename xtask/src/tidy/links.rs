//! Links in the documentation lead somewhere.

use super::Finding;
use super::repository::Repository;

/// Reports relative links to files that the repository does not have. Links to the network are not followed: a build must not depend on
/// other servers.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.markdown() {
        for (line, target) in targets(&file.text) {
            let leads_somewhere = resolve(&file.path, target).is_some_and(|path| repository.contains(&path));
            if !leads_somewhere {
                let message = format!("`{target}` leads to nothing in this repository");
                let remedy = "correct the path, relative to the file it stands in";
                findings.push(Finding::error(&file.path, line, message, remedy));
            }
        }
    }
    findings
}

/// The files that a Markdown text links to, each with its line. Fenced code holds no links.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            let linked = line_targets(line).into_iter().filter_map(file_part);
            targets.extend(linked.map(|target| (index + 1, target)));
        }
    }
    targets
}

/// The targets after `[text](`, and after `[name]: ` at the start of a line.
fn line_targets(line: &str) -> Vec<&str> {
    let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
    let inline = line.match_indices("](").filter(|(at, _)| !in_code(line, *at)).filter_map(|(at, mark)| {
        let rest = &line[at + mark.len()..];
        rest.split_once(')').map(|(target, _)| target)
    });
    inline.chain(definition).collect()
}

/// Whether the place is between backticks.
fn in_code(line: &str, at: usize) -> bool {
    line[..at].matches('`').count() % 2 == 1
}

/// The file of a link target, without title and anchor; `None` where the target is on the network or
/// in the same file.
fn file_part(target: &str) -> Option<&str> {
    let address = target.split_whitespace().next()?.trim_start_matches('<').trim_end_matches('>');
    let file = address.split('#').next()?;
    (!file.is_empty() && !file.contains("://") && !file.starts_with("mailto:")).then_some(file)
}

/// The target as seen from the root; `None` where it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code_only() {
        let cases: &[(&str, &[(usize, &str)])] = &[
            (
                "see [a](b.md), [c](d/e.md#f) and [g](<h.md> \"title\")",
                &[(1, "b.md"), (1, "d/e.md"), (1, "h.md")],
            ),
            ("text\n[a]: b.md", &[(2, "b.md")]),
            ("[a](https://b.c/d) [e](#f) [g](mailto:h@i.j)", &[]),
            ("`[a](b.md)`\n```\n[a](b.md)\n```\n[`c`](d.md)", &[(5, "d.md")]),
        ];
        for (text, expected) in cases {
            assert_eq!(targets(text), *expected, "{text}");
        }
    }

    #[test]
    fn a_target_is_resolved_from_the_file_it_stands_in() {
        assert_eq!(resolve("docs/a/b.md", "../c.md").as_deref(), Some("docs/c.md"));
        assert_eq!(resolve("README.md", "./docs/").as_deref(), Some("docs"));
        assert_eq!(resolve("docs/a.md", "../../b.md"), None);
    }
}
