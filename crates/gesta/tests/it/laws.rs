//! The laws of deciders find the mistakes that they are for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gesta::testing::{given_facts, laws};
use gesta::{Command, Decider, Event, Key, NewFact, Snapshots, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{AccountEvent, AccountId, Transfer};

#[derive(Debug, Clone, Key)]
#[key("cup")]
struct CupId(String);

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "cup")]
enum CupEvent {
    Filled {
        ml: u32,
        /// Lost on the way to the store.
        #[serde(skip)]
        by: u32,
    },
}

#[derive(Debug, Clone, Command)]
enum CupCommand {
    Fill { ml: u32 },
}

/// A cup with one mistake.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Cup<const MISTAKE: u8> {
    ml: u32,
    /// Kept in memory, and in no snapshot.
    #[serde(skip)]
    fillings: u32,
}

const EVOLVE_PANICS: u8 = 1;
const DECIDE_PANICS: u8 = 2;
const SNAPSHOT_FORGETS: u8 = 3;

impl<const MISTAKE: u8> State for Cup<MISTAKE> {
    type Event = CupEvent;

    fn evolve(&mut self, CupEvent::Filled { ml, .. }: CupEvent) {
        assert!(MISTAKE != EVOLVE_PANICS || self.ml + ml <= 100, "the cup runs over");
        self.ml += ml;
        self.fillings += u32::from(MISTAKE == SNAPSHOT_FORGETS);
    }

    fn snapshots() -> Option<Snapshots<Self>> {
        Some(Snapshots::new(1, 1, "Cup", "ml += ml"))
    }
}

impl<const MISTAKE: u8> Decider for Cup<MISTAKE> {
    type Id = CupId;
    type Command = CupCommand;
    type Error = std::convert::Infallible;

    fn decide(&self, CupCommand::Fill { ml }: CupCommand) -> Result<Vec<CupEvent>, Self::Error> {
        assert!(MISTAKE != DECIDE_PANICS || self.ml == 0, "the cup is not empty");
        Ok(vec![CupEvent::Filled { ml, by: 0 }])
    }
}

fn filled(ml: u32, by: u32) -> CupEvent {
    CupEvent::Filled { ml, by }
}

/// What breaks the laws of a cup whose first filling was by that person.
fn broken<const MISTAKE: u8>(by: u32) -> String {
    let check =
        || laws::<Cup<MISTAKE>>([vec![], vec![filled(60, by), filled(50, 0)]], [CupCommand::Fill { ml: 1 }]);
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("a law is broken");
    *panic.downcast::<String>().expect("the message is a text")
}

#[test]
fn a_decider_without_a_mistake_keeps_the_laws() {
    laws::<Cup<0>>([vec![], vec![filled(60, 0), filled(50, 0)]], [CupCommand::Fill { ml: 1 }]);
}

#[test]
fn each_mistake_breaks_a_law_that_names_it() {
    for (broken, expected) in [
        (broken::<EVOLVE_PANICS>(0), "history 1 breaks a law: `evolve` panics at version 1"),
        (
            broken::<DECIDE_PANICS>(0),
            "history 1 breaks a law: `decide` panics on Fill { ml: 1 } after 1 events",
        ),
        (
            broken::<SNAPSHOT_FORGETS>(0),
            "history 1 breaks a law: the state at version 0 is not kept: read back, it is another state",
        ),
        (broken::<0>(7), "history 1 breaks a law: event 0, `cup.filled`, is read back as"),
    ] {
        assert!(broken.starts_with(expected), "{broken}");
    }
}

#[test]
fn a_failing_test_of_a_decision_shows_which_events_its_boundary_selected() {
    let account = |id: &str| AccountId(id.to_owned());
    let opened = |id: &str| NewFact::new(&account(id), AccountEvent::Opened { owner: id.to_owned() });
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let transfer = Transfer { from: account("ann"), to: account("ben"), amount: 3 };
        given_facts(["ann", "ben", "carl"].map(opened)).when(transfer).then_nothing();
    }));
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    expect_test::expect![[r#"
        expected events, got a refusal
        given, and selected by the boundary
            account-ann: bank.account.opened {"owner":"ann"}
            account-ben: bank.account.opened {"owner":"ben"}
        given, and not selected
            account-carl: bank.account.opened {"owner":"carl"}
        expected
            nothing
        but got
            refused: InsufficientFunds { balance: 0, amount: 3 } (only 0 is left, 3 was asked for)
    "#]]
    .assert_eq(&message);
}
