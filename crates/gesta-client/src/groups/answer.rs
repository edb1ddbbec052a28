//! Answers of groups as values and errors. They are read on the caller's thread.

use gesta_consumer::group::{ChangeError, GroupName, Held, LookError, PutError, TakeError, Taken};
use gesta_wire::{AnswerError, Problem, kinds, read_held, read_taken};

use crate::ask::AskError;
use crate::call::CallError;
use crate::exchange::Answer;

type Called = Result<Answer, CallError>;

/// The problem of an answer, or why it is none.
fn problem(answer: &Answer) -> Result<Problem, String> {
    let problem = Problem::from_json(&answer.body).map_err(|error| error.to_string())?;
    // Groups that their server has closed are away until the server starts again.
    let is_closed = problem.kind == kinds::CLOSED.name;
    Ok(if is_closed {
        Problem::new(kinds::UNAVAILABLE, problem.detail).with("part", "groups")
    } else {
        problem
    })
}

/// The answer to a change of settings.
pub(super) fn put<T>(
    group: &GroupName,
    called: Called,
    read: impl FnOnce(&[u8]) -> Result<T, AnswerError>,
) -> Result<T, PutError> {
    let in_doubt = |reason| PutError::InDoubt { reason };
    let answer = called.map_err(|error| match error {
        CallError::Unsent(reason) => PutError::Unavailable { reason },
        CallError::Lost(reason) => in_doubt(reason),
        CallError::Closed => PutError::Closed,
    })?;
    if answer.status.is_success() {
        return read(&answer.body).map_err(|error| in_doubt(malformed(&error)));
    }
    Err(problem(&answer).map_or_else(in_doubt, |problem| problem.to_put_error(group)))
}

/// The answer to a change.
pub(super) fn change<T>(
    group: &GroupName,
    called: Called,
    read: impl FnOnce(&[u8]) -> Result<T, AnswerError>,
) -> Result<T, ChangeError> {
    let in_doubt = |reason| ChangeError::InDoubt { reason };
    let answer = called.map_err(|error| match error {
        CallError::Unsent(reason) => ChangeError::Unavailable { reason },
        CallError::Lost(reason) => in_doubt(reason),
        CallError::Closed => ChangeError::Closed,
    })?;
    if answer.status.is_success() {
        return read(&answer.body).map_err(|error| in_doubt(malformed(&error)));
    }
    Err(problem(&answer).map_or_else(in_doubt, |problem| problem.to_change_error(group)))
}

/// The answer to a look.
pub(super) fn look<T>(
    group: Option<&GroupName>,
    asked: Result<Answer, AskError>,
    read: impl FnOnce(&bytes::Bytes) -> Result<T, AnswerError>,
) -> Result<T, LookError> {
    let answer = asked.map_err(look_error)?;
    if answer.status.is_success() {
        return read(&answer.body).map_err(|error| LookError::Unavailable { reason: malformed(&error) });
    }
    let unavailable = |reason| LookError::Unavailable { reason };
    Err(problem(&answer).map_or_else(unavailable, |problem| problem.to_look_error(group)))
}

/// The answer about a parked stream; `None` if it is not parked.
pub(super) fn held(group: &GroupName, asked: Result<Answer, AskError>) -> Result<Option<Held>, LookError> {
    if let Ok(answer) = &asked
        && !answer.status.is_success()
        && problem(answer).is_ok_and(|problem| problem.kind == kinds::NOT_PARKED.name)
    {
        return Ok(None);
    }
    look(Some(group), asked, read_held).map(Some)
}

/// The answer to a member.
pub(super) fn taken(group: &GroupName, called: Called) -> Result<Taken, TakeError> {
    let unavailable = |reason| TakeError::Unavailable { reason };
    let answer = called.map_err(|error| match error {
        CallError::Unsent(reason) | CallError::Lost(reason) => unavailable(reason),
        CallError::Closed => TakeError::Closed,
    })?;
    if answer.status.is_success() {
        return read_taken(&answer.body).map_err(|error| unavailable(malformed(&error)));
    }
    Err(problem(&answer).map_or_else(unavailable, |problem| problem.to_take_error(group)))
}

fn look_error(error: AskError) -> LookError {
    match error {
        AskError::Unavailable(reason) => LookError::Unavailable { reason },
        AskError::Closed => LookError::Closed,
    }
}

fn malformed(error: &AnswerError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
