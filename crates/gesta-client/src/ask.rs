//! A request that changes nothing: repeated once if its connection broke.

use std::sync::Arc;

use gesta_core::{AppendError, ReadError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backlog::Backlog;
use crate::exchange::{Answer, Exchange, Failure};
use crate::identity::{Identity, Verdict};
use crate::request::Request;
use crate::shared::Shared;

/// A request on its way to its answer.
pub(crate) struct Ask {
    pub(crate) request: Request,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<Answer, AskError>>,
}

/// Why a request has no answer of the client's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AskError {
    /// The server did not answer.
    Unavailable(String),
    /// The server has another store.
    Closed,
}

impl From<AskError> for ReadError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unavailable(reason) => Self::Unavailable { reason },
            AskError::Closed => Self::Closed,
        }
    }
}

impl From<AskError> for AppendError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unavailable(reason) => Self::Unavailable { reason },
            AskError::Closed => Self::Closed,
        }
    }
}

/// Runs a request, and then those that waited for it.
pub(crate) async fn run(shared: Arc<Shared>, backlog: Arc<Backlog>, ask: Ask) {
    let mut next = Some(ask);
    while let Some(ask) = next {
        answer(&shared, ask).await;
        next = backlog.next();
    }
}

/// Runs a request to its answer, or until its caller is gone.
async fn answer(shared: &Shared, ask: Ask) {
    let Ask { request, deadline, mut reply } = ask;
    let answer = tokio::select! {
        biased;
        () = reply.closed() => return,
        answer = send(&shared.exchange, &shared.identity, &request, deadline) => answer,
    };
    // A caller that is gone needs no answer.
    let _ = reply.send(answer);
}

/// Sends a request, and once more if it was lost.
pub(crate) async fn send(
    exchange: &Exchange,
    identity: &Identity,
    request: &Request,
    deadline: Instant,
) -> Result<Answer, AskError> {
    if identity.loss().is_some() {
        return Err(AskError::Closed);
    }
    let mut sent = exchange.send(request, deadline).await;
    if matches!(sent, Err(Failure::Lost(_))) && Instant::now() < deadline {
        sent = exchange.send(request, deadline).await;
    }
    match sent {
        Err(Failure::Unsent(reason) | Failure::Lost(reason)) => Err(AskError::Unavailable(reason)),
        Ok(answer) => match identity.judge(answer) {
            Verdict::Ours(answer) => Ok(answer),
            Verdict::Foreign => Err(AskError::Closed),
            Verdict::Strange(reason) => Err(AskError::Unavailable(reason)),
        },
    }
}
