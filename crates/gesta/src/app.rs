//! Hosts deciders and decisions: commands by name and from JSON, for the HTTP router and the command line.

#[cfg(feature = "http")]
mod description;
mod error;
mod hosted;
mod outcome;

use std::collections::BTreeMap;

use gesta_core::{CommandKey, Expected, Fingerprint, Lanes};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::command::{CommandInfo, FieldInfo};
use crate::decider::Decider;
use crate::decision::Decision;
#[cfg(feature = "schema")]
use crate::event::Event;
use crate::handle::{Call, Gesta};
use crate::key::Key;
use crate::load::AsOf;
use crate::meta::Meta;
use crate::past::{Cut, Cuts, FieldChange, JsonEvent, Steps, WhatIf};
#[cfg(feature = "schema")]
use crate::schema::{EventEnum, EventSchema};

#[cfg(feature = "http")]
pub(crate) use description::{DeciderDescription, DecisionDescription};
pub use error::AppError;
use hosted::{Decides, HostedDecider, HostedDecision, Transacts};
pub use outcome::{Outcome, OutcomeEvent, StateView};

/// An application: deciders and decisions by name.
///
/// It holds no store. The host passes one with each call.
///
/// # Example
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Clone, Key)] #[key("counter")] struct CounterId(u64);
/// # #[derive(Debug, PartialEq, Event)] #[event(prefix = "counter")] enum CounterEvent { Added { n: u64 } }
/// # #[derive(Debug, Clone, Command)] enum CounterCommand { Add { n: u64 } }
/// # #[derive(Debug, Default, serde::Serialize)] struct Counter { sum: u64 }
/// # impl State for Counter { type Event = CounterEvent; fn evolve(&mut self, CounterEvent::Added { n }: CounterEvent) { self.sum += n } }
/// # impl Decider for Counter {
/// #     type Id = CounterId; type Command = CounterCommand; type Error = std::convert::Infallible;
/// #     fn decide(&self, CounterCommand::Add { n }: CounterCommand) -> Result<Vec<CounterEvent>, Self::Error> { Ok(vec![CounterEvent::Added { n }]) }
/// # }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> { gesta::testing::block_on(async {
/// let app = App::new("counters").decider::<Counter>();
/// let gesta = gesta::testing::store();
/// let outcome = app.command(&gesta, "counter", "7", "add", br#"{"n":3}"#, CommandOptions::default()).await?;
/// assert!(!outcome.repeated);
/// let view = app.state(&gesta, "counter", "7", None).await?;
/// assert_eq!(view.state.get(), r#"{"sum":3}"#);
/// # Ok(()) }) }
/// ```
pub struct App {
    name: String,
    deciders: BTreeMap<&'static str, Box<dyn HostedDecider>>,
    decisions: BTreeMap<String, Box<dyn HostedDecision>>,
    #[cfg(feature = "schema")]
    enums: Vec<EventEnum>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name)
            .field("deciders", &self.deciders.keys())
            .field("decisions", &self.decisions.keys())
            .finish()
    }
}

/// Options of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOptions {
    /// Makes a repeat return the first answer. Scope keys from outside with [`Idempotency`](crate::Idempotency).
    pub key: Option<CommandKey>,
    /// What the caller expects of the entity. Refused for decisions.
    pub expected: Option<Expected>,
    /// Metadata: actor, correlation, causation, reason.
    pub meta: Meta,
}

/// A hosted decider.
#[derive(Debug, Clone, Serialize)]
pub struct DeciderInfo {
    /// The category of its streams. Its name in URLs.
    pub category: &'static str,
    /// Its commands.
    pub commands: &'static [CommandInfo],
    /// The types of its events.
    pub events: Vec<&'static str>,
}

/// An event type of a hosted decider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostedEvent {
    /// Its name: the stable one, or an older one that is also read.
    pub name: &'static str,
    /// The newest schema version.
    pub version: u16,
    /// The fields in its payload, in that version. `None` if they are not known; see [`Event::fields`](crate::Event::fields).
    pub fields: Option<&'static [&'static str]>,
}

/// A hosted decision.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DecisionInfo<'a> {
    /// Its name in URLs.
    pub name: &'a str,
    /// Its inputs. Empty if the decision does not list them.
    pub fields: &'static [FieldInfo],
}

impl App {
    /// An application without deciders and decisions.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            deciders: BTreeMap::new(),
            decisions: BTreeMap::new(),
            #[cfg(feature = "schema")]
            enums: Vec::new(),
        }
    }

    /// Hosts a decider, by the category of its streams.
    ///
    /// # Panics
    /// If the category already has a decider.
    #[must_use]
    pub fn decider<D: Decider + Serialize>(mut self) -> Self {
        let category = D::Id::KIND;
        let before = self.deciders.insert(category, Box::new(Decides::<D>::new()));
        assert!(
            before.is_none(),
            "category `{category}` already has a decider: a stream belongs to one decider"
        );
        #[cfg(feature = "schema")]
        self.enums.extend(EventEnum::of::<D::Event>());
        self
    }

    /// Names an event enum that only decisions write. Those of deciders are known. It counts if it has `#[event(schema)]`.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn events<E: Event>(mut self) -> Self {
        self.enums.extend(EventEnum::of::<E>());
        self
    }

    /// The event enums that own their types: those of the deciders, and those that were named with [`Self::events`].
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn event_enums(&self) -> &[EventEnum] {
        &self.enums
    }

    /// Every schema version of the event types that these enums own.
    #[cfg(feature = "schema")]
    pub fn event_schemas(&self) -> impl Iterator<Item = EventSchema> {
        self.enums.iter().flat_map(|owner| owner.schemas().iter().cloned())
    }

    /// Hosts a decision by a name.
    ///
    /// # Panics
    /// If the name is taken, or holds anything but letters, digits, `-`, `_` and `.`.
    #[must_use]
    pub fn decision<D: Decision + DeserializeOwned>(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(
            !name.is_empty() && name.bytes().all(plain),
            "decision name `{name}` cannot be part of a URL: use letters, digits, `-`, `_` and `.`"
        );
        let before = self.decisions.insert(name.clone(), Box::new(Transacts::<D>::new()));
        assert!(before.is_none(), "decision `{name}` is already hosted: choose another name");
        self
    }

    /// The name of the application.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hosted deciders, by category.
    pub fn deciders(&self) -> impl Iterator<Item = DeciderInfo> {
        self.deciders.values().map(|decider| decider.info())
    }

    /// The event types of the hosted deciders, including older names and retired types.
    pub fn event_types(&self) -> impl Iterator<Item = HostedEvent> {
        self.deciders.values().flat_map(|decider| decider.events())
    }

    /// The hosted decisions, by name.
    pub fn decisions(&self) -> impl Iterator<Item = DecisionInfo<'_>> {
        self.decisions.iter().map(|(name, decision)| DecisionInfo { name, fields: decision.fields() })
    }

    /// The hosted deciders as an API describes them.
    #[cfg(feature = "http")]
    pub(crate) fn described_deciders(&self) -> impl Iterator<Item = DeciderDescription> {
        self.deciders.values().map(|decider| decider.description())
    }

    /// The hosted decisions as an API describes them.
    #[cfg(feature = "http")]
    pub(crate) fn described_decisions(&self) -> impl Iterator<Item = DecisionDescription<'_>> {
        self.decisions.iter().map(|(name, decision)| DecisionDescription {
            name,
            body: decision.body(),
            refusals: decision.refusals(),
        })
    }

    /// The kinds of the hosted states that are kept as snapshots, by the category of their streams.
    pub fn snapshot_kinds(&self) -> impl Iterator<Item = (&'static str, Fingerprint)> {
        self.deciders.iter().filter_map(|(category, decider)| Some((*category, decider.snapshot_kind()?)))
    }

    /// Sends a command to an entity.
    ///
    /// # Errors
    /// [`AppError`]. The variant tells if the caller, the domain, another writer or the store is the cause.
    ///
    /// # Cancel safety
    /// See [`Gesta::send`].
    pub async fn command(
        &self,
        gesta: &Gesta,
        category: &str,
        id: &str,
        command: &str,
        json: &[u8],
        options: CommandOptions,
    ) -> Result<Outcome, AppError> {
        self.find(category)?.command(options.call(gesta), id, command, json).await
    }

    /// Executes a decision.
    ///
    /// # Errors
    /// [`AppError`].
    ///
    /// # Cancel safety
    /// See [`Gesta::send`].
    pub async fn decide(
        &self,
        gesta: &Gesta,
        decision: &str,
        json: &[u8],
        options: CommandOptions,
    ) -> Result<Outcome, AppError> {
        let hosted = self.decisions.get(decision).ok_or_else(|| AppError::UnknownDecision {
            decision: decision.to_owned(),
            known: self.decisions.keys().cloned().collect(),
        })?;
        hosted.decide(options.call(gesta), json).await
    }

    /// The state of an entity, now or at an earlier point. An entity without events has its default state and no version.
    ///
    /// # Errors
    /// [`AppError::UnknownDecider`], [`AppError::BadId`], [`AppError::Load`].
    pub async fn state(
        &self,
        gesta: &Gesta,
        category: &str,
        id: &str,
        as_of: Option<AsOf>,
    ) -> Result<StateView, AppError> {
        self.find(category)?.state(gesta, id, as_of).await
    }

    /// The states of an entity at many moments, as JSON. None for an entity without events.
    ///
    /// # Errors
    /// [`AppError::UnknownDecider`], [`AppError::BadId`], [`AppError::Load`]; [`AppError::Invalid`] for more than `cuts_max` cuts.
    pub async fn series(
        &self,
        gesta: &Gesta,
        category: &str,
        id: &str,
        cuts: &Cuts,
        cuts_max: usize,
    ) -> Result<Vec<(Cut, Box<RawValue>)>, AppError> {
        self.find(category)?.series(gesta, id, cuts, cuts_max).await
    }

    /// The states of all entities of a category at many moments, each with the id of its entity. `lanes` takes a part of the category.
    ///
    /// # Errors
    /// [`AppError::UnknownDecider`], [`AppError::Load`]; [`AppError::Invalid`] for more than `states_max` states, and for what
    /// [`Gesta::series_of_category`] refuses.
    pub async fn series_of_category(
        &self,
        gesta: &Gesta,
        category: &str,
        cuts: &Cuts,
        lanes: Option<Lanes>,
        states_max: usize,
    ) -> Result<Vec<(String, Cut, Box<RawValue>)>, AppError> {
        self.find(category)?.series_of_category(gesta, cuts, lanes, states_max).await
    }

    /// A walk through the history of an entity, event by event.
    ///
    /// # Errors
    /// [`AppError::UnknownDecider`], [`AppError::BadId`], [`AppError::Load`].
    pub async fn steps(&self, gesta: &Gesta, category: &str, id: &str) -> Result<Steps, AppError> {
        self.find(category)?.steps(gesta, id).await
    }

    /// The state of an entity as it would be with other events. Nothing is written.
    ///
    /// # Errors
    /// [`AppError::UnknownDecider`], [`AppError::BadId`], [`AppError::Load`]; [`AppError::Invalid`] for an event that the entity does
    /// not read.
    pub async fn what_if(
        &self,
        gesta: &Gesta,
        category: &str,
        id: &str,
        what: WhatIf<JsonEvent>,
    ) -> Result<StateView, AppError> {
        self.find(category)?.what_if(gesta, id, what).await
    }

    /// What differs between the states of an entity at two points. `to` is now by default.
    ///
    /// # Errors
    /// [`AppError::UnknownDecider`], [`AppError::BadId`], [`AppError::Load`].
    pub async fn diff(
        &self,
        gesta: &Gesta,
        category: &str,
        id: &str,
        from: AsOf,
        to: Option<AsOf>,
    ) -> Result<Vec<FieldChange>, AppError> {
        self.find(category)?.diff(gesta, id, from, to).await
    }

    fn find(&self, category: &str) -> Result<&dyn HostedDecider, AppError> {
        self.deciders.get(category).map(|decider| &**decider).ok_or_else(|| AppError::UnknownDecider {
            category: category.to_owned(),
            known: self.deciders.keys().map(|category| (*category).to_owned()).collect(),
        })
    }
}

impl CommandOptions {
    fn call(self, gesta: &Gesta) -> Call {
        Call { gesta: gesta.with(self.meta), command: self.key, expected: self.expected }
    }
}
