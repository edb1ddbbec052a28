//! Object-safe wrappers around deciders and decisions.

use std::marker::PhantomData;

use gesta_core::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::to_raw_value;

use super::{AppError, DeciderInfo, HostedEvent, Outcome, StateView};
use crate::command::{Command, FieldInfo, read_input};
use crate::decider::Decider;
use crate::decision::Decision;
use crate::event::Event;
use crate::handle::{Call, Gesta};
use crate::key::Key;
use crate::load::AsOf;
use crate::state::State;

pub(super) trait HostedDecider: Send + Sync {
    fn info(&self) -> DeciderInfo;

    fn events(&self) -> Vec<HostedEvent>;

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
}

pub(super) trait HostedDecision: Send + Sync {
    fn fields(&self) -> &'static [FieldInfo];

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
        let types = <D as State>::Event::TYPES.iter();
        let names = types.flat_map(|info| {
            std::iter::once(&info.name).chain(info.aliases).map(|name| (*name, info.version))
        });
        let event =
            |(name, version)| HostedEvent { name, version, fields: <D as State>::Event::fields(name) };
        names.map(event).collect()
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
            let loaded = match as_of {
                None => gesta.load::<D>(&id).await?,
                Some(as_of) => gesta.load_at::<D>(&id, as_of).await?,
            };
            let state = to_raw_value(&loaded.state);
            let state = state.map_err(|error| AppError::Unprintable { reason: error.to_string() })?;
            Ok(StateView { state, version: loaded.version, checkpoint: loaded.checkpoint })
        })
    }
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

    fn decide<'a>(&'a self, call: Call, json: &'a [u8]) -> BoxFuture<'a, Result<Outcome, AppError>> {
        Box::pin(async move {
            let decision = read_input::<D>(json)?;
            Ok(Outcome::new(call.execute_facts(decision).await?))
        })
    }
}
