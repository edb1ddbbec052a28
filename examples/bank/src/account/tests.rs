//! The rules of accounts.

use std::num::NonZeroU32;

use gesta::schema::{Catalog, LockFiles, prove};
use gesta::testing::{given, json, laws, stored_all};

use super::*;

fn cents(amount: u32) -> NonZeroU32 {
    NonZeroU32::new(amount).expect("the amounts in tests are positive")
}

fn opened() -> AccountEvent {
    Opened { owner: "ann".to_owned() }
}

fn deposited(amount: NonZeroU32) -> AccountEvent {
    Deposited { amount, half_of: None }
}

fn withdrawn(amount: NonZeroU32) -> AccountEvent {
    Withdrawn { amount, half_of: None }
}

#[test]
fn an_account_is_opened_once() {
    given::<Account>([]).when(Open { owner: "ann".to_owned() }).then([opened()]);
    given::<Account>([opened()]).when(Open { owner: "ben".to_owned() }).then_refused(AlreadyOpen);
}

#[test]
fn an_account_that_is_not_open_refuses_deposits_and_withdrawals() {
    given::<Account>([]).when(Deposit { amount: cents(5) }).then_refused(NotOpen);
    given::<Account>([]).when(Withdraw { amount: cents(5) }).then_refused(NotOpen);
}

#[test]
fn an_account_can_be_emptied() {
    let deposited = || deposited(cents(5));
    given::<Account>([opened()]).when(Deposit { amount: cents(5) }).then([deposited()]);
    let emptied = withdrawn(cents(5));
    given::<Account>([opened(), deposited()]).when(Withdraw { amount: cents(5) }).then([emptied]);
}

#[test]
fn an_account_cannot_be_overdrawn() {
    let history = [opened(), deposited(cents(5))];
    given::<Account>(history).when(Withdraw { amount: cents(6) }).then_refused(InsufficientFunds);
}

#[test]
fn the_largest_amounts_add_up() {
    let most = NonZeroU32::MAX;
    let history = [opened(), deposited(most), deposited(most)];
    given::<Account>(history).when(Withdraw { amount: most }).then([withdrawn(most)]);
}

#[test]
fn accounts_keep_the_laws_of_deciders() {
    let histories = [
        vec![],
        vec![opened()],
        vec![opened(), deposited(cents(5)), withdrawn(cents(3))],
        vec![opened(), deposited(NonZeroU32::MAX), deposited(NonZeroU32::MAX)],
        // By time, a withdrawal can come before the deposit that paid for it.
        vec![withdrawn(cents(3)), opened()],
    ];
    let amount = NonZeroU32::MAX;
    laws::<Account>(histories, [Open { owner: "ann".to_owned() }, Deposit { amount }, Withdraw { amount }]);
}

#[test]
fn a_withdrawal_of_the_first_release_is_read_with_its_fee() {
    let debited = |json| stored_all::<AccountEvent>("bank.account.debited", 1, json);
    assert_eq!(debited(json!({"amount": 100, "fee": 2})), [withdrawn(cents(100)), withdrawn(cents(2))]);
    assert_eq!(debited(json!({"amount": 100})), [withdrawn(cents(100))]);
    assert_eq!(stored_all::<AccountEvent>("bank.account.audited", 1, json!({"by": "ann"})), []);
}

#[test]
fn all_released_events_are_read() {
    let catalog = Catalog::new(crate::app().event_enums().iter().cloned()).unwrap();
    let lock = LockFiles::at(concat!(env!("CARGO_MANIFEST_DIR"), "/events.lock"));
    let proof = prove(&catalog, &lock).unwrap();
    assert_eq!(proof.findings, []);
    assert_eq!((proof.versions, proof.samples), (5, 8));
}

#[test]
fn the_message_of_a_refusal_is_its_documentation() {
    assert_eq!(InsufficientFunds.to_string(), "the account has insufficient funds");
}

#[test]
fn an_account_has_at_most_75_lines() {
    let source = include_str!("../account.rs");
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    let count = lines.count();
    assert!(count <= 75, "{count} lines of code: keep the example short");
}
