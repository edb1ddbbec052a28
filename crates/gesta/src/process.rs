//! Processes: long-running workflows that react to events with events of their own, effects and timers.
//!
//! A process has a stream of its own, `NAME-id`. Everything it does is recorded there before it is done, so a crash at any
//! point is followed by the same steps again, each with one effect. `docs/processes.md` explains the rules for authors.
//!
//! *Invariants:* an input is recorded as taken in the batch of the reaction to it. An effect is recorded before it is
//! performed. Every batch expects the version of the stream that was decided upon, and has a key of its own.

mod effect;
mod event;
mod handle;
mod hosted;
mod identity;
mod limits;
mod memory;
mod plan;
mod planted;
mod reaction;
#[cfg(test)]
mod simulation;
pub(crate) mod timers;

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::{Event, Recorded};
use crate::key::Key;
use crate::state::State;

pub use effect::{EffectContext, Failure};
pub use hosted::{HostedProcess, NameProblem, ProcessNameError};
pub use reaction::Reaction;
pub use timers::{TimerSettings, TimerStats, Timers, TimersError};

pub(crate) use event::is_process_event;

/// A long-running workflow: a state with a stream of its own that reacts to events.
///
/// Its state is folded from its events, like the state of a decider. Inputs are events of any streams; [`Self::correlate`]
/// names the process that takes each of them. `react` is pure, so it can run again.
///
/// - Inputs of one stream come in order. Inputs of different streams come in any order, so **every step handles every
///   input**. An input that is taken with [`Reaction::none`] is gone for good; [`Reaction::defer`] leaves it for later.
/// - An effect is data. It is recorded first and performed after that, by a [`Perform`]. Its outcome is recorded too, and
///   is the next trigger.
/// - Every input is taken once, however often it is delivered. Every effect has a key, so that its target does it once.
/// - A timer is named by its value. Setting a pending one replaces it. It fires once. Its trigger may arrive after an input
///   that would have cancelled it, so `react` decides by its state.
///
/// # Example
/// A reminder: an invoice that is not paid within 30 days is followed by one letter.
/// ```
/// # use std::time::Duration;
/// # use gesta::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Clone, Key)] #[key("invoice")] struct InvoiceId(String);
/// # #[derive(Debug, Clone, Event)] #[event(prefix = "shop.invoice")] enum InvoiceEvent { Sent, Paid }
/// #[derive(Debug, Event)]
/// #[event(prefix = "shop.reminder")]
/// enum ReminderEvent {
///     Settled,
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct SendLetter;
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Overdue;
///
/// #[derive(Debug, Default)]
/// struct Reminder {
///     settled: bool,
/// }
///
/// impl State for Reminder {
///     type Event = ReminderEvent;
///     fn evolve(&mut self, ReminderEvent::Settled: ReminderEvent) {
///         self.settled = true;
///     }
/// }
///
/// impl Process for Reminder {
///     const NAME: &'static str = "reminder";
///     type Id = InvoiceId;
///     type Input = InvoiceEvent;
///     type Effect = SendLetter;
///     type Outcome = ();
///     type Timer = Overdue;
///
///     fn correlate(input: &Recorded<InvoiceEvent>) -> Option<InvoiceId> {
///         input.key()
///     }
///
///     fn react(&self, _: &InvoiceId, trigger: Trigger<Self>) -> Reaction<Self> {
///         match trigger {
///             Trigger::Event(InvoiceEvent::Sent) => Reaction::none().timer(Overdue, Duration::from_hours(30 * 24)),
///             Trigger::Event(InvoiceEvent::Paid) => Reaction::record(ReminderEvent::Settled).cancel(Overdue),
///             Trigger::Timer(Overdue) if !self.settled => Reaction::perform(SendLetter),
///             Trigger::Timer(Overdue) | Trigger::Outcome(()) => Reaction::none(),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process",
    label = "not a process",
    note = "implement `gesta::Process`: `NAME`, `type Id`, `Input`, `Effect`, `Outcome` and `Timer`, `fn correlate` and `fn react`"
)]
pub trait Process: State {
    /// The name of the process and the category of its streams: 1 to 92 letters, digits, `_` and `.`, and no other
    /// category of the host. Its group is `process-NAME`.
    const NAME: &'static str;

    /// What identifies one process. Its stream is `NAME-id`; [`Key::KIND`] is not used.
    type Id: Key;
    /// The events it reacts to, of any streams.
    type Input: Event;
    /// What it wants done outside its stream.
    type Effect: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What came of an effect, refusals included.
    type Outcome: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The names of its timers; `()` for a process without timers. Two timers are the same if their JSON is.
    type Timer: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The process that takes an input; `None` for an input that no process takes. The answer must not change.
    fn correlate(input: &Recorded<Self::Input>) -> Option<Self::Id>;

    /// What follows from a trigger. Pure: no I/O, no clock, no entropy.
    fn react(&self, id: &Self::Id, trigger: Trigger<Self>) -> Reaction<Self>;
}

/// What a process reacts to.
pub enum Trigger<P: Process> {
    /// An input.
    Event(P::Input),
    /// What came of an effect of this process.
    Outcome(P::Outcome),
    /// A timer of this process that fired.
    Timer(P::Timer),
}

/// Performs the effects of a process: the impure side.
///
/// An effect may be performed again after a crash, with the same [`EffectContext::key`]. So give the key to the target, or
/// use [`EffectContext::send`], which does.
///
/// A refusal by the domain is an outcome and not a [`Failure`]: it is recorded, and the process reacts to it. A failure is not
/// recorded. The effect is tried again, or the stream is parked for an operator.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not perform the effects of `{P}`",
    note = "implement `gesta::Perform<{P}>` with `async fn perform(&self, cx: &EffectContext<'_>, effect: …)`"
)]
pub trait Perform<P: Process>: Send + Sync + 'static {
    /// Performs one effect.
    ///
    /// # Errors
    /// [`Failure`], if nothing is known to have come of it.
    fn perform(
        &self,
        cx: &EffectContext<'_>,
        effect: P::Effect,
    ) -> impl Future<Output = Result<P::Outcome, Failure>> + Send;
}
