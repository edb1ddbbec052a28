//! A bank account. Transfers between two of them are in `account/transfer.rs`.
//!
//! An amount is a `NonZeroU32` of the currency's smallest unit, such as cents: at most about 43 million euros. The balance is
//! an `i64`, here and in SQL. It holds two thousand million of the largest deposits, so it cannot overflow in practice.

use std::num::NonZeroU32;

use gesta::{Command, Decider, Event, Key, Refusal, RefusalInfo, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use released::DebitedV1;
use {AccountCommand::*, AccountEvent::*, Refused::*};

mod released;
mod transfer;

pub use transfer::{HalfOf, Reverse, Transfer, transfer};

/// The id of an account. Its stream is `account-<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Key, Serialize, Deserialize, JsonSchema)]
#[key("account")]
pub struct AccountId(pub String);

/// The events of an account. The second release writes a fee as a withdrawal of its own, and audits no more. The third names
/// the other account of a transfer.
#[derive(Debug, PartialEq, Event)]
#[event(prefix = "bank.account", schema, retired("bank.account.audited" = 1))]
pub enum AccountEvent {
    /// The account was opened.
    Opened { owner: String },
    /// Money was deposited.
    Deposited {
        amount: NonZeroU32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        half_of: Option<HalfOf>,
    },
    /// Money was withdrawn.
    #[event(version = 2, upcast(1 = many DebitedV1), alias = "bank.account.debited")]
    Withdrawn {
        amount: NonZeroU32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        half_of: Option<HalfOf>,
    },
}

/// The commands to an account.
#[derive(Debug, Clone, Command)]
#[command(schema)]
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
    /// The two events are not the halves of one transfer between these accounts.
    NoTransfer,
    /// A reversal is not reversed: send the first command again.
    IsReversal,
}

/// The state of an account. The balance can be negative in a state at an earlier time, if the withdrawals up to that time are
/// known and the deposits are not.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// True after the account was opened.
    pub open: bool,
    /// The deposits minus the withdrawals.
    pub balance: i64,
}

#[gesta::snapshot(every = 500)]
impl State for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, event: AccountEvent) {
        match event {
            Opened { .. } => self.open = true,
            Deposited { amount, .. } => self.balance += i64::from(amount.get()),
            Withdrawn { amount, .. } => self.balance -= i64::from(amount.get()),
        }
    }
}

impl Decider for Account {
    type Id = AccountId;
    type Command = AccountCommand;
    type Error = Refused;

    const REFUSALS: &'static [RefusalInfo] = Refused::REFUSALS;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, Refused> {
        match command {
            Open { .. } if self.open => Err(AlreadyOpen),
            Open { owner } => Ok(vec![Opened { owner }]),
            _ if !self.open => Err(NotOpen),
            Deposit { amount } => Ok(vec![Deposited { amount, half_of: None }]),
            Withdraw { amount } if i64::from(amount.get()) > self.balance => Err(InsufficientFunds),
            Withdraw { amount } => Ok(vec![Withdrawn { amount, half_of: None }]),
        }
    }
}

#[cfg(test)]
mod tests;
