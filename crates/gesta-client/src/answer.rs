//! Answers as values and errors of a store. They are read on the caller's thread.

use gesta_core::{AppendError, Appended, Checkpoint, Page, ReadError, StreamPage};
use gesta_wire::{AnswerError, Problem, kinds, read_checkpoint, read_page, read_repeat, read_streams};

use crate::append::append_error;
use crate::exchange::Answer;

/// A page of events.
pub(crate) fn page(answer: &Answer) -> Result<Page, ReadError> {
    if answer.status.is_success() {
        return read_page(&answer.body).map_err(malformed);
    }
    let problem = problem(answer)?;
    match empty_page(&problem) {
        Some(page) if problem.kind == kinds::NO_STREAM.name => Ok(page),
        _ => Err(read_error(&problem)),
    }
}

/// The page of a stream without events.
fn empty_page(problem: &Problem) -> Option<Page> {
    let place = |member: &str| problem.members.get(member)?.as_str()?.parse::<Checkpoint>().ok();
    let (scanned_to, head) = (place("scannedTo")?, place("head")?);
    Some(Page { events: Vec::new(), scanned_to, head, last_version: None, end: true })
}

/// A page of streams.
pub(crate) fn streams(answer: &Answer) -> Result<StreamPage, ReadError> {
    read(answer, read_streams)
}

/// A checkpoint.
pub(crate) fn checkpoint(answer: &Answer) -> Result<Checkpoint, ReadError> {
    read(answer, read_checkpoint)
}

/// The first answer to a command.
pub(crate) fn repeat(answer: &Answer) -> Result<Option<Appended>, AppendError> {
    let unavailable = |reason: String| AppendError::Unavailable { reason };
    if answer.status.is_success() {
        return read_repeat(&answer.body).map_err(|error| unavailable(error.to_string()));
    }
    let problem = Problem::from_json(&answer.body).map_err(|error| unavailable(error.to_string()))?;
    Err(match append_error(&problem) {
        // Nothing was to be written.
        AppendError::InDoubt { reason } => unavailable(reason),
        error => error,
    })
}

fn read<T>(answer: &Answer, read: impl Fn(&[u8]) -> Result<T, AnswerError>) -> Result<T, ReadError> {
    if answer.status.is_success() {
        read(&answer.body).map_err(malformed)
    } else {
        Err(read_error(&problem(answer)?))
    }
}

fn problem(answer: &Answer) -> Result<Problem, ReadError> {
    Problem::from_json(&answer.body).map_err(|error| ReadError::Unavailable { reason: error.to_string() })
}

/// The error of a problem. A store that its server has closed is away until the server starts again.
fn read_error(problem: &Problem) -> ReadError {
    match problem.to_read_error() {
        ReadError::Closed => ReadError::Unavailable { reason: problem.detail.clone() },
        error => error,
    }
}

fn malformed(error: AnswerError) -> ReadError {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    ReadError::Unavailable { reason: format!("{error}{cause}") }
}
