//! `gesta excerpt`: whole streams of a log become a log of their own, and a test runs on it.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use bank::{Account, AccountCommand, AccountId, Refused, Transfer};
use gesta::{Gesta, Meta, SendError, testing};
use gesta_core::{Batch, EventId, NewEvent, Query, Read, RecordedEvent, Timestamp};
use gesta_log::{LogStore, Options, batches_in};
use pollster::block_on;
use tempfile::TempDir;

use crate::harness::{gesta, serve};

fn account(name: &str) -> AccountId {
    AccountId(name.to_owned())
}

fn amount(cents: u32) -> NonZeroU32 {
    NonZeroU32::new(cents).unwrap()
}

/// A bank with the accounts of four people, in a closed log. Ann's money goes to Ben by a request with the correlation `case-7`.
fn bank(folder: &TempDir) -> (String, Vec<RecordedEvent>) {
    let path = folder.path().join("bank");
    let log = Arc::new(LogStore::open(&path, &Options::default()).unwrap());
    let bank = Gesta::new(log.clone());
    for name in ["carl", "ann", "dora", "ben"] {
        let open = AccountCommand::Open { owner: name.to_owned() };
        block_on(bank.send::<Account>(&account(name), open)).unwrap();
        let deposit = AccountCommand::Deposit { amount: amount(100) };
        block_on(bank.send::<Account>(&account(name), deposit)).unwrap();
    }
    let of_case = bank.with(Meta::new().correlation("case-7"));
    let transfer = |from, to, cents| Transfer { from: account(from), to: account(to), amount: amount(cents) };
    block_on(of_case.execute(transfer("ann", "ben", 70))).unwrap();
    block_on(bank.execute(transfer("dora", "carl", 50))).unwrap();
    block_on(bank.execute(transfer("ben", "carl", 20))).unwrap();
    drop((bank, of_case));
    let events = events_of(&log);
    (path.display().to_string(), events)
}

fn events_of(log: &LogStore) -> Vec<RecordedEvent> {
    let page = log.read_blocking(&Read::log(Query::All)).unwrap();
    assert!(page.end);
    page.events
}

/// What an excerpt keeps of an event: all but its position.
fn kept(events: &[RecordedEvent]) -> Vec<String> {
    let kept = |event: &RecordedEvent| {
        format!("{}@{} {} {:?}", event.stream(), event.version(), event.recorded_at(), event.as_bytes())
    };
    events.iter().map(kept).collect()
}

fn of_streams(events: &[RecordedEvent], streams: &[&str]) -> Vec<RecordedEvent> {
    events.iter().filter(|event| streams.contains(&event.stream())).cloned().collect()
}

fn events_in(folder: &Path) -> Vec<RecordedEvent> {
    batches_in(folder).unwrap().iter().flat_map(|batch| batch.events().to_vec()).collect()
}

#[test]
fn the_streams_of_a_case_become_a_log_on_which_a_test_repeats_it() {
    let folder = TempDir::new().unwrap();
    let (log, events) = bank(&folder);
    let to = folder.path().join("case-7");
    let case = ["excerpt", "--correlation", "case-7", "--to", to.to_str().unwrap()];
    let said = gesta(case.iter().chain(&["--dir", &log])).ok();
    assert!(said.starts_with("wrote 7 events of 2 streams to the log in"), "{said}");

    let excerpt = events_in(&to);
    assert_eq!(kept(&excerpt), kept(&of_streams(&events, &["account-ann", "account-ben"])));
    let positions = excerpt.iter().map(|event| event.position().sequence);
    assert!(positions.eq(1..=7), "positions are dense again");
    let batches = batches_in(&to).unwrap();
    assert!(batches.iter().any(|batch| batch.events().len() == 2), "the transfer is still one batch");

    // A test has the history without a change to the folder.
    let before = fs::read(to.join("manifest")).unwrap();
    let store = Arc::new(testing::recorded(batches));
    let bank = Gesta::new(store);
    let state = |name| block_on(bank.load::<Account>(&account(name))).unwrap().state.balance;
    assert_eq!((state("ann"), state("ben")), (30, 150));
    let again = Transfer { from: account("ann"), to: account("ben"), amount: amount(70) };
    let refused = block_on(bank.execute(again)).unwrap_err();
    assert!(matches!(refused, SendError::Refused(Refused::InsufficientFunds)), "{refused:?}");
    assert_eq!(fs::read(to.join("manifest")).unwrap(), before);

    // The excerpt is a log of its own, which takes appends.
    let log = LogStore::open(&to, &Options::default()).unwrap();
    assert_eq!(log.read_only(), None);
    let bank = Gesta::new(Arc::new(log));
    block_on(bank.send::<Account>(&account("ann"), AccountCommand::Deposit { amount: amount(5) })).unwrap();
}

#[test]
fn streams_are_chosen_by_query_and_cut_at_a_moment_from_folders_and_servers() {
    let folder = TempDir::new().unwrap();
    let (log, events) = bank(&folder);
    let tenth = &events[9];
    let until = tenth.recorded_at();
    let up_to = |events: &[RecordedEvent]| {
        let events = events.iter().filter(|event| event.recorded_at() <= until).cloned();
        events.collect::<Vec<_>>()
    };
    let checkpoint = {
        let log = LogStore::open(&log, &Options::default()).unwrap();
        block_on(gesta_core::EventStore::locate(&log, gesta_core::When::RecordedUpTo(until)))
            .unwrap()
            .to_string()
    };
    let server = serve(&["--dir", &log]);
    let all = [("--type", "bank.account.withdrawn"), ("--category", "account")];
    let expected = [up_to(&of_streams(&events, &["account-ann"])), up_to(&events)];
    for (number, ((flag, value), expected)) in all.iter().zip(&expected).enumerate() {
        let to = folder.path().join(format!("excerpt-{number}"));
        let arguments = ["excerpt", flag, value, "--until", &checkpoint, "--to", to.to_str().unwrap()];
        gesta(arguments.iter().chain(&["--from", &server.url])).ok();
        assert_eq!(kept(&events_in(&to)), kept(expected), "{flag}");
    }
    server.stop();
    let to = folder.path().join("until-time");
    let time = gesta_wire::format_time(until);
    let arguments = ["excerpt", "account-ann", "--until", &time, "--to", to.to_str().unwrap(), "--dir", &log];
    gesta(arguments).ok();
    assert_eq!(kept(&events_in(&to)), kept(&expected[0]));
}

#[test]
fn an_excerpt_of_nothing_or_into_a_folder_in_use_is_refused() {
    let folder = TempDir::new().unwrap();
    let (log, _) = bank(&folder);
    let to = folder.path().join("new").display().to_string();
    let nothing = gesta(["excerpt", "--to", &to, "--dir", &log]).failed(2);
    assert!(nothing.contains("no streams selected"), "{nothing}");
    let none = gesta(["excerpt", "account-nobody", "--to", &to, "--dir", &log]).failed(1);
    assert!(none.contains("no event matches"), "{none}");
    assert!(!Path::new(&to).exists(), "nothing is made for nothing");
    for within in [log.clone(), format!("{log}/segments/new")] {
        let refused = gesta(["excerpt", "--all", "--to", &within, "--dir", &log]).failed(2);
        assert!(refused.contains("lies in the store that it is taken from"), "{refused}");
    }

    let event = NewEvent::json(
        EventId::from_u128(1),
        "a".parse().unwrap(),
        "b".parse().unwrap(),
        Timestamp::MIN,
        "{}",
    );
    let other = LogStore::open(&to, &Options::default()).unwrap();
    other.append_blocking(Batch::new([event])).unwrap();
    drop(other);
    let onto = gesta(["excerpt", "--all", "--to", &to, "--dir", &log]).failed(1);
    assert!(onto.contains("holds the store"), "{onto}");
    assert_eq!(events_in(Path::new(&to)).len(), 1);
}
