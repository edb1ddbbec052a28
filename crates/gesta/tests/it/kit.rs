//! The store that fails, many commands at once, and requests of the test kit.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use gesta::testing::{Fault, Flaky, block_on, hot, hot_seed, http, json, memory};
use gesta::{Command, Decider, Event, Key, NewFact, State};
use gesta_core::{
    AppendError, Batch, EventId, EventStore, Expected, NewEvent, Query, Read, ReadError, Timestamp, Version,
};
use serde::{Deserialize, Serialize};

use crate::app::bank;
use crate::domain::{Account, AccountCommand, AccountEvent, AccountId};

fn event(number: u128) -> NewEvent {
    let (stream, kind) = ("counter-1".parse().unwrap(), "counted".parse().unwrap());
    NewEvent::json(EventId::from_u128(number), stream, kind, Timestamp::from_nanos(1), "{}")
}

/// Appends events one after the other, each until it has a clear answer. Returns what was answered and done.
fn append_all(seed: u64) -> (Vec<String>, Vec<u64>) {
    let inner = Arc::new(memory());
    let store = Flaky::new(Arc::clone(&inner) as _, seed);
    let mut answers = Vec::new();
    for number in 0..200_u64 {
        let expected =
            number.checked_sub(1).map_or(Expected::None, |last| Expected::Exactly(Version::new(last)));
        let batch =
            Batch::new([event(u128::from(number) + 1)]).expect("counter-1".parse().unwrap(), expected);
        loop {
            let answer = block_on(store.append(batch.clone()));
            let is_clear = !matches!(
                answer,
                Err(AppendError::InDoubt { .. } | AppendError::Overloaded | AppendError::Unavailable { .. })
            );
            answers.push(format!("{answer:?}"));
            if is_clear {
                assert_eq!(answer.unwrap().places[0].version, Version::new(number), "seed {seed}");
                break;
            }
        }
        let read = block_on(store.read(Read::log(Query::All)));
        assert!(matches!(read, Ok(_) | Err(ReadError::Unavailable { .. })), "{read:?}");
    }
    assert_eq!(inner.read_now(&Read::log(Query::All)).unwrap().events.len(), 200, "each was written once");
    let faults = [
        Fault::Refused,
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::Late,
        Fault::Arrived,
        Fault::FailedRead,
    ];
    (answers, faults.map(|fault| store.count(fault)).to_vec())
}

#[test]
fn a_flaky_store_does_everything_that_it_says_and_the_same_under_the_same_seed() {
    let (answers, counts) = append_all(3);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(append_all(3), (answers.clone(), counts));
    assert_ne!(append_all(4).0, answers);
}

#[test]
fn many_clients_of_one_account_are_answered_right() {
    let deposits = (0..20).map(|_| AccountCommand::Deposit { amount: 3 });
    let withdrawals = (0..20).map(|_| AccountCommand::Withdraw { amount: 4 });
    let open = || AccountCommand::Open { owner: "ann".to_owned() };
    let commands = [open(), AccountCommand::Check].into_iter().chain(deposits).chain(withdrawals);
    hot::<Account>(&AccountId("ann".to_owned()), commands.chain([open(), AccountCommand::Check]), 8);
}

#[derive(Debug, Clone, Key)]
#[key("dice")]
struct DiceId(String);

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "dice")]
enum DiceEvent {
    Rolled { points: u32 },
}

#[derive(Debug, Clone, Command)]
enum DiceCommand {
    Roll,
    Look,
}

#[derive(Debug)]
struct Tired(u32);

impl std::fmt::Display for Tired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tired after {}", self.0)
    }
}

impl std::error::Error for Tired {}

thread_local! {
    static ROLLS: Cell<u32> = const { Cell::new(0) };
}

/// Decides by what is not in its state: a mistake.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Dice;

impl State for Dice {
    type Event = DiceEvent;

    fn evolve(&mut self, _: DiceEvent) {}
}

impl Decider for Dice {
    type Id = DiceId;
    type Command = DiceCommand;
    type Error = Tired;

    fn decide(&self, command: DiceCommand) -> Result<Vec<DiceEvent>, Tired> {
        let points = ROLLS.get() + 1;
        ROLLS.set(points);
        match command {
            DiceCommand::Roll => Ok(vec![DiceEvent::Rolled { points }]),
            DiceCommand::Look => Err(Tired(points)),
        }
    }
}

/// The message of a run that fails.
fn failure(commands: Vec<DiceCommand>) -> String {
    let run = || hot_seed::<Dice>(&DiceId("d".to_owned()), commands, 1, 5);
    let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_decision_that_the_state_does_not_explain_is_found_with_its_seed() {
    let said = failure(vec![DiceCommand::Roll]);
    assert!(said.starts_with("seed 5: command 0 recorded ") && said.contains("dice.rolled"), "{said}");
    let said = failure(vec![DiceCommand::Look]);
    assert!(said.starts_with("seed 5: command 0 was refused (Tired("), "{said}");
    assert!(said.contains("no state in between decides so"), "{said}");
}

#[test]
fn a_request_is_answered_and_its_events_are_shown() {
    let id = || AccountId("ann".to_owned());
    let opened = || AccountEvent::Opened { owner: "Ann".to_owned() };
    let answer = http(bank())
        .given([NewFact::new(&id(), opened())])
        .post("/commands/account/ann/deposit", json!({"amount": 5}))
        .then_status(200)
        .then_events([NewFact::new(&id(), AccountEvent::Deposited { amount: 5 })])
        .and()
        .get("/states/account/ann")
        .then_value("/state/balance", json!(5));
    assert_eq!(answer.body()["version"], 1);
    let wrong = || answer.then_events([NewFact::new(&id(), opened())]);
    let said = catch_unwind(AssertUnwindSafe(|| drop(wrong()))).unwrap_err();
    let said = said.downcast_ref::<String>().unwrap();
    assert!(
        said.contains("account-ann: bank.account.opened") && said.contains("but got\n    nothing"),
        "{said}"
    );
}
