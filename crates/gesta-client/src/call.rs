//! A request that may change something: sent once. Its caller decides what a lost answer means.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::exchange::{Answer, Failure};
use crate::identity::Verdict;
use crate::limits::UNCLAIMED_TIME_MAX;
use crate::request::Request;
use crate::shared::Shared;

/// A request on its way to its answer.
pub(crate) struct Call {
    pub(crate) request: Request,
    pub(crate) line: Line,
    pub(crate) deadline: Instant,
    pub(crate) reply: oneshot::Sender<Result<Answer, CallError>>,
    /// What to send if the answer comes and its caller is gone.
    pub(crate) unclaimed: Option<Unclaimed>,
}

/// Makes the request that gives back what an answer has for a caller that is gone; `None` if there is nothing.
pub(crate) type Unclaimed = Arc<dyn Fn(&Answer) -> Option<Request> + Send + Sync>;

/// The connections that a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Those of all short requests.
    Shared,
    /// One of those on which members wait.
    Taking,
}

/// Why a request has no answer of the client's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    /// It was surely not sent.
    Unsent(String),
    /// The server may have got it.
    Lost(String),
    /// The server has another store.
    Closed,
}

/// Runs a request to its answer, or until its caller is gone.
///
/// What the answer has for a caller that is gone is given back. The server may have sent it already, so its answer gets a moment to
/// arrive before the connection is closed.
pub(crate) async fn run(shared: Arc<Shared>, call: Call) {
    let Call { request, line, deadline, mut reply, unclaimed } = call;
    let mut sending = std::pin::pin!(send(&shared, &request, line, deadline));
    let answered = tokio::select! {
        biased;
        () = reply.closed() => None,
        answer = &mut sending => Some(answer),
    };
    let unclaimed = match (answered, unclaimed) {
        (Some(answer), unclaimed) => reply.send(answer).err().zip(unclaimed),
        (None, Some(unclaimed)) => {
            timeout(UNCLAIMED_TIME_MAX, sending).await.ok().map(|answer| (answer, unclaimed))
        }
        (None, None) => None,
    };
    if let Some((Ok(answer), unclaimed)) = unclaimed
        && let Some(request) = unclaimed(&answer)
    {
        // If it is lost, the deliveries expire.
        let _ = send(&shared, &request, Line::Shared, Instant::now() + shared.options.request_time).await;
    }
}

async fn send(
    shared: &Shared,
    request: &Request,
    line: Line,
    deadline: Instant,
) -> Result<Answer, CallError> {
    if shared.identity.loss().is_some() {
        return Err(CallError::Closed);
    }
    let exchange = match line {
        Line::Shared => &shared.exchange,
        Line::Taking => &shared.taking,
    };
    match exchange.send(request, deadline).await {
        Err(Failure::Unsent(reason)) => Err(CallError::Unsent(reason)),
        Err(Failure::Lost(reason)) => Err(CallError::Lost(reason)),
        Ok(answer) => match shared.identity.judge(answer) {
            Verdict::Ours(answer) => Ok(answer),
            Verdict::Foreign => Err(CallError::Closed),
            Verdict::Strange(reason) => Err(CallError::Lost(reason)),
        },
    }
}
