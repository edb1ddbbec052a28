//! The bank that is measured: in this process on any store, or behind a server.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;

use bank::{Account, AccountCommand, AccountEvent, AccountId};
use gesta::{At, CacheMetrics, Decision, Gesta, Idempotency, NewFact, SendError};
use gesta_client::{ClientOptions, RemoteServer, RequestError};
use gesta_core::{EventStore, Retry};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::target::cannot_connect;

/// Events of one batch of a history.
const FILL_EVENTS: u32 = 1_000;

/// The bank.
pub(super) enum Bank {
    /// In this process.
    Here(Gesta),
    Server(RemoteServer),
}

/// The outcome of a deposit.
pub(super) enum Answer {
    Done,
    /// Surely nothing was recorded, for this reason.
    Refused(String),
    /// It may be recorded.
    Unknown(String),
}

/// Several deposits at once.
#[derive(Clone)]
struct Fill {
    account: AccountId,
    deposits: u32,
}

impl Decision for Fill {
    type State = At<Account>;
    type Error = Infallible;

    fn boundary(&self) -> At<Account> {
        At::entity(&self.account)
    }

    fn decide(self, account: &At<Account>) -> Result<Vec<NewFact>, Infallible> {
        let deposit = || account.emit(AccountEvent::Deposited { amount: NonZeroU32::MIN, half_of: None });
        Ok((0..self.deposits).map(|_| deposit()).collect())
    }
}

impl Bank {
    pub(super) fn here(store: &Arc<dyn EventStore>) -> Self {
        Self::Here(Gesta::new(Arc::clone(store)))
    }

    /// The bank of a server, with a connection for each client.
    pub(super) fn at(url: &str, clients: u32) -> Outcome<Self> {
        let options = ClientOptions { connections_max: clients as usize, ..ClientOptions::default() };
        let server = RemoteServer::new(url, &options).map_err(|error| cannot_connect(&error))?;
        Ok(Self::Server(server))
    }

    /// Opens an account. Its id needs no percent-encoding.
    pub(super) async fn open(&self, account: &str) -> Outcome {
        let failed = |error: &dyn std::error::Error| Failure::new("cannot open an account").because(error);
        match self {
            Self::Here(gesta) => {
                let command = AccountCommand::Open { owner: "bench".to_owned() };
                let sent = gesta.send::<Account>(&AccountId(account.to_owned()), command).await;
                sent.map(drop).map_err(|error| failed(&error))
            }
            Self::Server(server) => {
                let path = format!("/commands/account/{account}/open");
                let body = json!({"owner": "bench"}).to_string().into_bytes();
                let sent = server.command(&path, body, &format!("{account}-open")).await;
                sent.map(drop).map_err(|error| failed(&error))
            }
        }
    }

    /// Gives an account of this process a history: deposits of 1.
    pub(super) async fn fill(&self, account: &str, mut deposits: u32) -> Outcome {
        let Self::Here(gesta) = self else { return Ok(()) };
        while deposits > 0 {
            let count = deposits.min(FILL_EVENTS);
            let fill = Fill { account: AccountId(account.to_owned()), deposits: count };
            let filled = gesta.execute(fill).await;
            filled.map_err(|error| Failure::new("cannot make a history").because(&error))?;
            deposits -= count;
        }
        Ok(())
    }

    /// Deposits 1.
    pub(super) async fn deposit(&self, account: &str, key: &str) -> Answer {
        match self {
            Self::Here(gesta) => {
                let command = AccountCommand::Deposit { amount: NonZeroU32::MIN };
                let key = Idempotency::new("bench", "deposit").command_key(key, [b"1".as_slice()]);
                let call = gesta.command_key(key);
                match call.send::<Account>(&AccountId(account.to_owned()), command).await {
                    Ok(_) => Answer::Done,
                    Err(error @ SendError::InDoubt { .. }) => Answer::Unknown(error.to_string()),
                    Err(error) => Answer::Refused(error.to_string()),
                }
            }
            Self::Server(server) => {
                let path = format!("/commands/account/{account}/deposit");
                match server.command(&path, br#"{"amount":1}"#.to_vec(), key).await {
                    Ok(_) => Answer::Done,
                    Err(RequestError::Refused { problem }) => {
                        let text = format!("{} {}", problem.status, problem.kind);
                        if problem.retry == Retry::Unknown {
                            Answer::Unknown(text)
                        } else {
                            Answer::Refused(text)
                        }
                    }
                    Err(error) => Answer::Unknown(error.to_string()),
                }
            }
        }
    }

    pub(super) async fn balance(&self, account: &str) -> Outcome<u64> {
        let failed = |error: &dyn std::error::Error| Failure::new("cannot read a balance").because(error);
        let balance = match self {
            Self::Here(gesta) => {
                let id = AccountId(account.to_owned());
                let loaded = gesta.load::<Account>(&id).await.map_err(|error| failed(&error))?;
                u64::try_from(loaded.state.balance).ok()
            }
            Self::Server(server) => {
                let state = server.get(&format!("/states/account/{account}")).await;
                let state = state.map_err(|error| failed(&error))?;
                let state = serde_json::from_slice::<Value>(&state).map_err(|error| failed(&error))?;
                state["state"]["balance"].as_u64()
            }
        };
        balance.ok_or_else(|| Failure::new(format!("account `{account}` has no balance")))
    }

    /// The figures of the handle; `None` if a server hosts the bank.
    pub(super) fn metrics(&self) -> Option<CacheMetrics> {
        match self {
            Self::Here(gesta) => Some(gesta.cache_metrics()),
            Self::Server(_) => None,
        }
    }
}
