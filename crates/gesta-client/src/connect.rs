//! Connecting: the address is read, the thread started, and the server asked for its store.

use std::io;
use std::sync::Arc;

use gesta_core::Retry;
use gesta_wire::{Problem, StoreInfo, read_store};

use crate::address::Address;
use crate::ask::AskError;
use crate::limits::WAIT_SECONDS_MAX;
use crate::options::ClientOptions;
use crate::request::Request;
use crate::shared::Shared;
use crate::thread::Thread;

/// Why a client cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not the address of a server.
    #[error("`{url}` is not the address of a server: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it, or what helps.
        reason: &'static str,
    },
    /// The server does not answer, or what answers there is no server of Gesta.
    #[error("cannot reach a server of Gesta at `{url}`: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The server refused the request for its store.
    #[error("the server at `{url}` refused the request: {reason}")]
    Refused {
        /// The address.
        url: String,
        /// The cause.
        reason: String,
        /// The advice of the server.
        retry: Retry,
    },
    /// The system gave no thread.
    #[error("cannot start the thread of the client")]
    Thread(#[source] io::Error),
}

impl ConnectError {
    /// Returns the advice on connecting again.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Address { .. } => Retry::Never,
            Self::Unreachable { .. } | Self::Thread(_) => Retry::AfterPause,
            Self::Refused { retry, .. } => *retry,
        }
    }
}

/// Checks that a text is the address of a server, such as `http://127.0.0.1:2114`. Nothing is connected.
///
/// # Errors
/// [`ConnectError::Address`].
pub fn check_address(url: &str) -> Result<(), ConnectError> {
    address(url).map(drop)
}

fn address(url: &str) -> Result<Address, ConnectError> {
    Address::parse(url).map_err(|reason| ConnectError::Address { url: url.to_owned(), reason })
}

/// Reads the address and starts the thread. Nothing is sent yet.
pub(crate) fn start(url: &str, options: &ClientOptions) -> Result<(Thread, Arc<Shared>), ConnectError> {
    let shared = Arc::new(Shared::new(address(url)?, options.clone()));
    let thread = Thread::start(Arc::clone(&shared)).map_err(ConnectError::Thread)?;
    Ok((thread, shared))
}

/// Connects: blocks until the server has answered.
pub(crate) fn connect(
    url: &str,
    options: &ClientOptions,
) -> Result<(Thread, Arc<Shared>, StoreInfo), ConnectError> {
    let (thread, shared) = start(url, options)?;
    let url = || url.to_owned();
    let unreachable = |reason| ConnectError::Unreachable { url: url(), reason };
    let answer = match pollster::block_on(thread.ask(Request::store())) {
        Ok(answer) => answer,
        Err(AskError::Unavailable(reason)) => return Err(unreachable(reason)),
        Err(AskError::Closed) => unreachable!("a client without a store cannot meet another one"),
    };
    if !answer.status.is_success() {
        let problem = Problem::from_json(&answer.body).map_err(|error| unreachable(error.to_string()))?;
        let Problem { detail, retry, .. } = problem;
        return Err(ConnectError::Refused { url: url(), reason: detail, retry });
    }
    let info = read_store(&answer.body).map_err(|error| unreachable(error.to_string()))?;
    thread.poll(info.wait_seconds_max.min(WAIT_SECONDS_MAX));
    Ok((thread, shared, info))
}
