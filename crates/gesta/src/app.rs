//! The hosting of deciders and decisions: commands by name, from JSON, for an HTTP router and a command line.

mod error;
mod hosted;
mod outcome;

use std::collections::BTreeMap;

use gesta_core::{CommandKey, Expected};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::{CommandInfo, FieldInfo};
use crate::decision::Decision;
use crate::handle::{Call, Gesta};
use crate::key::Key;
use crate::load::AsOf;
use crate::meta::Meta;
use crate::state::Decider;

pub use error::AppError;
use hosted::{Decides, HostedDecider, HostedDecision, Transacts};
pub use outcome::{Outcome, OutcomeEvent, StateView};

/// An application: its deciders and decisions under their names.
///
/// It holds no store: the host gives one with each call.
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

/// What one command is sent with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOptions {
    /// Makes its repeat harmless. Scope keys from outside with [`Idempotency`](crate::Idempotency).
    pub key: Option<CommandKey>,
    /// What the caller believes of the entity. Refused for decisions.
    pub expected: Option<Expected>,
    /// Who, because of what, and why.
    pub meta: Meta,
}

/// What an [`App`] hosts of one decider.
#[derive(Debug, Clone, Serialize)]
pub struct DeciderInfo {
    /// The category of its streams, which is its name in URLs.
    pub category: &'static str,
    /// Its commands.
    pub commands: &'static [CommandInfo],
    /// The types of its events.
    pub events: Vec<&'static str>,
}

/// What an [`App`] hosts of one decision.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DecisionInfo<'a> {
    /// Its name in URLs.
    pub name: &'a str,
    /// Its inputs; empty where they are not said.
    pub fields: &'static [FieldInfo],
}

impl App {
    /// An application that hosts nothing yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), deciders: BTreeMap::new(), decisions: BTreeMap::new() }
    }

    /// Hosts a decider, under the category of its streams.
    ///
    /// # Panics
    /// If the category has a decider already.
    #[must_use]
    pub fn decider<D: Decider + Serialize>(mut self) -> Self {
        let category = D::Id::KIND;
        let before = self.deciders.insert(category, Box::new(Decides::<D>::new()));
        assert!(before.is_none(), "category `{category}` has a decider already: a stream belongs to one");
        self
    }

    /// Hosts a decision, under a name.
    ///
    /// # Panics
    /// If the name is taken, or is not made of letters, digits, `-`, `_` and `.`.
    #[must_use]
    pub fn decision<D: Decision + DeserializeOwned>(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(
            !name.is_empty() && name.bytes().all(plain),
            "`{name}` cannot be a part of a URL: use letters, digits, `-`, `_` and `.`"
        );
        let before = self.decisions.insert(name.clone(), Box::new(Transacts::<D>::new()));
        assert!(before.is_none(), "decision `{name}` is hosted already: give one another name");
        self
    }

    /// The name of the application.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The deciders it hosts, by category.
    pub fn deciders(&self) -> impl Iterator<Item = DeciderInfo> {
        self.deciders.values().map(|decider| decider.info())
    }

    /// The decisions it hosts, by name.
    pub fn decisions(&self) -> impl Iterator<Item = DecisionInfo<'_>> {
        self.decisions.iter().map(|(name, decision)| DecisionInfo { name, fields: decision.fields() })
    }

    /// Sends a command to an entity.
    ///
    /// # Errors
    /// [`AppError`]; it says by its variant whether the caller, the domain, another writer or the store is the reason.
    ///
    /// # Cancel safety
    /// As [`Gesta::send`].
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
    /// As [`Gesta::send`].
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

    /// The state of an entity, now or as it was. An entity that nothing happened to has its default state and no version.
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
