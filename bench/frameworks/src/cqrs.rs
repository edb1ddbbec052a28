//! Accounts of `cqrs-es` with `postgres-es`.

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{Aggregate, AggregateContext, AggregateError, CqrsFramework, DomainEvent, EventStore};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::{Accounts, note};

type Store = PersistedEventStore<PostgresEventRepository, Account>;

/// The table that the crate's documentation asks for.
const TABLE: &str = "
create table events (
    aggregate_type text not null, aggregate_id text not null, sequence bigint check (sequence >= 0) not null,
    event_type text not null, event_version text not null, payload json not null, metadata json not null,
    primary key (aggregate_type, aggregate_id, sequence))";

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Account {
    balance: u64,
    deposits: u64,
    note: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Deposited { amount: u64, note: String },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        "Deposited".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// Deposits this number of times.
pub struct Deposit(u64);

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Deposit;
    type Event = Event;
    type Error = std::convert::Infallible;
    type Services = ();

    async fn handle(
        &mut self,
        Deposit(events): Deposit,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for _ in 0..events {
            sink.write(Event::Deposited { amount: 1, note: note() }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, Event::Deposited { amount, note }: Event) {
        self.balance += amount;
        self.deposits += 1;
        self.note = note;
    }
}

pub struct Bank {
    commands: CqrsFramework<Account, Store>,
    loads: Store,
}

impl Bank {
    pub async fn new(pool: PgPool) -> Self {
        crate::empty(&pool).await;
        sqlx::raw_sql(TABLE).execute(&pool).await.expect("the table");
        let store = || PersistedEventStore::new_event_store(PostgresEventRepository::new(pool.clone()));
        Self { commands: CqrsFramework::new(store(), Vec::new(), ()), loads: store() }
    }
}

impl Accounts for Bank {
    async fn deposit(&self, account: u64, events: u64) -> bool {
        match self.commands.execute(&account.to_string(), Deposit(events)).await {
            Ok(()) => true,
            Err(AggregateError::AggregateConflict) => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn load(&self, account: u64) -> u64 {
        let mut loaded = self.loads.load_aggregate(&account.to_string()).await.expect("a load");
        loaded.aggregate().deposits
    }
}
