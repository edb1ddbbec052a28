//! What a server keeps beside its store: the pauses of its consumers.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

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

/// How long a server waits between two looks at the pauses that other servers of its store keep.
const FOLLOW_PAUSE: Duration = Duration::from_secs(2);

/// Applies the pauses that other servers of the store keep, until the consumers are gone.
pub(crate) async fn follow_pauses(consumers: Weak<Consumers>) {
    let mut is_failing = false;
    loop {
        tokio::time::sleep(FOLLOW_PAUSE).await;
        let Some(consumers) = consumers.upgrade() else { return };
        let followed = consumers.follow().await;
        if let Err(error) = &followed
            && !is_failing
        {
            tracing::warn!(%error, "the pauses of other servers are not known for now");
        }
        is_failing = followed.is_err();
    }
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
