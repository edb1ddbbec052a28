//! A bank account, and the transfer between two of them.
//!
//! An amount is a `NonZeroU32` of the smallest unit of the currency, such as cents: at most some 43 million euros at once. So the
//! balance, an `i64` here and in SQL, has room for two thousand million of the largest deposits, and cannot overflow.

use std::num::NonZeroU32;

use gesta::{At, Command, Decider, Event, Key, NewFact, Refusal, State, decision};
use serde::{Deserialize, Serialize};

use {AccountCommand::*, AccountEvent::*, Refused::*};

/// The id of an account: its stream is `account-<id>`.
#[derive(Debug, Clone, Key, Deserialize)]
#[key("account")]
pub struct AccountId(pub String);

/// What happens to an account.
#[derive(Debug, Event)]
#[event(prefix = "bank.account")]
pub enum AccountEvent {
    /// It can be used from now on.
    Opened { owner: String },
    /// Money came in.
    Deposited { amount: NonZeroU32 },
    /// Money went out.
    Withdrawn { amount: NonZeroU32 },
}

/// What an account can be asked to do.
#[derive(Debug, Clone, Command)]
pub enum AccountCommand {
    /// Take an owner.
    Open { owner: String },
    /// Take money in.
    Deposit { amount: NonZeroU32 },
    /// Give money out.
    Withdraw { amount: NonZeroU32 },
}

/// Why the bank refuses.
#[derive(Debug, PartialEq, Refusal)]
pub enum Refused {
    /// The account is already open.
    AlreadyOpen,
    /// The account is not open.
    NotOpen,
    /// The account has insufficient funds.
    InsufficientFunds,
}

/// What is known of an account. The balance has a sign for a history that is cut by time, which may show money go out before it came
/// in.
#[derive(Debug, Default, Serialize)]
pub struct Account {
    /// Whether it has been opened.
    pub open: bool,
    /// What came in less what went out.
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

/// Moves money from one account to another: both change, or neither.
#[decision]
pub fn transfer(from: &At<Account>, to: &At<Account>, amount: NonZeroU32) -> Result<Vec<NewFact>, Refused> {
    Ok([from.ask(Withdraw { amount })?, to.ask(Deposit { amount })?].concat())
}

#[cfg(test)]
mod tests;
