//! Accounts of `disintegrate` with `disintegrate-postgres`.

use disintegrate::serde::json::Json;
use disintegrate::{
    Decision, DecisionError, Event, EventSourcedStateStore, LoadState, NoSnapshot, StateMutate, StateQuery,
    WithSnapshot,
};
use disintegrate_postgres::{PgDecisionMaker, PgEventStore, PgSnapshotter, WithPgSnapshot};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::{Accounts, note};

type Store = PgEventStore<DomainEvent, Json<DomainEvent>>;

#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[stream(AccountEvent, [Deposited])]
pub enum DomainEvent {
    Deposited {
        #[id]
        account: String,
        amount: u64,
        note: String,
    },
}

#[derive(Debug, Default, Clone, StateQuery, Serialize, Deserialize)]
#[state_query(AccountEvent)]
pub struct Account {
    #[id]
    account: String,
    balance: u64,
    deposits: u64,
    note: String,
}

impl StateMutate for Account {
    fn mutate(&mut self, event: Self::Event) {
        let AccountEvent::Deposited { amount, note, .. } = event;
        self.balance += amount;
        self.deposits += 1;
        self.note = note;
    }
}

struct Deposit {
    account: String,
    events: u64,
}

impl Decision for Deposit {
    type Event = DomainEvent;
    type StateQuery = Account;
    type Error = std::convert::Infallible;

    fn state_query(&self) -> Account {
        Account { account: self.account.clone(), ..Account::default() }
    }

    fn process(&self, _: &Account) -> Result<Vec<DomainEvent>, Self::Error> {
        let event = DomainEvent::Deposited { account: self.account.clone(), amount: 1, note: note() };
        Ok((0..self.events).map(|_| event.clone()).collect())
    }
}

pub struct Bank {
    commands: PgDecisionMaker<DomainEvent, Json<DomainEvent>, NoSnapshot>,
    loads: EventSourcedStateStore<i64, DomainEvent, Store, NoSnapshot>,
}

pub struct Snapshots {
    commands: PgDecisionMaker<DomainEvent, Json<DomainEvent>, WithPgSnapshot>,
    loads: EventSourcedStateStore<i64, DomainEvent, Store, WithPgSnapshot>,
}

async fn store(pool: &PgPool) -> Store {
    crate::empty(pool).await;
    PgEventStore::try_new(pool.clone(), Json::default()).await.expect("the tables")
}

impl Bank {
    pub async fn new(pool: PgPool) -> Self {
        let store = store(&pool).await;
        Self {
            commands: disintegrate_postgres::decision_maker(store.clone(), NoSnapshot),
            loads: EventSourcedStateStore::new(store, NoSnapshot),
        }
    }
}

impl Snapshots {
    pub async fn new(pool: PgPool, every: u64) -> Self {
        let store = store(&pool).await;
        let snapshots = WithSnapshot::new(PgSnapshotter::try_new(pool, every).await.expect("the table"));
        Self {
            commands: disintegrate_postgres::decision_maker(store.clone(), snapshots.clone()),
            loads: EventSourcedStateStore::new(store, snapshots),
        }
    }
}

/// Its own check finds a conflict, or PostgreSQL does: it appends in serializable transactions.
fn is_conflict(error: &str) -> bool {
    ["concurrent modification", "could not serialize access"].iter().any(|conflict| error.contains(conflict))
}

/// True if the decision was taken, false after a conflict.
fn is_taken<T>(outcome: Result<T, DecisionError<std::convert::Infallible>>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(DecisionError::StateStore(error)) if is_conflict(&error.to_string()) => false,
        Err(error) => panic!("{error}"),
    }
}

impl Accounts for Bank {
    async fn deposit(&self, account: u64, events: u64) -> bool {
        is_taken(self.commands.make(Deposit { account: account.to_string(), events }).await)
    }

    async fn load(&self, account: u64) -> u64 {
        let query = Account { account: account.to_string(), ..Account::default() };
        self.loads.load(query).await.expect("a load").state().deposits
    }
}

impl Accounts for Snapshots {
    async fn deposit(&self, account: u64, events: u64) -> bool {
        is_taken(self.commands.make(Deposit { account: account.to_string(), events }).await)
    }

    async fn load(&self, account: u64) -> u64 {
        let query = Account { account: account.to_string(), ..Account::default() };
        self.loads.load(query).await.expect("a load").state().deposits
    }
}
