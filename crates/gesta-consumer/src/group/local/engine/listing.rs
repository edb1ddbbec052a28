//! The list of the groups of a key-value store, which is read before anything else.

use std::num::NonZeroU32;
use std::sync::Arc;

use gesta_core::{KeyValueError, KeyValueStore};

use super::Engine;
use super::operations::Done;
use crate::back_off::pause_after;
use crate::group::limits::GROUPS_PAGE;
use crate::group::local::keys;
use crate::group::local::queue::Message;
use crate::group::name::GroupName;

/// How far the list of groups is.
pub(super) enum Loading {
    /// It is being read. Requests wait for it.
    Under(Vec<Message>),
    /// It could not be read, and is tried again.
    Failed {
        failures: u32,
        reason: String,
    },
    Done,
}

impl Engine {
    /// Reads the list of groups.
    pub(super) fn list(&mut self) {
        let values = Arc::clone(&self.values);
        self.on_way.push(Box::pin(async move { Done::Listed(list(&*values).await) }));
    }

    pub(super) fn listed(&mut self, listed: Result<Vec<GroupName>, KeyValueError>) {
        let failures = match &self.loading {
            Loading::Failed { failures, .. } => *failures,
            Loading::Under(_) | Loading::Done => 0,
        };
        let (next, error) = match listed {
            Ok(groups) => {
                groups.into_iter().for_each(|group| self.start(group));
                (Loading::Done, None)
            }
            Err(error) => {
                let reason = error.to_string();
                (Loading::Failed { failures: failures + 1, reason: reason.clone() }, Some(reason))
            }
        };
        let before = std::mem::replace(&mut self.loading, next);
        if let Loading::Under(waiting) = before {
            waiting.into_iter().for_each(|message| self.message(message));
        }
        if error.is_some() && !self.is_closing {
            let wait = self.clock.wait(self.clock.elapsed() + pause_after(failures + 1));
            self.on_way.push(Box::pin(async move {
                wait.await;
                Done::ListAgain
            }));
        }
    }
}

/// Reads the names of all groups.
async fn list(values: &dyn KeyValueStore) -> Result<Vec<GroupName>, KeyValueError> {
    let limit = const { NonZeroU32::new(GROUPS_PAGE).unwrap() };
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = values.list(keys::prefix(), after.clone(), limit).await?;
        let Some((last, _)) = page.last() else { return Ok(names) };
        after = Some(match keys::held(last) {
            Some(keys::Held::Words { go_on_after }) => go_on_after,
            _ => last.clone(),
        });
        names.extend(page.iter().filter_map(|(key, _)| match keys::held(key)? {
            keys::Held::Row(name) => Some(name),
            keys::Held::Words { .. } => None,
        }));
    }
}
