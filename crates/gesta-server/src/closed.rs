//! Categories that take commands only: raw appends to them are refused.
//!
//! A raw append asks no decider, so one event that the application does not know would make an entity unreadable. Expectations and
//! conditions may name closed categories.

use std::collections::BTreeSet;

use gesta::http::Problem;
use gesta_core::{AppendError, Category, NewEvent};
use gesta_wire::kinds::HOSTED_CATEGORY;

/// The closed categories of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closed(BTreeSet<String>);

impl Closed {
    pub(crate) fn insert(&mut self, category: &str) {
        self.0.insert(category.to_owned());
    }

    pub(crate) fn remove(&mut self, category: &Category) {
        self.0.remove(category.as_str());
    }

    /// Refuses an event in a closed category, before the store is asked.
    pub(crate) fn check(&self, event: &NewEvent) -> Result<(), Problem> {
        let category = event.stream.category();
        let category = category.as_str();
        if !self.0.contains(category) {
            return Ok(());
        }
        let commands = format!("/commands/{category}");
        let reason = format!(
            "stream `{}` is of category `{category}`, which this program hosts: send a command to `{commands}`; for imports and \
             repairs, start the program with `--open-category {category}`",
            event.stream
        );
        let denied = AppendError::Denied { code: HOSTED_CATEGORY.name.into(), reason };
        Err(Problem::from(denied).with("commands", commands))
    }
}
