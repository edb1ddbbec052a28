//! The README's console lines, run unchanged against `gesta demo`, and the answers that it shows for them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use tempfile::TempDir;

use crate::harness::{Server, command, gesta};

const README: &str = include_str!("../../../../README.md");
/// What the README shows in place of a checkpoint.
const ELLIPSIS: &str = "…";

/// A line to run, and the answer that the README shows for it, if any.
struct Step {
    words: Vec<String>,
    answer: Option<String>,
}

#[test]
fn every_line_of_the_readme_works() {
    let folder = TempDir::new().unwrap();
    let server = demo(folder.path().join("demo").to_str().unwrap());
    let mut checkpoint = String::new();
    let steps = steps(README);
    assert!(steps.len() >= 10, "the README has a tour");
    for step in steps {
        let words = step.words.iter().map(|word| word.replace("http://127.0.0.1:2114", &server.url));
        let words = words.collect::<Vec<_>>();
        match &words[..] {
            [program, rest @ ..] if program == "curl" => {
                let answer = curl(rest, &checkpoint);
                if let Some(shown) = &step.answer {
                    assert_eq!(without_checkpoint(&answer), *shown, "{words:?}");
                }
                checkpoint = checkpoint_of(&answer).unwrap_or(checkpoint);
            }
            [cargo, run, release, dashes, rest @ ..] => {
                assert_eq!([cargo, run, release, dashes], ["cargo", "run", "--release", "--"]);
                gesta(rest.iter().map(|word| from_the_root(word))).ok();
                let head = curl(&[format!("{}/checkpoint", server.url)], "");
                checkpoint = checkpoint_of(&head).unwrap();
            }
            other => panic!("the README has a line that no test runs: {other:?}"),
        }
    }
    assert_eq!(server.stop(), Some(0));
}

/// Starts `gesta demo` on a free port.
pub(crate) fn demo(folder: &str) -> Server {
    demo_with_introduction(folder, &[]).0
}

/// Starts `gesta demo` on a free port. Also returns the text that it prints before it serves.
pub(crate) fn demo_with_introduction(folder: &str, given: &[&str]) -> (Server, String) {
    let mut child = command(["demo", "--listen", "127.0.0.1:0", "--dir", folder].iter().chain(given))
        .env("GESTA_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut introduction = String::new();
    let serving = loop {
        let line = lines.next().unwrap();
        if line.starts_with("serving") {
            break line;
        }
        introduction.push_str(&line);
        introduction.push('\n');
    };
    let url = serving.rsplit(' ').next().unwrap().to_owned();
    (Server::of(child, url), introduction)
}

/// The lines after a `$` in the README's console blocks.
fn steps(readme: &str) -> Vec<Step> {
    let blocks = readme.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match line.strip_prefix("$ ") {
            Some(line) => steps.push(Step { words: words(line), answer: None }),
            None => steps.last_mut().unwrap().answer = Some(line.to_owned()),
        }
    }
    steps
}

/// Splits a line at blanks, except within single quotes, as a shell does.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (at, part) in line.split('\'').enumerate() {
        let pieces = if at % 2 == 1 { vec![part] } else { part.split(' ').collect() };
        for (at, piece) in pieces.iter().enumerate() {
            if at > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(piece);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Sends the request that curl would send. A query of a view waits for the last checkpoint; a person is slow enough not to.
fn curl(words: &[String], checkpoint: &str) -> String {
    let value_of = |flag: &str| words.iter().position(|word| word == flag).map(|at| words[at + 1].clone());
    let url = words.iter().find(|word| word.starts_with("http://")).unwrap();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = match value_of("--json") {
        Some(body) => agent.post(url).header("content-type", "application/json").send(body).unwrap(),
        None => {
            let mut request = agent.get(url);
            if let Some(parameter) = value_of("--data-urlencode") {
                let (name, value) = parameter.split_once('=').unwrap();
                request = request.query(name, value).query("wait_for", checkpoint);
            }
            request.call().unwrap()
        }
    };
    answer.body_mut().read_to_string().unwrap()
}

/// The checkpoint in an answer.
fn checkpoint_of(answer: &str) -> Option<String> {
    let (_, rest) = answer.split_once("\"checkpoint\":\"")?;
    Some(rest.split('"').next()?.to_owned())
}

fn without_checkpoint(answer: &str) -> String {
    match checkpoint_of(answer) {
        Some(checkpoint) => answer.trim_end().replace(&checkpoint, ELLIPSIS),
        None => answer.trim_end().to_owned(),
    }
}

/// A path that the README names, as seen from the folder of this crate. Other words stay as they are.
fn from_the_root(word: &str) -> String {
    match word.starts_with("examples/") {
        true => format!("{}/../../{word}", env!("CARGO_MANIFEST_DIR")),
        false => word.to_owned(),
    }
}
