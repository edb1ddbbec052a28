//! Checks of the form of batches and reads. Every store makes them first, before it buffers or looks up anything.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::batch::{Batch, CommandKey, Condition};
use crate::capabilities::{AtomicScope, Capabilities};
use crate::checkpoint::{Checkpoint, Position, StoreId};
use crate::error::{AppendError, Diverged, ReadError};
use crate::event::NewEvent;
use crate::lane::Lane;
use crate::limits::COMMAND_KEY_BYTES_MAX;
use crate::query::Query;
use crate::read::{Place, Read, Select};

/// The reason why a form was refused. It converts to [`AppendError`] and [`ReadError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormError {
    /// The form is invalid: the reason.
    Invalid(String),
    /// A part exceeds a limit: the part with its unit, its size, the limit.
    TooLarge(Cow<'static, str>, usize, usize),
}

macro_rules! from_form {
    ($error:ident) => {
        impl From<FormError> for $error {
            fn from(error: FormError) -> Self {
                match error {
                    FormError::Invalid(reason) => Self::Invalid { reason },
                    FormError::TooLarge(what, actual, limit) => Self::TooLarge { what, actual, limit },
                }
            }
        }
    };
}
from_form!(AppendError);
from_form!(ReadError);

fn at_most(what: &'static str, actual: usize, limit: usize) -> Result<(), FormError> {
    if actual > limit { Err(FormError::TooLarge(what.into(), actual, limit)) } else { Ok(()) }
}

fn invalid(reason: impl Into<String>) -> FormError {
    FormError::Invalid(reason.into())
}

/// Checks a batch against the contract and a store's capabilities, and returns its partition.
///
/// # Errors
/// [`AppendError::Invalid`], [`AppendError::TooLarge`], [`AppendError::ForeignCheckpoint`] for a condition after a
/// checkpoint of another store, or [`AppendError::Unsupported`] for a batch that would span partitions.
pub fn check_batch(batch: &Batch, store: StoreId, capabilities: &Capabilities) -> Result<u16, AppendError> {
    check_batch_form(batch, capabilities)?;
    for condition in &batch.conditions {
        check_condition(condition, store, capabilities)?;
    }
    check_scope(batch, capabilities)
}

fn check_batch_form(batch: &Batch, capabilities: &Capabilities) -> Result<(), FormError> {
    let limits = &capabilities.limits;
    if batch.events.is_empty() {
        return Err(invalid("it has no events: append at least one"));
    }
    at_most("the number of events in the batch", batch.events.len(), limits.batch_events_max)?;
    at_most("the number of expectations", batch.expect.len(), limits.batch_expectations_max)?;
    at_most("the number of conditions", batch.conditions.len(), limits.batch_conditions_max)?;
    for event in &batch.events {
        check_event(event, capabilities)?;
    }
    let bytes = batch.events.iter().map(NewEvent::canonical_len).sum();
    at_most("the size of the batch in bytes", bytes, limits.batch_bytes_max)?;
    batch.command.as_ref().map_or(Ok(()), check_command)?;
    check_unique(batch)
}

/// Checks the form of a command key.
///
/// # Errors
/// [`FormError::Invalid`] for an empty key, [`FormError::TooLarge`] for a long one.
pub fn check_command(command: &CommandKey) -> Result<(), FormError> {
    if command.key.is_empty() {
        return Err(invalid("its command key is empty"));
    }
    at_most("the length of the command key in bytes", command.key.len(), COMMAND_KEY_BYTES_MAX)
}

fn check_event(event: &NewEvent, capabilities: &Capabilities) -> Result<(), FormError> {
    let limits = &capabilities.limits;
    at_most("the size of an event's data in bytes", event.data.len(), limits.data_bytes_max)?;
    at_most("the size of an event's metadata in bytes", event.metadata.len(), limits.metadata_bytes_max)?;
    if event.tags.len() > limits.tags_max {
        // Tags are a set: a duplicate is stored, and counted, once.
        let distinct = event.tags.iter().collect::<HashSet<_>>().len();
        at_most("the number of tags on an event", distinct, limits.tags_max)?;
    }
    Ok(())
}

/// Checks that no id is twice in one stream, and that no stream has two expectations.
fn check_unique(batch: &Batch) -> Result<(), FormError> {
    // Ids that are created in the order of time grow.
    let grows = batch.events.windows(2).all(|pair| pair[0].id < pair[1].id);
    if !grows {
        let mut ids = HashSet::with_capacity(batch.events.len());
        if let Some(event) = batch.events.iter().find(|event| !ids.insert((&event.stream, event.id))) {
            return Err(invalid(format!("it has event id {} twice in stream `{}`", event.id, event.stream)));
        }
    }
    if batch.expect.len() > 1 {
        let mut streams = HashSet::with_capacity(batch.expect.len());
        if let Some((stream, _)) = batch.expect.iter().find(|(stream, _)| !streams.insert(stream)) {
            return Err(invalid(format!("it has two expectations of stream `{stream}`: give one")));
        }
    }
    Ok(())
}

fn check_condition(
    condition: &Condition,
    store: StoreId,
    capabilities: &Capabilities,
) -> Result<(), AppendError> {
    check_query(&condition.fail_if_any, capabilities)?;
    match &condition.after {
        Some(after) if !is_of(after, store, capabilities) => {
            Err(AppendError::ForeignCheckpoint { checkpoint: after.clone() })
        }
        _ => Ok(()),
    }
}

/// Checks that the batch stays in one partition if the store is atomic only within a partition.
fn check_scope(batch: &Batch, capabilities: &Capabilities) -> Result<u16, AppendError> {
    let partition_of = |stream: &str| Lane::of(stream).partition(capabilities.partitions);
    let partition = partition_of(batch.events[0].stream.as_str());
    if capabilities.partitions == 1 || capabilities.atomic_scope == AtomicScope::Store {
        return Ok(partition);
    }
    let streams = batch.events.iter().map(|event| &event.stream);
    let expected = batch.expect.iter().map(|(stream, _)| stream);
    if streams.chain(expected).any(|stream| partition_of(stream.as_str()) != partition) {
        return Err(AppendError::Unsupported {
            capability: "a batch of streams in several partitions".into(),
        });
    }
    let in_scope = |query: &Query| match query {
        Query::All => false,
        Query::Any(items) => items
            .iter()
            .all(|item| item.stream.as_ref().is_some_and(|name| partition_of(name.as_str()) == partition)),
    };
    if batch.conditions.iter().all(|condition| in_scope(&condition.fail_if_any)) {
        Ok(partition)
    } else {
        Err(AppendError::Unsupported { capability: "a condition on several partitions".into() })
    }
}

/// Checks the form of a query.
///
/// # Errors
/// [`FormError::Invalid`] for a query without items or an item without fields, [`FormError::TooLarge`] for too many
/// items or terms.
pub fn check_query(query: &Query, capabilities: &Capabilities) -> Result<(), FormError> {
    let Query::Any(items) = query else { return Ok(()) };
    if items.is_empty() {
        return Err(invalid("its query has no items: give one, or ask for all events"));
    }
    if items.iter().any(crate::query::Item::is_empty) {
        return Err(invalid("its query has an item without a field: give one, or ask for all events"));
    }
    at_most("the number of items in the query", items.len(), capabilities.limits.query_items_max)?;
    let terms = items.iter().map(crate::query::Item::terms).sum();
    at_most("the number of terms in the query", terms, capabilities.limits.query_terms_max)
}

/// Checks the form of a read, and its checkpoints against the store and its head.
///
/// # Errors
/// [`ReadError::Invalid`], [`ReadError::TooLarge`], [`ReadError::ForeignCheckpoint`], or
/// [`ReadError::CheckpointAhead`].
pub fn check_read(read: &Read, head: &Checkpoint, capabilities: &Capabilities) -> Result<(), ReadError> {
    if let Select::Log { query, from, lanes } = &read.select {
        check_query(query, capabilities)?;
        if lanes.as_ref().is_some_and(crate::lane::Lanes::is_empty) {
            return Err(invalid("its set of lanes is empty: give at least one lane").into());
        }
        if let Place::At(checkpoint) = from {
            check_checkpoint(checkpoint, head)?;
        }
    }
    read.until.as_ref().map_or(Ok(()), |until| check_checkpoint(until, head))
}

/// Checks that a checkpoint belongs to the store with this head, and does not lie beyond it.
///
/// # Errors
/// [`ReadError::ForeignCheckpoint`] or [`ReadError::CheckpointAhead`].
pub fn check_checkpoint(checkpoint: &Checkpoint, head: &Checkpoint) -> Result<(), ReadError> {
    if !head.is_comparable(checkpoint) {
        return Err(ReadError::ForeignCheckpoint { checkpoint: checkpoint.clone() });
    }
    if !head.at_least(checkpoint) {
        return Err(ReadError::CheckpointAhead { checkpoint: checkpoint.clone(), head: head.clone() });
    }
    Ok(())
}

/// Checks that the marks of a checkpoint are those of the events in the log.
///
/// `mark_at` returns the mark of the event at a position, or `None` if the event cannot be read. Such a place is
/// accepted, and a read of the event reports the damage.
///
/// # Errors
/// [`Diverged`], which converts to [`AppendError`] and [`ReadError`].
pub fn check_marks(
    checkpoint: &Checkpoint,
    mark_at: impl Fn(Position) -> Option<u32>,
) -> Result<(), Diverged> {
    let mut found = checkpoint.clone();
    let mut is_diverged = false;
    for (at, mark) in checkpoint.marks() {
        if let Some(actual) = mark_at(at).filter(|actual| *actual != mark) {
            found = found.with_mark(at, actual);
            is_diverged = true;
        }
    }
    if is_diverged { Err(Diverged { checkpoint: checkpoint.clone(), found }) } else { Ok(()) }
}

fn is_of(checkpoint: &Checkpoint, store: StoreId, capabilities: &Capabilities) -> bool {
    checkpoint.store() == store && checkpoint.sequences().len() == usize::from(capabilities.partitions)
}
