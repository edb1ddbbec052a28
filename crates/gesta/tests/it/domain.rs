//! The domain of these tests, and a store that misbehaves on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gesta::testing::{TestEnvironment, memory};
use gesta::*;

#[derive(Debug, Clone, PartialEq, Key, serde::Deserialize)]
#[key("account")]
pub(crate) struct AccountId(pub(crate) String);

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "bank.account")]
pub(crate) enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

#[derive(Debug, Clone, Command)]
pub(crate) enum AccountCommand {
    Open {
        owner: String,
    },
    Deposit {
        amount: u64,
    },
    Withdraw {
        amount: u64,
    },
    /// Accepted without an event.
    Check,
}

#[derive(Debug, PartialEq, Refusal)]
pub(crate) enum Refused {
    AlreadyOpen,
    NotOpen,
    /// Only {balance} is left, {amount} was asked for.
    InsufficientFunds {
        balance: u64,
        amount: u64,
    },
}

#[derive(Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct Account {
    pub(crate) open: bool,
    pub(crate) balance: u64,
}

impl State for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { .. } => self.open = true,
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
    }
}

impl Decider for Account {
    type Id = AccountId;
    type Command = AccountCommand;
    type Error = Refused;

    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, Refused> {
        use {AccountCommand::*, AccountEvent::*, Refused::*};
        match command {
            Open { .. } if self.open => Err(AlreadyOpen),
            Open { owner } => Ok(vec![Opened { owner }]),
            _ if !self.open => Err(NotOpen),
            Deposit { amount } => Ok(vec![Deposited { amount }]),
            Withdraw { amount } if amount > self.balance => {
                Err(InsufficientFunds { balance: self.balance, amount })
            }
            Withdraw { amount } => Ok(vec![Withdrawn { amount }]),
            Check => Ok(vec![]),
        }
    }
}

#[decision]
pub(crate) fn transfer(from: &At<Account>, to: &At<Account>, amount: u64) -> Result<Vec<NewFact>, Refused> {
    Ok([from.ask(AccountCommand::Withdraw { amount })?, to.ask(AccountCommand::Deposit { amount })?].concat())
}

pub(crate) fn id(name: &str) -> AccountId {
    AccountId(name.to_owned())
}

pub(crate) fn open() -> AccountCommand {
    AccountCommand::Open { owner: "ann".to_owned() }
}

/// Opens an account and puts money in.
pub(crate) async fn funded(gesta: &Gesta, name: &str, amount: u64) {
    gesta.send::<Account>(&id(name), open()).await.unwrap();
    gesta.send::<Account>(&id(name), AccountCommand::Deposit { amount }).await.unwrap();
}

type OnAppend = dyn Fn(u32, &MemoryStore, Batch) -> Result<Appended, AppendError> + Send + Sync;

type BeforeRead = dyn Fn(u32, &MemoryStore) + Send + Sync;

/// A memory store whose appends the test answers. It gets the number of the append, from 1, and the store beneath.
pub(crate) struct Interposed {
    pub(crate) inner: Arc<MemoryStore>,
    appends: AtomicU32,
    on_append: Box<OnAppend>,
    reads: AtomicU32,
    before_read: Box<BeforeRead>,
}

impl Interposed {
    pub(crate) fn new(
        on_append: impl Fn(u32, &MemoryStore, Batch) -> Result<Appended, AppendError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let inner = Arc::new(memory());
        let (appends, reads) = (AtomicU32::new(0), AtomicU32::new(0));
        let on_append = Box::new(on_append);
        Arc::new(Self { inner, appends, on_append, reads, before_read: Box::new(|_, _| {}) })
    }

    /// A store that calls the test before each read, with the number of the read, from 1.
    pub(crate) fn reading(before_read: impl Fn(u32, &MemoryStore) + Send + Sync + 'static) -> Arc<Self> {
        let plain = Self::new(|_, inner, batch| inner.append_now(batch));
        let plain = Arc::into_inner(plain).expect("nobody else holds it");
        Arc::new(Self { before_read: Box::new(before_read), ..plain })
    }

    pub(crate) fn appends(&self) -> u32 {
        self.appends.load(Ordering::SeqCst)
    }

    /// A handle on this store, and one on the store beneath.
    pub(crate) fn handles(self: &Arc<Self>) -> (Gesta, Gesta) {
        let environment = Arc::new(TestEnvironment::default());
        let through = Gesta::with_environment(self.clone(), environment.clone());
        (through, Gesta::with_environment(self.inner.clone(), environment))
    }
}

impl StoreLayer for Interposed {
    fn inner(&self) -> &dyn EventStore {
        &*self.inner
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        let number = self.appends.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = (self.on_append)(number, &self.inner, batch);
        Box::pin(async move { answer })
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        (self.before_read)(self.reads.fetch_add(1, Ordering::SeqCst) + 1, &self.inner);
        self.inner.read(read)
    }
}
