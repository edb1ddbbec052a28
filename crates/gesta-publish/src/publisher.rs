//! A publisher: a group whose handler sends each event to a broker and waits for the confirmation.

use std::fmt;
use std::io;
use std::sync::Arc;

use gesta_consumer::group::{Delivery, GroupName, GroupSettings, Groups};
use gesta_consumer::{Failed, Handle};
use gesta_core::{BoxFuture, RecordedEvent, StoreId};

use crate::link::Link;
use crate::message::Message;
use crate::running::Running;
use crate::subject::Template;

/// A publisher as its file describes it. It is not running.
pub struct Publisher {
    pub(crate) group: GroupName,
    pub(crate) settings: GroupSettings,
    /// Deliveries that are handled at the same time.
    pub(crate) concurrency: usize,
    pub(crate) subject: Template,
    /// True if system events, whose names begin with `$`, are passed over.
    pub(crate) skips_system: bool,
    pub(crate) link: Link,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, settings, subject, .. } = self;
        f.debug_struct("Publisher")
            .field("group", group)
            .field("settings", settings)
            .field("subject", subject)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Returns the name of its group: `publish-` and its own name.
    #[must_use]
    pub const fn group(&self) -> &GroupName {
        &self.group
    }

    /// Returns the settings of its group. [`Groups::host`] must make the group before the publisher starts.
    #[must_use]
    pub const fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// Starts to publish the events of a store, on a thread of its own. The broker may be away: then the events wait.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start(self, store: StoreId, groups: Arc<dyn Groups>) -> io::Result<Running> {
        let Self { group, concurrency, subject, skips_system, link, .. } = self;
        let handler = Arc::new(OnStore { store, subject, skips_system, link });
        Running::start(groups, group, concurrency, handler)
    }
}

/// The handler of a publisher's group.
struct OnStore {
    store: StoreId,
    subject: Template,
    skips_system: bool,
    link: Link,
}

impl OnStore {
    async fn handle_all(&self, delivery: &Delivery) -> Result<(), Failed> {
        for (handled, event) in delivery.events.iter().enumerate() {
            if self.skips_system && is_system(event) {
                continue;
            }
            let message = Message::new(event, self.store, &self.subject);
            self.link.publish(&message).await.map_err(|fault| fault.after(handled))?;
        }
        Ok(())
    }
}

impl Handle for OnStore {
    fn handle<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failed>> {
        Box::pin(self.handle_all(delivery))
    }
}

fn is_system(event: &RecordedEvent) -> bool {
    event.stream().starts_with('$') || event.event_type().starts_with('$')
}
