//! What a performer gets beside the effect, and how it fails.

use std::sync::atomic::{AtomicBool, Ordering};

use gesta_core::{AppendError, RecordedEvent, Retry};

use super::identity::effect_command_key;
use super::planted::{Bug, planted};
use crate::decider::Decider;
use crate::decision::Decision;
use crate::error::{LoadError, SendError};
use crate::fact::NewFact;
use crate::handle::{Call, Committed, Gesta};
use crate::hex::hex;
use crate::key::{Key, KeyError};

/// The context of one effect: its key, and a handle on the store that records its cause.
#[derive(Debug)]
pub struct EffectContext<'a> {
    gesta: &'a Gesta,
    input: &'a RecordedEvent,
    id: &'a str,
    key: [u8; 32],
    key_text: String,
    has_sent: AtomicBool,
}

impl<'a> EffectContext<'a> {
    pub(super) fn new(gesta: &'a Gesta, input: &'a RecordedEvent, id: &'a str, key: [u8; 32]) -> Self {
        Self { gesta, input, id, key, key_text: hex(&key), has_sent: AtomicBool::new(false) }
    }

    /// The key of the effect: 64 hexadecimal digits, the same each time that this effect is performed, and for this effect
    /// only. Give it to a target outside the store, for example as `Idempotency-Key`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key_text
    }

    /// The id of the process, [`Process::Id`](crate::Process::Id).
    ///
    /// # Errors
    /// [`KeyError`] if `K` is another type and does not parse it.
    pub fn id<K: Key>(&self) -> Result<K, KeyError> {
        K::parse(self.id)
    }

    /// The event that the effect came of. After an outcome or a second step it is still the input at the beginning.
    #[must_use]
    pub const fn input(&self) -> &'a RecordedEvent {
        self.input
    }

    /// A handle on the store. Its events have the process as actor, the input as causation, and the input's correlation.
    /// Commands that are sent with it have no key: use [`Self::send`].
    #[must_use]
    pub const fn gesta(&self) -> &'a Gesta {
        self.gesta
    }

    /// Sends a command to an entity of the same store, under the key of the effect: a repeat gets the first answer.
    ///
    /// An effect sends one command. For two commands, make two effects, or one decision.
    ///
    /// # Errors
    /// [`SendError`]. `Refused` is an outcome; turn any other error into a [`Failure`]. [`SendError::Invalid`] for a second
    /// command.
    pub async fn send<D: Decider>(
        &self,
        id: &D::Id,
        command: D::Command,
    ) -> Result<Committed<D::Event>, SendError<D::Error>> {
        let stream = id.stream().map_err(LoadError::from)?;
        self.call(stream.as_str().as_bytes())?.send::<D>(id, command).await
    }

    /// Executes a decision over entities of the same store, under the key of the effect.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn execute<D: Decision>(&self, decision: D) -> Result<Committed<NewFact>, SendError<D::Error>> {
        self.call(b"decision")?.execute(decision).await
    }

    fn call<E>(&self, target: &[u8]) -> Result<Call, SendError<E>> {
        if self.has_sent.swap(true, Ordering::Relaxed) {
            let reason = "an effect sends one command under its key: make a second effect, or one decision";
            return Err(SendError::Invalid { reason });
        }
        if planted(Bug::NoEffectKey) {
            return Ok(self.gesta.call());
        }
        Ok(self.gesta.command_key(effect_command_key(&self.key, target)))
    }
}

/// The reason why nothing is known to have come of an effect. It decides when the effect is tried again.
///
/// The reason is any error or text: `Failure::Transient("no seat is free yet".into())`.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// This effect failed and may succeed later. Tried again after a pause that grows. After the attempts of the group the
    /// stream is parked.
    #[error("the effect failed")]
    Transient(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The target cannot be reached or is busy, for this effect as for others. Tried again without end; nothing is parked.
    #[error("the target of the effect is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The effect can never succeed. The stream is parked at once, for an operator.
    #[error("the effect cannot succeed")]
    Final(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// By [`SendError::retry`]: an error that lasts is `Final`, any other is `Unavailable`. So is a busy entity: it parks nothing.
impl<E: std::error::Error + Send + Sync + 'static> From<SendError<E>> for Failure {
    fn from(error: SendError<E>) -> Self {
        if lasts(&error) { Self::Final(error.into()) } else { Self::Unavailable(error.into()) }
    }
}

/// `Final`.
impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::Final(error.into())
    }
}

/// True if the same call fails until somebody changes its cause. A store that is closed or takes no writes is a store that is
/// away: its operator opens it again.
pub(super) fn lasts<E>(error: &SendError<E>) -> bool {
    let is_away = matches!(error, SendError::Append(AppendError::Closed | AppendError::ReadOnly { .. }))
        || matches!(error, SendError::Load(LoadError::Read(gesta_core::ReadError::Closed)));
    error.retry() == Retry::Never && !is_away
}
