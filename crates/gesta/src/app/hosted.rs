//! Object-safe wrappers around deciders and decisions.

use std::marker::PhantomData;
use std::ops::ControlFlow;

use gesta_core::{BoxFuture, Fingerprint, Lanes};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

#[cfg(feature = "http")]
use super::DeciderDescription;
use super::{AppError, DeciderInfo, HostedEvent, Outcome, StateView};
#[cfg(feature = "http")]
use crate::command::schema_of_fields;
use crate::command::{Command, FieldInfo, read_input};
use crate::decider::Decider;
use crate::decision::Decision;
use crate::event::Event;
use crate::handle::{Call, Gesta};
use crate::key::Key;
use crate::load::{AsOf, Loaded};
use crate::past::{
    CategoryError, Cut, Cuts, FieldChange, JsonEvent, Steps, WhatIf, changes, decoded, series,
    series_of_category, what_if,
};
#[cfg(feature = "http")]
use crate::refusal::RefusalInfo;
use crate::state::State;

/// A moment and the state there, as JSON.
pub(super) type StateAtCut = (Cut, Box<RawValue>);

/// The id of an entity, a moment and the state there, as JSON.
pub(super) type EntityAtCut = (String, Cut, Box<RawValue>);

pub(super) trait HostedDecider: Send + Sync {
    fn info(&self) -> DeciderInfo;

    fn events(&self) -> Vec<HostedEvent>;

    #[cfg(feature = "http")]
    fn description(&self) -> DeciderDescription;

    /// The kind of its states in a snapshot store; `None` if they are not kept.
    fn snapshot_kind(&self) -> Option<Fingerprint>;

    fn command<'a>(
        &'a self,
        call: Call,
        id: &'a str,
        command: &'a str,
        json: &'a [u8],
    ) -> BoxFuture<'a, Result<Outcome, AppError>>;

    fn state<'a>(
        &'a self,
        gesta: &'a Gesta,
        id: &'a str,
        as_of: Option<AsOf>,
    ) -> BoxFuture<'a, Result<StateView, AppError>>;

    fn series<'a>(
        &'a self,
        gesta: &'a Gesta,
        id: &'a str,
        cuts: &'a Cuts,
        cuts_max: usize,
    ) -> BoxFuture<'a, Result<Vec<StateAtCut>, AppError>>;

    fn series_of_category<'a>(
        &'a self,
        gesta: &'a Gesta,
        cuts: &'a Cuts,
        lanes: Option<Lanes>,
        states_max: usize,
    ) -> BoxFuture<'a, Result<Vec<EntityAtCut>, AppError>>;

    fn steps<'a>(&'a self, gesta: &'a Gesta, id: &'a str) -> BoxFuture<'a, Result<Steps, AppError>>;

    fn what_if<'a>(
        &'a self,
        gesta: &'a Gesta,
        id: &'a str,
        what: WhatIf<JsonEvent>,
    ) -> BoxFuture<'a, Result<StateView, AppError>>;

    fn diff<'a>(
        &'a self,
        gesta: &'a Gesta,
        id: &'a str,
        from: AsOf,
        to: Option<AsOf>,
    ) -> BoxFuture<'a, Result<Vec<FieldChange>, AppError>>;
}

pub(super) trait HostedDecision: Send + Sync {
    fn fields(&self) -> &'static [FieldInfo];

    /// The schema of its inputs.
    #[cfg(feature = "http")]
    fn body(&self) -> serde_json::Value;

    #[cfg(feature = "http")]
    fn refusals(&self) -> &'static [RefusalInfo];

    fn decide<'a>(&'a self, call: Call, json: &'a [u8]) -> BoxFuture<'a, Result<Outcome, AppError>>;
}

/// A decider, known by its type.
pub(super) struct Decides<D>(PhantomData<fn() -> D>);

impl<D> Decides<D> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<D: Decider + Serialize> HostedDecider for Decides<D> {
    fn info(&self) -> DeciderInfo {
        DeciderInfo {
            category: D::Id::KIND,
            commands: D::Command::COMMANDS,
            events: <D as State>::Event::TYPES.iter().map(|info| info.name).collect(),
        }
    }

    fn events(&self) -> Vec<HostedEvent> {
        let types = <D as State>::Event::TYPES.iter().chain(<D as State>::Event::RETIRED);
        let names = types.flat_map(|info| {
            std::iter::once(&info.name).chain(info.aliases).map(|name| (*name, info.version))
        });
        let event =
            |(name, version)| HostedEvent { name, version, fields: <D as State>::Event::fields(name) };
        names.map(event).collect()
    }

    #[cfg(feature = "http")]
    fn description(&self) -> DeciderDescription {
        let mut exact = D::Command::schemas();
        let commands = D::Command::COMMANDS.iter().map(|info| {
            let known = exact.iter().position(|(name, _)| *name == info.name);
            let schema = known.map_or_else(|| schema_of_fields(info.fields), |at| exact.swap_remove(at).1);
            (info.name, schema)
        });
        let types = <D as State>::Event::TYPES.iter().chain(<D as State>::Event::RETIRED);
        DeciderDescription {
            category: D::Id::KIND,
            commands: commands.collect(),
            refusals: D::REFUSALS,
            state: D::snapshots().map_or_else(|| serde_json::json!({}), |snapshots| snapshots.schema()),
            events: types.map(|info| info.name).collect(),
        }
    }

    fn snapshot_kind(&self) -> Option<Fingerprint> {
        D::snapshots().map(|snapshots| snapshots.fingerprint())
    }

    fn command<'a>(
        &'a self,
        call: Call,
        id: &'a str,
        command: &'a str,
        json: &'a [u8],
    ) -> BoxFuture<'a, Result<Outcome, AppError>> {
        Box::pin(async move {
            let decoded = D::Command::decode(command, json).ok_or_else(|| AppError::UnknownCommand {
                category: D::Id::KIND.to_owned(),
                command: command.to_owned(),
                known: D::Command::COMMANDS.iter().map(|info| info.name.to_owned()).collect(),
            })??;
            let id = D::Id::parse(id)?;
            let written = call.send_facts::<D>(&id, decoded, &mut Vec::new()).await?;
            Ok(Outcome::new(written))
        })
    }

    fn state<'a>(
        &'a self,
        gesta: &'a Gesta,
        id: &'a str,
        as_of: Option<AsOf>,
    ) -> BoxFuture<'a, Result<StateView, AppError>> {
        Box::pin(async move {
            let id = D::Id::parse(id)?;
            let printed = match as_of {
                None => gesta.inspect(&id, |state: &D, _| to_raw_value(state)).await?,
                Some(as_of) => gesta.load_at::<D>(&id, as_of).await?.map(|state| to_raw_value(&state)),
            };
            printed_view(printed)
        })
    }

    fn series<'a>(
        &'a self,
        gesta: &'a Gesta,
        id: &'a str,
        cuts: &'a Cuts,
        cuts_max: usize,
    ) -> BoxFuture<'a, Result<Vec<StateAtCut>, AppError>> {
        Box::pin(async move {
            let stream = D::Id::parse(id)?.stream()?;
            let mut collected = Collected::new(cuts_max);
            let visit = |cut, state: &D| collected.add(state, |state| (cut, state));
            series((&**gesta.event_store(), gesta.environment().now()), stream, cuts, visit).await?;
            collected.finish()
        })
    }

    fn series_of_category<'a>(
        &'a self,
        gesta: &'a Gesta,
        cuts: &'a Cuts,
        lanes: Option<Lanes>,
        states_max: usize,
    ) -> BoxFuture<'a, Result<Vec<EntityAtCut>, AppError>> {
        Box::pin(async move {
            let mut collected = Collected::new(states_max);
            let visit = |id: &D::Id, cut, state: &D| collected.add(state, |state| (id.value(), cut, state));
            let passed = series_of_category::<D>(
                (&**gesta.event_store(), gesta.environment().now()),
                cuts,
                lanes,
                visit,
            )
            .await;
            passed.map_err(|error| match error {
                CategoryError::Load(error) => AppError::from(error),
                error => AppError::Invalid { reason: error.to_string() },
            })?;
            collected.finish()
        })
    }

    fn steps<'a>(&'a self, gesta: &'a Gesta, id: &'a str) -> BoxFuture<'a, Result<Steps, AppError>> {
        Box::pin(async move { Ok(gesta.steps::<D>(&D::Id::parse(id)?).await?) })
    }

    fn what_if<'a>(
        &'a self,
        gesta: &'a Gesta,
        id: &'a str,
        what: WhatIf<JsonEvent>,
    ) -> BoxFuture<'a, Result<StateView, AppError>> {
        Box::pin(async move {
            let stream = D::Id::parse(id)?.stream()?;
            let what = decoded(what).map_err(|reason| AppError::Invalid { reason })?;
            let loaded = what_if::<D>(&**gesta.event_store(), stream, what).await?;
            printed_view(loaded.map(|state| to_raw_value(&state)))
        })
    }

    fn diff<'a>(
        &'a self,
        gesta: &'a Gesta,
        id: &'a str,
        from: AsOf,
        to: Option<AsOf>,
    ) -> BoxFuture<'a, Result<Vec<FieldChange>, AppError>> {
        Box::pin(async move {
            let id = D::Id::parse(id)?;
            let before = gesta.load_at::<D>(&id, from).await?;
            let after = match to {
                Some(to) => gesta.load_at::<D>(&id, to).await?,
                None => gesta.load::<D>(&id).await?,
            };
            let json = |state: D| {
                let json = serde_json::to_value(state);
                json.map_err(|error| AppError::Unprintable { reason: error.to_string() })
            };
            Ok(changes(&json(before.state)?, &json(after.state)?))
        })
    }
}

fn printed_view(printed: Loaded<serde_json::Result<Box<RawValue>>>) -> Result<StateView, AppError> {
    let Loaded { state, version, checkpoint } = printed;
    let state = state.map_err(|error| AppError::Unprintable { reason: error.to_string() })?;
    Ok(StateView { state, version, checkpoint })
}

/// The states of a series, as JSON.
struct Collected<T> {
    found: Vec<T>,
    most: usize,
    stopped: Option<AppError>,
}

impl<T> Collected<T> {
    const fn new(most: usize) -> Self {
        Self { found: Vec::new(), most, stopped: None }
    }

    /// Adds a state. Breaks if it is one too many, or cannot be written.
    fn add(&mut self, state: &impl Serialize, item: impl FnOnce(Box<RawValue>) -> T) -> ControlFlow<()> {
        match to_raw_value(state) {
            _ if self.found.len() == self.most => self.stopped = Some(too_many_cuts(self.most)),
            Ok(state) => self.found.push(item(state)),
            Err(error) => self.stopped = Some(AppError::Unprintable { reason: error.to_string() }),
        }
        if self.stopped.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn finish(self) -> Result<Vec<T>, AppError> {
        self.stopped.map_or(Ok(self.found), Err)
    }
}

fn too_many_cuts(most: usize) -> AppError {
    let reason = format!(
        "the series has more than {most} cuts: take a longer step, or a part of the time with `from` and `to`"
    );
    AppError::Invalid { reason }
}

/// A decision, known by its type.
pub(super) struct Transacts<D>(PhantomData<fn() -> D>);

impl<D> Transacts<D> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<D: Decision + DeserializeOwned> HostedDecision for Transacts<D> {
    fn fields(&self) -> &'static [FieldInfo] {
        D::FIELDS
    }

    #[cfg(feature = "http")]
    fn body(&self) -> serde_json::Value {
        D::schema().unwrap_or_else(|| schema_of_fields(D::FIELDS))
    }

    #[cfg(feature = "http")]
    fn refusals(&self) -> &'static [RefusalInfo] {
        D::REFUSALS
    }

    fn decide<'a>(&'a self, call: Call, json: &'a [u8]) -> BoxFuture<'a, Result<Outcome, AppError>> {
        Box::pin(async move {
            let decision = read_input::<D>(json)?;
            Ok(Outcome::new(call.execute_facts(decision).await?))
        })
    }
}
