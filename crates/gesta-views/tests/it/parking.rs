//! Views that park a stream whose event they cannot apply: what they show, how operators release streams, and kills in between.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gesta::{OnError, Recorded, Row, RowView, Rows, ViewError, row_view};
use gesta_core::*;
use gesta_views::*;

use crate::bank::{AccountId, BankEvent};
use crate::support::*;

/// Amounts above the limit cannot be applied until the limit is raised.
pub(crate) const LIMITED: &str = "-- dialect: sqlite
-- on-error: park
create table balances (account text primary key, amount integer not null, deposits integer not null);
create table allowed (most integer not null);
insert into allowed values (100);
create trigger too_much before insert on balances when new.amount > (select most from allowed)
    begin select raise(abort, 'the amount is above the limit'); end;
-- on deposited
-- require: amount
insert into balances values ($entity, :amount, 1)
on conflict do update set amount = amount + excluded.amount, deposits = deposits + 1;
-- on raised
update allowed set most = :most;
";

pub(crate) const ALL: &str = "select account, amount from balances order by account";

pub(crate) fn text_rows(views: &Views, sql: &str) -> Vec<(String, i64)> {
    let pair = |row: Vec<SqlValue>| match &row[..] {
        [SqlValue::Text(text), SqlValue::Integer(number)] => (text.clone(), *number),
        other => panic!("{other:?}"),
    };
    rows(views, sql).into_iter().map(pair).collect()
}

pub(crate) fn pairs(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(text, number)| ((*text).to_owned(), *number)).collect()
}

pub(crate) fn parked(views: &Views) -> Vec<(String, u64)> {
    let parked = views.parked("balances").unwrap();
    parked.iter().map(|one| (one.stream.clone(), one.version.get())).collect()
}

fn raised(most: i64) -> NewEvent {
    event("limits-1", "raised", &format!(r#"{{"most": {most}}}"#))
}

pub(crate) fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

fn skip(views: &Views, name: &str, through: u64) -> Result<Replayed, ParkedError> {
    views.skip("balances", stream(name), Version::new(through), "ann", "a test")
}

#[test]
fn a_stream_whose_event_fails_is_held_and_the_others_go_on() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append(&store, [deposited(1, 10), deposited(2, 500), deposited(3, 1)]);
    let head = append(&store, [deposited(2, 1), deposited(1, 10), deposited(3, 1)]);
    let views = open_as(store.clone(), folder.path(), LIMITED);
    wait(&views, &head);
    assert_eq!(text_rows(&views, ALL), pairs(&[("1", 20), ("3", 2)]));
    assert_eq!(query(&views, ALL).unwrap().parked, ["account-2"]);
    let status = status(&views);
    assert_eq!(status.state.name(), "live");
    assert_eq!(status.parked.len(), 1);
    let one = &status.parked[0];
    assert_eq!((one.stream.as_str(), one.version.get(), one.position.sequence), ("account-2", 0, 2));
    assert!(one.error.contains("event `deposited`@1 at position 2 in stream `account-2`"), "{}", one.error);
    assert!(one.error.contains("the amount is above the limit"), "{}", one.error);
    let held = views.held("balances", &stream("account-2")).unwrap().unwrap();
    assert_eq!(held.events.iter().map(|event| event.version().get()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(views.held("balances", &stream("account-1")).unwrap(), None);
    // What is parked is kept over a restart, and later events of the stream are held too.
    drop(views);
    let views = open_as(store.clone(), folder.path(), LIMITED);
    wait(&views, &append(&store, [deposited(2, 1), deposited(1, 1)]));
    assert_eq!(text_rows(&views, ALL), pairs(&[("1", 21), ("3", 2)]));
    assert_eq!(parked(&views), [("account-2".to_owned(), 0)]);
}

#[test]
fn a_replay_applies_held_events_in_their_order_once_the_cause_is_mended() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append(&store, [deposited(1, 500), deposited(2, 600), deposited(1, 1)]);
    let head = append(&store, [deposited(1, 700), deposited(1, 2), deposited(3, 9)]);
    let views = open_as(store.clone(), folder.path(), LIMITED);
    wait(&views, &head);
    assert_eq!(parked(&views), [("account-1".to_owned(), 0), ("account-2".to_owned(), 0)]);
    // Nothing is mended: the streams stay where they are.
    let again = views.replay("balances", Vec::new()).unwrap();
    assert_eq!((again.streams, again.events, again.parked_again.len()), (2, 0, 2));
    wait(&views, &append(&store, [raised(550)]));
    // The stream goes on to the next event that fails. The other one was not named.
    let again = views.replay("balances", vec![stream("account-1")]).unwrap();
    assert_eq!((again.streams, again.events), (1, 2));
    assert_eq!(again.parked_again[0].version, Version::new(2));
    assert!(again.parked_again[0].error.contains("at position 4"), "{}", again.parked_again[0].error);
    assert_eq!(text_rows(&views, ALL), pairs(&[("1", 501), ("3", 9)]));
    assert_eq!(parked(&views), [("account-1".to_owned(), 2), ("account-2".to_owned(), 0)]);
    wait(&views, &append(&store, [raised(10_000)]));
    // A stream that is named twice is applied once.
    let done =
        views.replay("balances", ["account-1", "account-2", "account-1"].map(stream).to_vec()).unwrap();
    assert_eq!((done.streams, done.events, done.parked_again.len()), (2, 3, 0));
    assert_eq!(text_rows(&views, ALL), pairs(&[("1", 1_203), ("2", 600), ("3", 9)]));
    wait(&views, &append(&store, [deposited(1, 1)]));
    assert_eq!(text_rows(&views, ALL), pairs(&[("1", 1_204), ("2", 600), ("3", 9)]));
    assert_eq!(parked(&views), []);
    let error = views.replay("balances", vec![stream("account-1")]).unwrap_err();
    assert!(matches!(error, ParkedError::NotParked { .. }), "{error}");
}

#[test]
fn events_that_the_view_has_not_reached_cannot_be_skipped() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append(&store, [deposited(1, 500), deposited(2, 1)]);
    let failing = Failing::in_reads(false, &store, 0, 0, Fault::Overloaded);
    let views = open_as(failing.clone(), folder.path(), LIMITED);
    wait(&views, &head);
    failing.failures.store(u64::MAX, Ordering::SeqCst);
    let head = append(&store, [deposited(1, 1), deposited(1, 2)]);
    for through in [2, u64::MAX] {
        let error = skip(&views, "account-1", through).unwrap_err();
        assert!(
            matches!(error, ParkedError::NotReached { through, .. } if through == Version::new(2)),
            "{error}"
        );
    }
    assert_eq!(parked(&views), [("account-1".to_owned(), 0)]);
    failing.failures.store(0, Ordering::SeqCst);
    wait(&views, &head);
    assert_eq!(skip(&views, "account-1", 2).unwrap().events, 0);
    assert_eq!(text_rows(&views, ALL), pairs(&[("2", 1)]));
}

#[test]
fn a_replay_that_cannot_read_the_log_ends_and_the_view_goes_on() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append(&store, [deposited(1, 500), deposited(1, 1), deposited(2, 1)]);
    let failing = Failing::in_streams(&store, 2, Fault::Closed);
    let views = open_as(failing, folder.path(), LIMITED);
    wait(&views, &head);
    for error in [views.replay("balances", Vec::new()).map(drop), skip(&views, "account-1", 0).map(drop)] {
        let error = error.unwrap_err();
        assert!(matches!(error, ParkedError::Failed { .. }), "{error}");
        assert!(error.to_string().contains("cannot read the log"), "{error}");
    }
    wait(&views, &append(&store, [deposited(2, 1)]));
    assert_eq!(text_rows(&views, ALL), pairs(&[("2", 2)]));
    assert_eq!(parked(&views), [("account-1".to_owned(), 0)]);
    assert_eq!(skip(&views, "account-1", 0).unwrap().events, 1);
}

#[test]
fn a_skip_passes_some_events_for_good_and_applies_the_others() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append(&store, [deposited(1, 500), deposited(1, 1), deposited(1, 2), deposited(2, 500)]);
    let views = open_as(store.clone(), folder.path(), LIMITED);
    wait(&views, &head);
    let done = skip(&views, "account-1", 0).unwrap();
    assert_eq!((done.streams, done.events, done.parked_again.len()), (1, 2, 0));
    assert_eq!(text_rows(&views, ALL), pairs(&[("1", 3)]));
    // No further than the stream goes: later events are applied.
    assert_eq!(skip(&views, "account-2", u64::MAX).unwrap().events, 0);
    wait(&views, &append(&store, [deposited(2, 7)]));
    assert_eq!(text_rows(&views, ALL), pairs(&[("1", 3), ("2", 7)]));
    assert!(matches!(skip(&views, "account-2", 0).unwrap_err(), ParkedError::NotParked { .. }));
    wait(&views, &append(&store, [deposited(2, 500)]));
    assert!(
        matches!(skip(&views, "account-2", 1).unwrap_err(), ParkedError::NotHeld { first, .. } if first == Version::new(2))
    );
}

#[test]
fn the_policy_can_change_without_a_rebuild() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append(&store, [deposited(1, 1), deposited(2, 500), deposited(3, 1)]);
    let stopping = LIMITED.replace("-- on-error: park\n", "");
    let views = open_as(store.clone(), folder.path(), &stopping);
    assert_eq!(stopped(&views, &head).event().unwrap().position.sequence, 2);
    let before = status(&views);
    let reloaded = views.reload(vec![Ok(definition(LIMITED))]);
    assert_eq!(reloaded.changed, ["balances"]);
    wait(&views, &head);
    assert_eq!(parked(&views), [("account-2".to_owned(), 0)]);
    assert_eq!((status(&views).hash, status(&views).rebuilt), (before.hash, None));
    // A stream that is parked stays parked; the next one stops the view.
    views.reload(vec![Ok(definition(&stopping))]);
    let head = append(&store, [deposited(2, 1), deposited(1, 1), deposited(4, 500)]);
    assert_eq!(stopped(&views, &head).event().unwrap().stream, "account-4");
    assert_eq!(parked(&views), [("account-2".to_owned(), 0)]);
}

#[test]
fn a_rebuilt_view_and_one_of_the_past_park_by_themselves() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append(&store, [deposited(1, 1), deposited(2, 500), deposited(3, 1)]);
    let past = append(&store, [deposited(2, 5), deposited(1, 1)]);
    let views = open_as(store.clone(), folder.path(), LIMITED);
    wait(&views, &past);
    skip(&views, "account-2", 0).unwrap();
    assert_eq!(text_rows(&views, ALL), pairs(&[("1", 2), ("2", 5), ("3", 1)]));
    wait(&views, &append(&store, [raised(1_000)]));
    drop(views);
    // Another definition is a new version, which begins without parked streams and skips nothing.
    let other = LIMITED.replace("-- on raised", "-- on raised, lowered");
    let views = open_as(store.clone(), folder.path(), &other);
    pollster::block_on(views.wait_until_built("balances")).unwrap();
    assert_eq!(parked(&views), [("account-2".to_owned(), 0)]);
    let view = Evaluation::new(&*store, &definition(LIMITED)).at(&past.into()).unwrap();
    let answer =
        view.query("select count(*), sum(amount) from balances", &[], &QueryLimits::default()).unwrap();
    assert_eq!((answer.rows, answer.parked), (integers(&[2, 3]), vec!["account-2".to_owned()]));
}

#[test]
fn a_view_stops_when_too_many_streams_are_parked_and_a_replay_starts_it_again() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append(&store, (0..1_024).map(|account| deposited(account, 500)));
    let head = append(&store, [deposited(2_000, 1), deposited(0, 1), deposited(3_000, 500), raised(1_000)]);
    let views = open_as(store.clone(), folder.path(), LIMITED);
    let error = stopped(&views, &head);
    assert!(
        matches!(&*error, RunError::TooManyParked { event, .. } if event.stream == "account-3000"),
        "{error}"
    );
    assert!(error.to_string().contains("holds 1024 streams back"), "{error}");
    assert_eq!(parked(&views).len(), 1_024);
    // One of them makes room for the next.
    assert_eq!(skip(&views, "account-7", 0).unwrap().streams, 1);
    wait(&views, &head);
    assert_eq!(parked(&views).len(), 1_024);
    let done = views.replay("balances", Vec::new()).unwrap();
    assert_eq!((done.streams, done.events, done.parked_again.len()), (1_024, 1_025, 0));
}

#[test]
fn a_paused_view_takes_no_orders() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append(&store, [deposited(1, 500)]);
    let views = Arc::new(open_as(store.clone(), folder.path(), LIMITED));
    wait(&views, &head);
    let consumers = views.consumers();
    consumers[0]
        .set_paused(Some(gesta_consumer::Paused { by: "ann".into(), since: Timestamp::from_nanos(0) }));
    let (asking, orders) = (Arc::clone(&views), std::thread::spawn);
    let asked = orders(move || skip(&asking, "account-1", 0));
    // It waits for the pause to end.
    consumers[0].set_paused(None);
    assert_eq!(asked.join().unwrap().unwrap().streams, 1);
}

#[derive(Clone, Row)]
#[row("entries")]
struct Entry {
    #[row(key)]
    account: AccountId,
    #[row(key)]
    position: u64,
    /// The number of entries of the account before this one.
    before: u64,
}

#[derive(Clone, Row)]
#[row("counts")]
struct Count {
    #[row(key)]
    account: AccountId,
    entries: u64,
}

/// Refuses the events of some positions, and stands still at another one.
struct Entries {
    /// Every event whose position is a multiple of this fails.
    refuses: Arc<AtomicU64>,
    gate: Option<u64>,
}

impl RowView for Entries {
    const NAME: &'static str = "balances";
    const ON_ERROR: OnError = OnError::Park;
    type Event = BankEvent;
    type Rows = (Entry, Count);

    fn apply(
        &self,
        (entries, counts): (&mut Rows<Entry>, &mut Rows<Count>),
        event: &Recorded<BankEvent>,
    ) -> Result<(), ViewError> {
        let position = event.position().sequence;
        if position.is_multiple_of(self.refuses.load(Ordering::SeqCst)) {
            return Err("it is refused".into());
        }
        let account = event.key::<AccountId>().ok_or("not an account")?;
        let count = counts.get_or_put(&account, || Count { account: account.clone(), entries: 0 })?;
        entries.put(Entry { account, position, before: count.entries });
        count.entries += 1;
        if self.gate == Some(position) {
            std::io::stdout().write_all(b"at the gate\n").expect("the test reads");
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }
}

const EVENTS: u64 = 600;

fn log() -> (Arc<MemoryStore>, Checkpoint) {
    let store = store();
    let head = append_deposits(&store, EVENTS);
    (store, head)
}

fn open_entries(store: &Arc<MemoryStore>, folder: &Path, refuses: u64, gate: Option<u64>) -> Views {
    let view = Entries { refuses: Arc::new(refuses.into()), gate };
    let definitions = vec![row_view(view, Dialect::Sqlite)];
    Views::open_with(store.clone(), folder.to_owned(), definitions, &page_of(50)).unwrap()
}

/// The process that is killed: while it parks, or while it replays.
#[test]
#[ignore = "only the test below runs it"]
fn the_process_that_is_killed() {
    let variable = |name| std::env::var(name).unwrap();
    let folder = variable("GESTA_TEST_FOLDER");
    let (store, head) = log();
    let gate = variable("GESTA_TEST_GATE").parse().ok();
    let views = open_entries(&store, folder.as_ref(), variable("GESTA_TEST_REFUSES").parse().unwrap(), gate);
    wait(&views, &head);
    views.replay("balances", Vec::new()).unwrap();
    panic!("it was killed before");
}

fn start_process(folder: &Path, refuses: u64, gate: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "parking::the_process_that_is_killed", "--ignored", "--nocapture"]);
    command.env("GESTA_TEST_FOLDER", folder);
    command.env("GESTA_TEST_REFUSES", refuses.to_string()).env("GESTA_TEST_GATE", gate.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill_at(folder: &Path, refuses: u64, gate: u64) {
    let mut process = start_process(folder, refuses, gate);
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("at the gate")), "gate {gate}");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn nothing_is_lost_and_nothing_counts_twice_over_kills() {
    let folder = tempfile::tempdir().unwrap();
    // Events 101, 202, … fail, each in another account. In pages that park streams, and in pages after them:
    for gate in [90, 110, 205, 350] {
        kill_at(folder.path(), 101, gate);
    }
    let (store, head) = log();
    let views = open_entries(&store, folder.path(), 101, None);
    wait(&views, &head);
    let streams = parked(&views);
    assert_eq!(streams.len(), 5);
    drop(views);
    // All is mended. In the replay of each of three streams, at its last event, after which only the commit is missing:
    for (at, (name, _)) in streams.iter().enumerate().take(3) {
        let last = (1..=EVENTS).rev().find(|position| name == &format!("account-{}", (position - 1) % 10));
        kill_at(folder.path(), u64::MAX, last.unwrap());
        let views = open_entries(&store, folder.path(), u64::MAX, None);
        wait(&views, &head);
        assert_eq!(parked(&views).len(), streams.len() - at);
        views.replay("balances", vec![stream(name)]).unwrap();
    }
    let views = open_entries(&store, folder.path(), u64::MAX, None);
    wait(&views, &head);
    assert_eq!(views.replay("balances", Vec::new()).unwrap().streams, 2);
    let count = "select count(*), count(distinct position), sum(before) from entries";
    let (events, each) = (i64::try_from(EVENTS).unwrap(), 60);
    assert_eq!(rows(&views, count), integers(&[events, events, 10 * each * (each - 1) / 2]));
    let in_order =
        "select count(*) from entries a join entries b on a.account = b.account and a.position < b.position
        where a.before >= b.before";
    assert_eq!(rows(&views, in_order), integers(&[0]));
}

#[test]
fn an_event_whose_row_the_database_refuses_is_named_and_parked_and_no_other_one() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 30);
    wait(&open_entries(&store, folder.path(), u64::MAX, None), &head);
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|extension| extension == "db")).unwrap();
    // Account 4 may have no second entry. In a page, later events change the same row of `counts`.
    let connection = rusqlite::Connection::open(&file).unwrap();
    let trigger = "create trigger refuse before insert on counts when new.account = '4' and new.entries > 1
        begin select raise(abort, 'no more entries'); end;
        delete from entries; delete from counts; delete from gesta_parked";
    connection.execute_batch(trigger).unwrap();
    let start = pollster::block_on(store.locate(When::Start)).unwrap().to_string();
    connection.execute("update gesta_checkpoint set at = ?1", [start]).unwrap();
    drop(connection);
    let views = open_entries(&store, folder.path(), u64::MAX, None);
    wait(&views, &head);
    let parked = views.parked("balances").unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].stream.as_str(), parked[0].version.get()), ("account-4", 1));
    let expected = "the row `4` of the table `counts`: SQLite refuses it: no more entries";
    assert!(parked[0].error.contains(expected), "{}", parked[0].error);
    assert_eq!(rows(&views, "select sum(entries) from counts"), integers(&[28]));
}
