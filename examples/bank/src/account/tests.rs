//! The rules of accounts and transfers.

use std::num::NonZeroU32;

use gesta::testing::{given, given_facts};
use gesta::{Decider, NewFact};

use super::*;

fn cents(amount: u32) -> NonZeroU32 {
    NonZeroU32::new(amount).expect("the amounts in tests are positive")
}

fn opened() -> AccountEvent {
    Opened { owner: "ann".to_owned() }
}

fn account(id: &str) -> AccountId {
    AccountId(id.to_owned())
}

/// The events of an account with some money.
fn funded(id: &str, amount: u32) -> [NewFact; 2] {
    let id = account(id);
    [Account::emit(&id, opened()), Account::emit(&id, Deposited { amount: cents(amount) })]
}

fn transfer_of(amount: u32) -> Transfer {
    Transfer { from: account("ann"), to: account("ben"), amount: cents(amount) }
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
    let deposited = || Deposited { amount: cents(5) };
    given::<Account>([opened()]).when(Deposit { amount: cents(5) }).then([deposited()]);
    let emptied = Withdrawn { amount: cents(5) };
    given::<Account>([opened(), deposited()]).when(Withdraw { amount: cents(5) }).then([emptied]);
}

#[test]
fn an_account_cannot_be_overdrawn() {
    let history = [opened(), Deposited { amount: cents(5) }];
    given::<Account>(history).when(Withdraw { amount: cents(6) }).then_refused(InsufficientFunds);
}

#[test]
fn the_largest_amounts_add_up() {
    let history = [opened(), Deposited { amount: NonZeroU32::MAX }, Deposited { amount: NonZeroU32::MAX }];
    let withdrawn = Withdrawn { amount: NonZeroU32::MAX };
    given::<Account>(history).when(Withdraw { amount: NonZeroU32::MAX }).then([withdrawn]);
}

#[test]
fn a_transfer_moves_money_between_two_accounts() {
    given_facts([funded("ann", 10), funded("ben", 1)].concat()).when(transfer_of(10)).then([
        Account::emit(&account("ann"), Withdrawn { amount: cents(10) }),
        Account::emit(&account("ben"), Deposited { amount: cents(10) }),
    ]);
}

#[test]
fn a_transfer_needs_both_accounts_and_the_money() {
    given_facts(funded("ann", 10)).when(transfer_of(1)).then_refused(NotOpen);
    given_facts(funded("ben", 10)).when(transfer_of(1)).then_refused(NotOpen);
    let both = [funded("ann", 10), funded("ben", 1)].concat();
    given_facts(both).when(transfer_of(11)).then_refused(InsufficientFunds);
}

#[test]
fn the_message_of_a_refusal_is_its_documentation() {
    assert_eq!(InsufficientFunds.to_string(), "the account has insufficient funds");
}

#[test]
fn the_whole_bank_has_at_most_65_lines() {
    let source = include_str!("../account.rs");
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    let count = lines.count();
    assert!(count <= 65, "{count} lines of code: keep the example short");
}
