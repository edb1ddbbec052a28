//! Kills in the middle of a page: while events are applied, and while the file is written. The counts are exact at the end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gesta::{Recorded, Row, RowView, Rows, ViewError, row_view};
use gesta_core::*;
use gesta_views::*;

use crate::bank::{AccountId, BankEvent};
use crate::support::*;

const EVENTS: u64 = 4_000;

/// Events of a page: several pages are committed between two kills.
const PAGE: u32 = 100;

/// A row for each account, and one for each event: an event that counts twice would show in both.
#[derive(Clone, Row)]
#[row("counts")]
struct Count {
    #[row(key)]
    account: AccountId,
    deposits: i64,
}

#[derive(Clone, Row)]
#[row("entries")]
struct Entry {
    #[row(key)]
    position: u64,
    times: i64,
    /// Bytes, so that a page has some on the disk.
    note: String,
}

/// Stops at the event of a position, in the middle of a page.
struct Counts {
    gate: Option<u64>,
}

impl RowView for Counts {
    const NAME: &'static str = "balances";
    type Event = BankEvent;
    type Rows = (Count, Entry);

    fn apply(
        &self,
        (counts, entries): (&mut Rows<Count>, &mut Rows<Entry>),
        event: &Recorded<BankEvent>,
    ) -> Result<(), ViewError> {
        let position = event.position().sequence;
        let account = event.key::<AccountId>().ok_or("not an account")?;
        counts.get_or_put(&account, || Count { account: account.clone(), deposits: 0 })?.deposits += 1;
        let new = || Entry { position, times: 0, note: "n".repeat(200) };
        entries.get_or_put(&position, new)?.times += 1;
        if self.gate == Some(position) {
            // The view, its rows and the file go with the process.
            std::io::stdout().write_all(b"at the gate\n").expect("the test reads");
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }
}

fn log() -> (Arc<MemoryStore>, Checkpoint) {
    let store = store();
    let head = append_deposits(&store, EVENTS);
    (store, head)
}

fn open_at(store: &Arc<MemoryStore>, folder: &Path, gate: Option<u64>) -> Views {
    let definitions = vec![row_view(Counts { gate }, Dialect::Sqlite)];
    Views::open_with(store.clone(), folder.to_owned(), definitions, &page_of(PAGE)).unwrap()
}

/// The process that is killed: it follows the log until then.
#[test]
#[ignore = "only the tests below run it"]
fn the_process_that_is_killed() {
    let variable = |name| std::env::var(name).unwrap();
    let (store, head) = log();
    let views =
        open_at(&store, variable("GESTA_TEST_FOLDER").as_ref(), variable("GESTA_TEST_GATE").parse().ok());
    wait(&views, &head);
}

/// Starts the process. Its files grow to `blocks` of 512 bytes at the most: the write that would exceed that kills it.
fn start_process(folder: &Path, gate: Option<u64>, blocks: Option<u64>) -> Child {
    let limit = blocks.map_or_else(|| "unlimited".to_owned(), |blocks| blocks.to_string());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -c 0; ulimit -f {limit}; exec \"$0\" \"$@\"")]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::the_process_that_is_killed", "--ignored", "--nocapture"]);
    command.env("GESTA_TEST_FOLDER", folder);
    command.env("GESTA_TEST_GATE", gate.map_or_else(String::new, |gate| gate.to_string()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Catches up in this process, and checks that every event counted once.
fn check(folder: &Path) {
    let (store, head) = log();
    let views = open_at(&store, folder, None);
    wait(&views, &head);
    let all = i64::try_from(EVENTS).unwrap();
    assert_eq!(rows(&views, "select count(*), sum(deposits) from counts"), integers(&[10, all]));
    let entries = "select count(*), max(times), max(position) from entries";
    assert_eq!(rows(&views, entries), integers(&[all, 1, all]));
}

#[test]
fn counts_are_exact_after_kills_while_events_are_applied() {
    let folder = tempfile::tempdir().unwrap();
    for gate in [50, 51, 1_234, 3_999] {
        let mut process = start_process(folder.path(), Some(gate), None);
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("at the gate")));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    check(folder.path());
}

#[test]
fn counts_are_exact_after_kills_while_the_file_is_written() {
    const SIGXFSZ: i32 = 25;
    let folder = tempfile::tempdir().unwrap();
    // Beyond 32 KiB, the size of the shared memory of the write-ahead log. The step is no multiple of a page of the file, so the
    // kills hit pages, headers of frames, and commits.
    let mut kills = 0;
    for blocks in (66..400).step_by(11) {
        let status = start_process(folder.path(), None, Some(blocks)).wait().unwrap();
        assert_eq!(status.signal(), Some(SIGXFSZ), "{blocks} blocks: {status}");
        kills += 1;
    }
    assert_eq!(kills, 31);
    check(folder.path());
}
