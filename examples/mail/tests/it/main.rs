//! The program as its users run it: what it sends, tries again, parks, and does not send twice.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The program, serving a log in a folder. Killed when dropped.
struct Program {
    child: Child,
    url: String,
}

impl Program {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mail"))
            .args(["serve", "--dir", "log", "--listen", "127.0.0.1:0"])
            .env("GESTA_LOG", "error")
            .env_remove("GESTA_STORE")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self { child, url }
    }

    fn get(&self, path: &str) -> Value {
        let mut answer = ureq::get(format!("{}{path}", self.url)).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    fn post(&self, path: &str, body: &Value) {
        let request = ureq::post(format!("{}{path}", self.url)).header("content-type", "application/json");
        request.send(body.to_string()).unwrap();
    }

    fn fill(&self, course: &str, teacher: &str) {
        let event = json!({"type": "course.filled", "data": {"teacher": teacher}});
        self.post(&format!("/streams/course-{course}"), &event);
    }

    fn group(&self) -> Value {
        self.get("/groups/tell-teacher")
    }

    /// Stops the program as an operator does. Gives the exit code.
    fn stop(mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks until the answer is there.
#[track_caller]
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + Duration::from_secs(180);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < patience, "{what} does not come");
        std::thread::yield_now();
    }
}

/// The subjects of the mails in the outbox.
fn subjects(outbox: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(outbox).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()));
    let subject =
        |mail: String| mail.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned));
    files.filter_map(|mail| subject(mail.unwrap())).collect()
}

fn wait_for_mail(outbox: &Path, course: &str) {
    let subject = format!("course-{course} is full");
    until(&subject, || subjects(outbox).contains(&subject).then_some(()));
}

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let outbox = folder.path().join("outbox");
    (folder, outbox)
}

#[test]
fn a_mail_that_fails_is_tried_again_until_it_goes() {
    let (folder, outbox) = folder();
    let program = Program::start(folder.path());
    program.fill("rust", "ann@example.org");
    // There is no outbox yet.
    until("a failure", || (program.group()["waiting"] == 1).then_some(()));
    std::fs::create_dir(&outbox).unwrap();
    wait_for_mail(&outbox, "rust");
    let mail = std::fs::read_dir(&outbox).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(mail).unwrap(), "To: ann@example.org\nSubject: course-rust is full\n");
    assert_eq!(program.stop(), Some(0));
}

#[test]
fn a_mail_that_can_never_go_is_parked_and_all_others_go() {
    let (folder, outbox) = folder();
    std::fs::create_dir(&outbox).unwrap();
    let program = Program::start(folder.path());
    program.fill("go", "nobody");
    program.fill("zig", "bob@example.org");
    wait_for_mail(&outbox, "zig");
    let parked = until("the parked stream", || {
        let parked = program.get("/groups/tell-teacher/parked");
        parked["parked"].get(0).cloned()
    });
    assert_eq!(parked["stream"], "course-go");
    assert!(parked["error"].as_str().unwrap().contains("`nobody` is no mail address"), "{parked}");
    // The next mail of the course waits behind it, also over a kill of the program.
    program.fill("go", "cid@example.org");
    drop(program);
    let program = Program::start(folder.path());
    // Parked again, or still: a stream that was seen parked may not have been durably so at the kill.
    until("the parked stream", || program.get("/groups/tell-teacher/parked")["parked"].get(0).map(drop));
    let skip = json!({"stream": "course-go", "through": 0, "reason": "no such teacher"});
    program.post("/groups/tell-teacher/parked/skip", &skip);
    wait_for_mail(&outbox, "go");
    assert_eq!(subjects(&outbox).len(), 2);
}

#[test]
fn what_was_sent_is_not_sent_again_after_a_restart() {
    let (folder, outbox) = folder();
    std::fs::create_dir(&outbox).unwrap();
    let program = Program::start(folder.path());
    (0..20).for_each(|number| program.fill(&number.to_string(), "ann@example.org"));
    until("all mails", || (subjects(&outbox).len() == 20).then_some(()));
    assert_eq!(program.stop(), Some(0));
    std::fs::remove_dir_all(&outbox).unwrap();
    std::fs::create_dir(&outbox).unwrap();
    let program = Program::start(folder.path());
    program.fill("new", "ann@example.org");
    wait_for_mail(&outbox, "new");
    until("an idle group", || (program.group()["lagEvents"] == 0).then_some(()));
    assert_eq!(subjects(&outbox).len(), 1, "only the new one");
}

#[test]
fn the_page_shows_the_program() {
    let (page, program) = (include_str!("../../../../docs/reacting.md"), include_str!("../../src/main.rs"));
    let shown = page.split("```rust,ignore\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(program.ends_with(shown), "the page differs from examples/mail/src/main.rs");
    assert!(program.lines().count() < 40, "the page says that it is short");
}
