//! The domain of the simulation: accounts, holds on the same streams, and a count over a tag.
//!
//! Every event and every refusal names what it was decided on, so that a decision on anything else shows.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use crate::{At, Decision, Event, NewFact, State, StreamName};

/// The events of accounts, as accounts fold them.
#[derive(Debug, Event)]
#[event(prefix = "sim.account", ignore)]
pub(in crate::entity) enum AccountEvent {
    Opened {
        by: u64,
    },
    Moved {
        by: u64,
        amount: i64,
        after: i64,
    },
    #[event(name = "sim.account.grew")]
    Grew {
        by: u64,
        amount: i64,
        after: i64,
        #[tag]
        size: String,
    },
}

#[derive(Default)]
pub(in crate::entity) struct Account {
    pub(in crate::entity) is_open: bool,
    pub(in crate::entity) balance: i64,
    pub(in crate::entity) moves: u64,
}

impl State for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { .. } => self.is_open = true,
            AccountEvent::Moved { amount, .. } | AccountEvent::Grew { amount, .. } => {
                self.moves += 1;
                let luck = may_panic();
                self.balance += amount;
                assert_no_luck(luck);
            }
        }
    }
}

/// The events of the same streams, as holds fold them.
#[derive(Debug, Event)]
#[event(prefix = "sim.account", ignore)]
pub(in crate::entity) enum HoldEvent {
    Opened { by: u64 },
    Held { by: u64, amount: i64, after: i64 },
}

#[derive(Default)]
pub(in crate::entity) struct Holds {
    pub(in crate::entity) is_open: bool,
    pub(in crate::entity) held: i64,
}

impl State for Holds {
    type Event = HoldEvent;

    fn evolve(&mut self, event: HoldEvent) {
        match event {
            HoldEvent::Opened { .. } => self.is_open = true,
            HoldEvent::Held { amount, .. } => {
                let luck = may_panic();
                self.held += amount;
                assert_no_luck(luck);
            }
        }
    }
}

/// The events with the tag `size:big`, in any stream.
#[derive(Default)]
pub(in crate::entity) struct Big {
    pub(in crate::entity) count: u64,
}

#[derive(Debug, Event)]
#[event(prefix = "sim.account")]
pub(in crate::entity) enum BigEvent {
    Grew { amount: i64 },
}

impl State for Big {
    type Event = BigEvent;

    fn evolve(&mut self, _: BigEvent) {
        self.count += 1;
    }
}

/// What a command wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Want {
    Open,
    Deposit(i64),
    Withdraw(i64),
    /// Accepted without an event if the account is open.
    Check,
    /// Holds money, by the holds alone.
    Hold(i64),
    /// Withdraws what is not held: two states of one stream.
    WithdrawFree(i64),
    Transfer(i64),
    /// A deposit of 1, if the number of big deposits anywhere is even.
    Bonus,
}

/// One command: its wish and its accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// Repeats under one key share it.
    pub(super) by: u64,
    pub(super) want: Want,
    pub(super) on: StreamName,
    /// The other account of a transfer.
    pub(super) to: StreamName,
}

/// Why an order was refused, with all that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

type Facts = Result<Vec<NewFact>, Refused>;

impl Order {
    fn moved(&self, stream: &StreamName, amount: i64, account: &Account) -> NewFact {
        let (by, after) = (self.by, account.balance + amount);
        let event = match amount {
            6.. => AccountEvent::Grew { by, amount, after, size: "big".to_owned() },
            _ => AccountEvent::Moved { by, amount, after },
        };
        NewFact::of_stream(stream.clone(), event)
    }

    fn on_account(&self, account: &Account) -> Facts {
        decide_may_panic();
        let closed = || Err(Refused("closed".to_owned()));
        match self.want {
            Want::Open if account.is_open => Err(Refused(format!("open, {} moves", account.moves))),
            Want::Open => Ok(vec![NewFact::of_stream(self.on.clone(), AccountEvent::Opened { by: self.by })]),
            _ if !account.is_open => closed(),
            Want::Deposit(amount) => Ok(vec![self.moved(&self.on, amount, account)]),
            Want::Withdraw(amount) if account.balance < amount => {
                Err(Refused(format!("funds {} after {} moves", account.balance, account.moves)))
            }
            Want::Withdraw(amount) => Ok(vec![self.moved(&self.on, -amount, account)]),
            _ => Ok(vec![]),
        }
    }

    fn on_holds(&self, holds: &Holds) -> Facts {
        let Want::Hold(amount) = self.want else { unreachable!("only holds are decided on holds alone") };
        if !holds.is_open {
            return Err(Refused("closed".to_owned()));
        }
        if holds.held + amount > 12 {
            return Err(Refused(format!("held {}", holds.held)));
        }
        let after = holds.held + amount;
        Ok(vec![NewFact::of_stream(self.on.clone(), HoldEvent::Held { by: self.by, amount, after })])
    }

    fn on_both(&self, account: &Account, holds: &Holds) -> Facts {
        let Want::WithdrawFree(amount) = self.want else { unreachable!("only this reads both states") };
        if !account.is_open {
            return Err(Refused("closed".to_owned()));
        }
        if account.balance - holds.held < amount {
            return Err(Refused(format!("free {} - {}", account.balance, holds.held)));
        }
        Ok(vec![self.moved(&self.on, -amount, account)])
    }

    fn on_two(&self, from: &Account, to: &Account) -> Facts {
        let Want::Transfer(amount) = self.want else { unreachable!("only transfers read two accounts") };
        if !from.is_open || !to.is_open {
            return Err(Refused(format!("closed {} {}", from.is_open, to.is_open)));
        }
        if from.balance < amount {
            return Err(Refused(format!("funds {}, other {}", from.balance, to.balance)));
        }
        Ok(vec![self.moved(&self.on, -amount, from), self.moved(&self.to, amount, to)])
    }

    fn on_big(&self, account: &Account, big: &Big) -> Facts {
        if !account.is_open {
            return Err(Refused(format!("closed, {} big", big.count)));
        }
        if big.count % 2 == 1 {
            return Err(Refused(format!("{} big, balance {}", big.count, account.balance)));
        }
        Ok(vec![self.moved(&self.on, 1, account)])
    }
}

macro_rules! order_decision {
    ($name:ident, $state:ty, $boundary:expr, $decide:expr) => {
        #[derive(Clone)]
        pub(super) struct $name(pub(super) Order);

        impl Decision for $name {
            type State = $state;
            type Error = Refused;

            fn boundary(&self) -> $state {
                let boundary: fn(&Order) -> $state = $boundary;
                boundary(&self.0)
            }

            fn decide(self, state: &$state) -> Facts {
                let decide: fn(&Order, &$state) -> Facts = $decide;
                decide(&self.0, state)
            }
        }
    };
}

order_decision!(OnAccount, At<Account>, |order| At::stream(order.on.clone()), |order, account| order
    .on_account(account));
order_decision!(OnHolds, At<Holds>, |order| At::stream(order.on.clone()), |order, holds| order
    .on_holds(holds));
order_decision!(
    OnBoth,
    (At<Account>, At<Holds>),
    |order| (At::stream(order.on.clone()), At::stream(order.on.clone())),
    |order, (account, holds)| order.on_both(account, holds)
);
order_decision!(
    OnTwo,
    (At<Account>, At<Account>),
    |order| (At::stream(order.on.clone()), At::stream(order.to.clone())),
    |order, (from, to)| order.on_two(from, to)
);
order_decision!(
    OnBig,
    (At<Account>, At<Big>),
    |order| (At::stream(order.on.clone()), At::tagged("size", "big")),
    |order, (account, big)| order.on_big(account, big)
);

thread_local! {
    /// Folds and decisions until the next panic.
    static PANIC_AFTER: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// A panic that the world has planned. It is raised without the hook, so that it prints nothing.
pub(super) struct Planned;

/// Panics after that number of folds and decisions on this thread.
pub(super) fn panic_after(steps: u64) {
    PANIC_AFTER.set(steps);
}

fn may_panic() -> bool {
    let left = PANIC_AFTER.get();
    PANIC_AFTER.set(if left == 0 { u64::MAX } else { left.saturating_sub(u64::from(left != u64::MAX)) });
    left == 0
}

fn assert_no_luck(panics: bool) {
    if panics {
        std::panic::resume_unwind(Box::new(Planned));
    }
}

fn decide_may_panic() {
    assert_no_luck(may_panic());
}
