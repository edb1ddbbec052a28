//! A bank account, and the transfer between two of them.
//!
//! An amount is a `NonZeroU32` of the currency's smallest unit, such as cents: at most about 43 million euros. The balance is
//! an `i64`, here and in SQL. It holds two thousand million of the largest deposits, so it cannot overflow in practice.

use std::num::NonZeroU32;

use gesta::{At, Command, Decider, Event, Key, NewFact, Refusal, State, decision};
use serde::{Deserialize, Serialize};

use {AccountCommand::*, AccountEvent::*, Refused::*};

/// The id of an account. Its stream is `account-<id>`.
#[derive(Debug, Clone, Key, Deserialize)]
#[key("account")]
pub struct AccountId(pub String);

/// The events of an account.
#[derive(Debug, Event)]
#[event(prefix = "bank.account")]
pub enum AccountEvent {
    /// The account was opened.
    Opened { owner: String },
    /// Money was deposited.
    Deposited { amount: NonZeroU32 },
    /// Money was withdrawn.
    Withdrawn { amount: NonZeroU32 },
}

/// The commands to an account.
#[derive(Debug, Clone, Command)]
pub enum AccountCommand {
    /// Opens the account.
    Open { owner: String },
    /// Deposits money.
    Deposit { amount: NonZeroU32 },
    /// Withdraws money.
    Withdraw { amount: NonZeroU32 },
}

/// Why a command is refused.
#[derive(Debug, PartialEq, Refusal)]
pub enum Refused {
    /// The account is already open.
    AlreadyOpen,
    /// The account is not open.
    NotOpen,
    /// The account has insufficient funds.
    InsufficientFunds,
}

/// The state of an account. The balance can be negative in a state at an earlier time, if the withdrawals up to that time are
/// known and the deposits are not.
#[derive(Debug, Default, Serialize)]
pub struct Account {
    /// True after the account was opened.
    pub open: bool,
    /// The deposits minus the withdrawals.
    pub balance: i64,
}

impl State for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, event: AccountEvent) {
        match event {
            Opened { .. } => self.open = true,
            Deposited { amount } => self.balance += i64::from(amount.get()),
            Withdrawn { amount } => self.balance -= i64::from(amount.get()),
        }
    }
}

impl Decider for Account {
    type Id = AccountId;
    type Command = AccountCommand;
    type Error = Refused;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, Refused> {
        match command {
            Open { .. } if self.open => Err(AlreadyOpen),
            Open { owner } => Ok(vec![Opened { owner }]),
            _ if !self.open => Err(NotOpen),
            Deposit { amount } => Ok(vec![Deposited { amount }]),
            Withdraw { amount } if i64::from(amount.get()) > self.balance => Err(InsufficientFunds),
            Withdraw { amount } => Ok(vec![Withdrawn { amount }]),
        }
    }
}

/// Moves money from one account to another. Both accounts change, or neither.
#[decision]
pub fn transfer(from: &At<Account>, to: &At<Account>, amount: NonZeroU32) -> Result<Vec<NewFact>, Refused> {
    Ok([from.ask(Withdraw { amount })?, to.ask(Deposit { amount })?].concat())
}

#[cfg(test)]
mod tests;
