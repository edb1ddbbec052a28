//! A process with its performer, as a host runs it, and the checks of its name.

use std::sync::Arc;

use gesta_consumer::group::{Delivery, GroupName, GroupSettings};
use gesta_consumer::{Failed, Handle};
use gesta_core::{BoxFuture, Category, Item, Query, RecordedEvent};

use super::event::timer_fired;
use super::handle::handle;
use super::limits::NAME_BYTES_MAX;
use super::timers::{TimerSettings, Timers};
use super::{Perform, Process};
use crate::event::types;
use crate::handle::Gesta;
#[cfg(feature = "schema")]
use crate::schema::EventEnum;

/// A process with its performer, its types erased.
///
/// It holds no store. The host passes one with each call.
pub struct HostedProcess {
    name: &'static str,
    group: GroupName,
    query: Query,
    handler: Arc<dyn Handler>,
    #[cfg(feature = "schema")]
    enums: Vec<EventEnum>,
}

impl std::fmt::Debug for HostedProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostedProcess").field("name", &self.name).finish_non_exhaustive()
    }
}

trait Handler: Send + Sync {
    fn handle<'a>(
        &'a self,
        gesta: &'a Gesta,
        events: &'a [RecordedEvent],
    ) -> BoxFuture<'a, Result<(), Failed>>;
}

struct Typed<P, F> {
    performer: F,
    process: std::marker::PhantomData<fn() -> P>,
}

impl<P: Process, F: Perform<P>> Handler for Typed<P, F> {
    fn handle<'a>(
        &'a self,
        gesta: &'a Gesta,
        events: &'a [RecordedEvent],
    ) -> BoxFuture<'a, Result<(), Failed>> {
        Box::pin(handle::<P>(gesta, &self.performer, events))
    }
}

impl HostedProcess {
    /// A process and what performs its effects.
    ///
    /// # Errors
    /// [`ProcessNameError`] for a name that cannot be a category or part of a group's name.
    pub fn new<P: Process>(performer: impl Perform<P>) -> Result<Self, ProcessNameError> {
        check_name(P::NAME)?;
        let category = Category::new(P::NAME).expect("a process's name is a valid category");
        let fired = Item { category: Some(category), types: vec![timer_fired()], ..Item::default() };
        let inputs = Item { types: types::<P::Input>(), ..Item::default() };
        let handler = Arc::new(Typed { performer, process: std::marker::PhantomData });
        let group =
            format!("process-{}", P::NAME).parse().expect("a process's name is part of a group's name");
        Ok(Self {
            name: P::NAME,
            group,
            query: Query::Any(vec![inputs, fired]),
            handler,
            #[cfg(feature = "schema")]
            enums: EventEnum::of::<P::Event>().into_iter().chain(EventEnum::of::<P::Input>()).collect(),
        })
    }

    /// The name of the process, and the category of its streams.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The category of its streams, as a host closes it to raw appends.
    #[must_use]
    pub fn category(&self) -> Category {
        Category::new(self.name).expect("a process's name is a valid category")
    }

    /// The name of its consumer group: `process-NAME`.
    #[must_use]
    pub const fn group(&self) -> &GroupName {
        &self.group
    }

    /// The settings of its group: its events from the start, with the usual bounds and pauses.
    #[must_use]
    pub fn settings(&self) -> GroupSettings {
        GroupSettings::new(self.query.clone())
    }

    /// The handler of the group's deliveries, on a store.
    #[must_use]
    pub fn handler(&self, gesta: Gesta) -> Arc<dyn Handle> {
        Arc::new(OnStore { handler: self.handler.clone(), gesta })
    }

    /// The name of the consumer of its timers: `timers-NAME`.
    #[must_use]
    pub fn timers(&self) -> String {
        format!("timers-{}", self.name)
    }

    /// The events it takes: its inputs, and its timers that fired.
    #[must_use]
    pub const fn query(&self) -> &Query {
        &self.query
    }

    /// The event enums of the process that own their types: that of its events, and that of its inputs.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn event_enums(&self) -> &[EventEnum] {
        &self.enums
    }

    /// Checks that no other part of the host uses the process's category. `categories` are those of the other parts.
    ///
    /// # Errors
    /// [`ProcessNameError`] if the category is among them.
    pub fn check_category<'c>(
        &self,
        categories: impl IntoIterator<Item = &'c str>,
    ) -> Result<(), ProcessNameError> {
        if categories.into_iter().any(|category| category == self.name) {
            return Err(ProcessNameError { name: self.name, problem: NameProblem::Taken });
        }
        Ok(())
    }

    /// Starts the timers of the process. The time at which they are due is that of `gesta`'s clock.
    ///
    /// # Errors
    /// The system could not start a thread.
    pub fn start_timers(&self, gesta: Gesta, settings: TimerSettings) -> std::io::Result<Timers> {
        Timers::start(self.name, gesta, settings)
    }

    /// Handles the events of one delivery of the group, up to the first one that cannot be handled now. It may be called
    /// again with the same events, also while another call handles them: each input is taken once, each effect has one key.
    ///
    /// # Errors
    /// [`Failed`] names the first event that was not handled, and its fate.
    ///
    /// # Cancel safety
    /// Dropping the future is like a crash: deliver the same events again.
    pub fn handle<'a>(
        &'a self,
        gesta: &'a Gesta,
        events: &'a [RecordedEvent],
    ) -> BoxFuture<'a, Result<(), Failed>> {
        self.handler.handle(gesta, events)
    }
}

/// A process on a store.
struct OnStore {
    handler: Arc<dyn Handler>,
    gesta: Gesta,
}

impl Handle for OnStore {
    fn handle<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failed>> {
        self.handler.handle(&self.gesta, &delivery.events)
    }
}

/// The name of a process cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("process name `{name}` cannot be used: {problem}")]
pub struct ProcessNameError {
    /// The name.
    pub name: &'static str,
    /// What is wrong with it.
    pub problem: NameProblem,
}

/// What is wrong with the name of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// It is empty or too long.
    #[error("a name has 1 to {NAME_BYTES_MAX} bytes")]
    Length,
    /// It holds a character that a category or a group cannot have.
    #[error("use letters, digits, `_` and `.`, and no `-`, which ends the category of a stream")]
    Character,
    /// Another part of the host has streams of this category.
    #[error("another decider or process of the host has this category: choose another name")]
    Taken,
}

fn check_name(name: &'static str) -> Result<(), ProcessNameError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
    let problem = match name.len() {
        1..=NAME_BYTES_MAX if name.bytes().all(plain) => return Ok(()),
        1..=NAME_BYTES_MAX => NameProblem::Character,
        _ => NameProblem::Length,
    };
    Err(ProcessNameError { name, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_is_a_category_and_part_of_a_group_name() {
        const LONGEST: &str = str_of::<NAME_BYTES_MAX>();
        for name in ["fulfilment", "shop.Fulfilment_2", LONGEST] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let too_long = str_of::<{ NAME_BYTES_MAX + 1 }>();
        for (name, problem) in [
            ("", NameProblem::Length),
            (too_long, NameProblem::Length),
            ("ful-filment", NameProblem::Character),
            ("$fulfilment", NameProblem::Character),
            ("fulfilment/a", NameProblem::Character),
            ("erfüllung", NameProblem::Character),
        ] {
            assert_eq!(check_name(name), Err(ProcessNameError { name, problem }), "{name}");
        }
    }

    const fn str_of<const N: usize>() -> &'static str {
        match std::str::from_utf8(&[b'a'; N]) {
            Ok(text) => text,
            Err(_) => "",
        }
    }
}
