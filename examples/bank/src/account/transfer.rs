//! Transfers between two accounts, and their reversals.

use std::num::NonZeroU32;

use gesta::schema::{Json, schema_of};
use gesta::{
    At, Decider, Decision, EventId, EventRef, FieldInfo, Key, NewFact, Refusal, RefusalInfo, State, decision,
    event_id,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Account, AccountCommand, AccountEvent, AccountId, Refused};

/// The transfer or reversal that a withdrawal and a deposit are the halves of, with the account of the other half.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HalfOf {
    /// A transfer.
    Transfer(AccountId),
    /// A reversal of a transfer.
    Reversal(AccountId),
}

/// Moves money from one account to another. Both accounts change, or neither.
#[decision(schema)]
pub fn transfer(from: &At<Account>, to: &At<Account>, amount: NonZeroU32) -> Result<Vec<NewFact>, Refused> {
    move_money(from, to, amount, HalfOf::Transfer).map(Vec::from)
}

/// The two halves of a movement. Each account keeps its own rules.
fn move_money(
    from: &At<Account>,
    to: &At<Account>,
    amount: NonZeroU32,
    half_of: fn(AccountId) -> HalfOf,
) -> Result<[NewFact; 2], Refused> {
    from.decide(AccountCommand::Withdraw { amount })?;
    to.decide(AccountCommand::Deposit { amount })?;
    Ok([
        from.emit(AccountEvent::Withdrawn { amount, half_of: to.id().map(half_of) }),
        to.emit(AccountEvent::Deposited { amount, half_of: from.id().map(half_of) }),
    ])
}

/// Moves the money of a transfer back, once. It names the two events of the transfer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reverse {
    /// The account that the money came from.
    pub from: AccountId,
    /// The id of the withdrawal there.
    #[serde(deserialize_with = "event_id")]
    #[schemars(with = "String")]
    pub withdrawal: EventId,
    /// The account that the money went to.
    pub to: AccountId,
    /// The id of the deposit there.
    #[serde(deserialize_with = "event_id")]
    #[schemars(with = "String")]
    pub deposit: EventId,
}

/// What one event has moved.
#[derive(Debug, Default)]
pub struct Moved {
    /// The amount: negative if it was withdrawn.
    amount: i64,
    half_of: Option<HalfOf>,
}

impl State for Moved {
    type Event = AccountEvent;

    fn evolve(&mut self, event: AccountEvent) {
        *self = match event {
            AccountEvent::Opened { .. } => Self::default(),
            AccountEvent::Deposited { amount, half_of } => Self { amount: amount.get().into(), half_of },
            AccountEvent::Withdrawn { amount, half_of } => Self { amount: -i64::from(amount.get()), half_of },
        }
    }
}

impl Decision for Reverse {
    type State = (At<Account>, At<Moved>, At<Account>, At<Moved>);
    type Error = Refused;

    const FIELDS: &'static [FieldInfo] = &[
        FieldInfo::id::<AccountId>("from"),
        FieldInfo::new("withdrawal", "EventId"),
        FieldInfo::id::<AccountId>("to"),
        FieldInfo::new("deposit", "EventId"),
    ];

    const REFUSALS: &'static [RefusalInfo] = Refused::REFUSALS;

    fn schema() -> Option<Json> {
        Some(schema_of::<Self>())
    }

    fn boundary(&self) -> Self::State {
        let Self { from, withdrawal, to, deposit } = self;
        (At::entity(from), At::event(from, *withdrawal), At::entity(to), At::event(to, *deposit))
    }

    fn decide(self, (from, withdrawn, to, deposited): &Self::State) -> Result<Vec<NewFact>, Refused> {
        let amount = self.amount(withdrawn, deposited)?;
        let event = |account: &AccountId, id| {
            let stream = account.stream().map_err(|_| Refused::NoTransfer)?;
            Ok(EventRef { stream, id })
        };
        let (withdrawal, deposit) = (event(&self.from, self.withdrawal)?, event(&self.to, self.deposit)?);
        let [back_out, back_in] = move_money(to, from, amount, HalfOf::Reversal)?;
        Ok(vec![back_out.reverses(deposit), back_in.reverses(withdrawal)])
    }
}

impl Reverse {
    /// The amount of the transfer whose halves the two events are.
    fn amount(&self, withdrawn: &Moved, deposited: &Moved) -> Result<NonZeroU32, Refused> {
        if [withdrawn, deposited].iter().any(|moved| matches!(moved.half_of, Some(HalfOf::Reversal(_)))) {
            return Err(Refused::IsReversal);
        }
        let is_half = |moved: &Moved, other: &AccountId| matches!(&moved.half_of, Some(HalfOf::Transfer(account)) if account == other);
        let is_transfer = is_half(withdrawn, &self.to)
            && is_half(deposited, &self.from)
            && withdrawn.amount == -deposited.amount;
        let amount = u32::try_from(deposited.amount).ok().and_then(NonZeroU32::new);
        amount.filter(|_| is_transfer).ok_or(Refused::NoTransfer)
    }
}

#[cfg(test)]
mod tests;
