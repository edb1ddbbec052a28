//! What a server keeps beside its store: the pauses of its consumers.

use std::collections::BTreeMap;
use std::sync::Arc;

use gesta_consumer::{AnyConsumer, Consumers, Paused, SystemClock, kept_pause};
use gesta_core::KeyValueStore;
use gesta_views::{Definition, Views};

use crate::failure::{Failure, Outcome};
use crate::store::Opened;

/// The pauses of views that a restart of the server must not undo.
pub(crate) fn kept_pauses(values: &dyn KeyValueStore, views: &[Definition]) -> BTreeMap<String, Paused> {
    let kept = |view: &Definition| {
        let kept = pollster::block_on(kept_pause(values, view.name()));
        let kept = kept.inspect_err(|error| {
            tracing::warn!(view = view.name(), %error, "it is not known if the view was paused: it starts");
        });
        Some((view.name().to_owned(), kept.ok()??))
    };
    views.iter().filter_map(kept).collect()
}

/// The consumers of a server, for operators.
pub(crate) fn consumers(
    opened: &Opened,
    views: Option<&Arc<Views>>,
    others: impl Iterator<Item = Arc<dyn AnyConsumer>>,
) -> Outcome<Consumers> {
    let mut consumers = Consumers::new(Arc::clone(&opened.values), Arc::new(SystemClock));
    if !opened.keeps_values() {
        consumers = consumers.forgetting_pauses();
    }
    for consumer in views.into_iter().flat_map(Views::consumers).chain(others) {
        consumers.add(consumer).map_err(|error| Failure::new("cannot list a consumer").because(&error))?;
    }
    if opened.is_remote() && !consumers.keeps_pauses() && !consumers.all().is_empty() {
        tracing::warn!(
            "pauses of consumers and places of timers end with this process: give `--state <folder>` to keep them"
        );
    }
    Ok(consumers)
}
