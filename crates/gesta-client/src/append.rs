//! An append on the thread of a client: its turn, its sendings, its answer.

use std::sync::Arc;

use gesta_core::{AppendError, Appended};
use gesta_wire::{Problem, read_appended};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::exchange::{Answer, Failure};
use crate::identity::Verdict;
use crate::request::Request;
use crate::settle::{Next, Outcome, Settling};
use crate::shared::Shared;
use crate::turns::Turn;

/// An append on its way to its answer, with its share of the limits.
pub(crate) struct Append {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Appended, AppendError>>,
    pub(crate) held: [OwnedSemaphorePermit; 2],
}

/// Runs an append to its answer, or until its caller is gone.
pub(crate) async fn run(shared: Arc<Shared>, append: Append, turn: Turn) {
    let Append { request, mut reply, held } = append;
    let answer = tokio::select! {
        biased;
        () = reply.closed() => return,
        answer = settle(&shared, &request, turn) => answer,
    };
    drop(held);
    // A caller that is gone needs no answer.
    let _ = reply.send(answer);
}

async fn settle(shared: &Shared, request: &Request, mut turn: Turn) -> Result<Appended, AppendError> {
    let (begun, request_time) = (Instant::now(), shared.options.request_time);
    let deadline = begun + request_time;
    let mut settling = Settling::new(shared.options.settle_time);
    let mut outcome = match timeout_at(deadline, turn.come()).await {
        Ok(()) => send(shared, request, deadline).await,
        Err(_) => Outcome::Unsent { reason: "earlier appends to the same streams take too long".to_owned() },
    };
    loop {
        match settling.step(outcome, begun.elapsed()) {
            Next::Answer(answer) => return answer,
            Next::Again { at, until } => {
                sleep_until(begun + at).await;
                outcome = send(shared, request, begun + until.min(at + request_time)).await;
            }
        }
    }
}

async fn send(shared: &Shared, request: &Request, deadline: Instant) -> Outcome {
    if shared.identity.loss().is_some() {
        return Outcome::Answered(Err(AppendError::Closed));
    }
    match shared.exchange.send(request, deadline).await {
        Err(Failure::Unsent(reason)) => Outcome::Unsent { reason },
        Err(Failure::Lost(reason)) => Outcome::Lost { reason },
        Ok(answer) => {
            let is_refusal = !answer.status.is_success();
            match shared.identity.judge(answer) {
                Verdict::Ours(answer) => outcome_of(&answer),
                Verdict::Strange(reason) => Outcome::Lost { reason },
                Verdict::Foreign if is_refusal => Outcome::Answered(Err(AppendError::Closed)),
                // No server of Gesta takes an append for another store. If one does, the batch may be there.
                Verdict::Foreign => Outcome::Lost { reason: "another store answered".to_owned() },
            }
        }
    }
}

fn outcome_of(answer: &Answer) -> Outcome {
    if answer.status.is_success() {
        return match read_appended(&answer.body) {
            Ok(appended) => Outcome::Answered(Ok(appended)),
            Err(error) => Outcome::Lost { reason: error.to_string() },
        };
    }
    match Problem::from_json(&answer.body) {
        Ok(problem) => Outcome::Answered(Err(append_error(&problem))),
        Err(error) => Outcome::Lost { reason: error.to_string() },
    }
}

/// The error of a problem. A store that its server has closed is away until the server starts again.
pub(crate) fn append_error(problem: &Problem) -> AppendError {
    match problem.to_append_error() {
        AppendError::Closed => AppendError::Unavailable { reason: problem.detail.clone() },
        error => error,
    }
}
