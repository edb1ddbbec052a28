//! What dealers ask for, as futures on the thread of the groups.

use std::sync::Arc;

use futures_util::future::{AbortHandle, Abortable};
use gesta_core::{BoxFuture, Checkpoint, KeyValueError};

use super::Engine;
use crate::group::dealer::{Input, Output, Words};
use crate::group::limits::WORDS_ON_WAY_MAX;
use crate::group::local::{keys, words};
use crate::group::name::GroupName;

/// Something on its way has arrived.
pub(super) enum Done {
    Input {
        group: GroupName,
        number: u64,
        is_operation: bool,
        input: Box<Input>,
    },
    Words,
    Listed(Result<Vec<GroupName>, KeyValueError>),
    /// The list of groups is tried again.
    ListAgain,
    /// A wait that is no longer needed has ended.
    Nothing,
}

impl Engine {
    /// Begins what a dealer asks for.
    pub(super) fn begin(&mut self, name: &GroupName, output: Output) {
        let group = self.groups.get_mut(name).expect("a dealer's group is known");
        let (store, values) = (Arc::clone(&self.store), Arc::clone(&self.values));
        let key = keys::row(name);
        if let Output::Wait(number, after) = output {
            return self.wait(name, number, after);
        }
        let input: BoxFuture<'static, Input> = match output {
            Output::Get => Box::pin(async move { Input::Got(values.get(key).await) }),
            Output::Put { value, expect } => {
                Box::pin(async move { Input::Put(values.put(key, value, Some(expect)).await) })
            }
            Output::Delete { expect } => {
                Box::pin(async move { Input::Deleted(values.delete(key, expect).await) })
            }
            Output::Read(number, read) => {
                Box::pin(async move { Input::Page(number, store.read(read).await) })
            }
            Output::Refill(number, read) => {
                Box::pin(async move { Input::Refilled(number, store.read(read).await) })
            }
            other => unreachable!("the caller carries out {other:?}"),
        };
        group.operations += 1;
        let (group, number) = (name.clone(), group.number);
        self.on_way.push(Box::pin(async move {
            Done::Input { group, number, is_operation: true, input: Box::new(input.await) }
        }));
    }

    /// Waits until the log has grown. An earlier wait of the group ends.
    fn wait(&mut self, name: &GroupName, wait: u64, after: Checkpoint) {
        let group = self.groups.get_mut(name).expect("a dealer's group is known");
        let store = Arc::clone(&self.store);
        let (handle, registration) = AbortHandle::new_pair();
        if let Some(earlier) = group.wait.replace(handle) {
            earlier.abort();
        }
        let grown = Abortable::new(async move { store.wait_past(after).await }, registration);
        let (group, number) = (name.clone(), group.number);
        self.on_way.push(Box::pin(async move {
            match grown.await {
                Ok(grown) => {
                    let input = Box::new(Input::Grown(wait, grown.map(|_| ())));
                    Done::Input { group, number, is_operation: false, input }
                }
                Err(_) => Done::Nothing,
            }
        }));
    }

    pub(super) fn keep_words(&mut self, name: &GroupName, said: Words) {
        if self.words_on_way >= WORDS_ON_WAY_MAX {
            return;
        }
        self.words_on_way += 1;
        let (values, group, at) = (Arc::clone(&self.values), name.clone(), self.clock.now());
        self.on_way.push(Box::pin(async move {
            let kept = match said {
                Words::Parked(parked) => words::keep_parked(&*values, &group, &parked, at).await,
                Words::Replayed(stream) => words::drop_parked(&*values, &group, &stream).await,
                Words::Skipped { stream, version, by, reason } => {
                    words::keep_skipped(&*values, &group, &stream, version, (by, reason), at).await
                }
            };
            if let Err(error) = kept {
                tracing::warn!(group = %group, "words about a stream of a consumer group are lost: {error}");
            }
            Done::Words
        }));
    }
}
