//! Handles the events of one delivery: take the input, perform its effects, record their outcomes, until none is open.
//!
//! Every step may be repeated. The order of one input is: `repeat_of` its key; if it is new, load, react, append under the
//! key; then perform each open effect of this input and append its outcome under its own key. A crash between any two steps is
//! followed by the same delivery again, which goes on where the stream ends.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use gesta_consumer::Failed;
use gesta_core::{RecordedEvent, StreamName, with_causes};
use serde_json::value::RawValue;

use super::effect::{EffectContext, lasts};
use super::event::{ProcessEvent, is_process_event, outcome_json};
use super::identity::{EffectId, InputId, Keys, id_in, stream_text};
use super::memory::{Memory, OpenEffect};
use super::plan::{Cause, PlanError, plan};
use super::planted::{Bug, planted};
use super::{Perform, Process, Reaction, Trigger};
use crate::error::{LoadError, SendError};
use crate::halt::{Halt, decode};
use crate::handle::Gesta;
use crate::key::Key;
use crate::load::load_boundary;
use crate::meta::Meta;

/// Handles the events of a delivery, in their order, up to the first one that cannot be handled now.
pub(super) async fn handle<P: Process>(
    gesta: &Gesta,
    performer: &impl Perform<P>,
    events: &[RecordedEvent],
) -> Result<(), Failed> {
    for (handled, event) in events.iter().enumerate() {
        caught(handle_one(gesta, performer, event)).await.map_err(|halt| halt.after(handled))?;
    }
    Ok(())
}

async fn handle_one<P: Process>(
    gesta: &Gesta,
    performer: &impl Perform<P>,
    event: &RecordedEvent,
) -> Result<(), Halt> {
    let meta = Meta::new().caused_by(event).actor(format!("process:{}", P::NAME));
    let gesta = gesta.with(meta);
    for taker in Taker::<P>::all_of(event)? {
        handle_piece(&gesta, performer, event, &taker).await?;
    }
    Ok(())
}

async fn handle_piece<P: Process>(
    gesta: &Gesta,
    performer: &impl Perform<P>,
    event: &RecordedEvent,
    taker: &Taker<P>,
) -> Result<(), Halt> {
    let handling = Handling { gesta, event, taker };
    let mut memory = Memory::<P>::new(taker.stream.clone());
    let mut is_settled = handling.take(&mut memory).await?;
    while !is_settled {
        load_boundary(gesta.source(), &mut memory).await.map_err(|error| Halt::of_load(&error))?;
        is_settled = match handling.next_effect(&memory) {
            Some(open) => {
                let outcome = handling.perform(performer, &open).await?;
                handling.record(&mut memory, &open.id, outcome).await?;
                false
            }
            None => true,
        };
    }
    Ok(())
}

/// The process that takes an input.
struct Taker<P: Process> {
    id: P::Id,
    text: String,
    stream: StreamName,
    input: InputId,
}

impl<P: Process> Taker<P> {
    /// The processes that take an event: one for each event that it is read as, except for those that no process takes.
    fn all_of(event: &RecordedEvent) -> Result<Vec<Self>, Halt> {
        if is_process_event(event.event_type()) {
            let id = id_in(P::NAME, event.stream()).map(P::Id::parse);
            let id = id.transpose().map_err(|error| Halt::park_because(&error))?;
            return id.map(|id| Self::new(id, InputId::of(event, 0))).into_iter().collect();
        }
        let inputs = decode::<P::Input>(event)?;
        let takers = inputs.iter().filter_map(|input| {
            let id = P::correlate(input)?;
            Some(Self::new(id, InputId::of(event, input.piece.index)))
        });
        takers.collect()
    }

    fn new(id: P::Id, input: InputId) -> Result<Self, Halt> {
        let text = id.value();
        P::Id::parse(&text).map_err(|error| Halt::park_because(&error))?;
        let stream = StreamName::new(stream_text(P::NAME, &text));
        let stream = stream.map_err(|error| Halt::park_because(&error))?;
        Ok(Self { id, text, stream, input })
    }

    fn keys(&self) -> Keys<'_> {
        Keys { name: P::NAME, id: &self.text }
    }
}

/// The trigger in a piece of an event, decoded anew for each reaction.
fn trigger<P: Process>(event: &RecordedEvent, piece: u32) -> Result<Trigger<P>, Halt> {
    match ProcessEvent::decode(event).map_err(|error| Halt::of_load(&error))? {
        None => {
            let input = decode::<P::Input>(event)?.into_iter().find(|input| input.piece.index == piece);
            let same = "it was read as more events before: an upcaster must always give the same events";
            Ok(Trigger::Event(input.ok_or_else(|| Halt::park(same))?.event))
        }
        Some(ProcessEvent::TimerFired(fired)) => {
            let timer = fired.timer.read().map_err(|source| LoadError::undecodable(event, source));
            Ok(Trigger::Timer(timer.map_err(|error| Halt::of_load(&error))?))
        }
        Some(other) => Err(Halt::park(format_args!("`{}` is no input of a process", other.event_type()))),
    }
}

/// One input while it is handled.
struct Handling<'a, P: Process> {
    /// Records the input as the cause of all events.
    gesta: &'a Gesta,
    event: &'a RecordedEvent,
    taker: &'a Taker<P>,
}

impl<P: Process> Handling<'_, P> {
    /// Takes the input, unless it was taken before. Returns true if no effect came of it.
    async fn take(&self, memory: &mut Memory<P>) -> Result<bool, Halt> {
        let Taker { id, input, .. } = self.taker;
        let mut has_effects = true;
        let react = |memory: &Memory<P>| {
            let reaction =
                memory.state().react(id, trigger(self.event, input.piece).map_err(SendError::Refused)?);
            has_effects = !reaction.effects.is_empty();
            let facts = self.plan(memory, Cause::Input(input.clone()), reaction)?;
            facts.ok_or_else(|| {
                let what = self.event.event_type();
                SendError::Refused(Halt::release(format_args!("`{what}` is deferred")))
            })
        };
        let call = self.gesta.call();
        let call = if planted(Bug::NoKey) { call } else { call.command_key(self.taker.keys().input(input)) };
        let written = call.run(memory, react).await.map_err(send_halt)?;
        Ok(!written.repeated && !has_effects)
    }

    /// The first open effect that came of this input.
    fn next_effect(&self, memory: &Memory<P>) -> Option<OpenEffect> {
        memory.open().iter().find(|open| open.id.input == self.taker.input).cloned()
    }

    async fn perform(&self, performer: &impl Perform<P>, open: &OpenEffect) -> Result<Box<RawValue>, Halt> {
        let effect = serde_json::from_str(open.effect.get()).map_err(|error| {
            let error = format!("an effect of process `{}` does not decode: {error}", self.taker.stream);
            Halt::park(error)
        })?;
        let key = self.taker.keys().effect(&open.id);
        let context = EffectContext::new(self.gesta, self.event, &self.taker.text, key);
        let outcome =
            performer.perform(&context, effect).await.map_err(|failure| Halt::of_failure(&failure))?;
        outcome_json(&outcome).map_err(|error| Halt::park_because(&error))
    }

    /// Records an outcome with the reaction to it, unless another worker did.
    async fn record(
        &self,
        memory: &mut Memory<P>,
        effect: &EffectId,
        outcome: Box<RawValue>,
    ) -> Result<(), Halt> {
        let react = |memory: &Memory<P>| {
            if !memory.is_open(effect) {
                return Ok(Vec::new());
            }
            let trigger = serde_json::from_str(outcome.get()).map_err(|error| {
                let error = format!("an outcome does not survive storage: {error}");
                SendError::Refused(Halt::park(error))
            })?;
            let reaction = memory.state().react(&self.taker.id, Trigger::Outcome(trigger));
            let cause = Cause::Outcome { effect: effect.clone(), outcome: outcome.clone() };
            Ok(self.plan(memory, cause, reaction)?.expect("a deferred outcome is refused"))
        };
        let call = self.gesta.command_key(self.taker.keys().outcome(effect));
        call.run(memory, react).await.map(drop).map_err(send_halt)
    }

    /// The facts of a reaction; `None` if it is deferred.
    fn plan(
        &self,
        memory: &Memory<P>,
        cause: Cause,
        reaction: Reaction<P>,
    ) -> Result<Option<Vec<crate::fact::Fact>>, SendError<Halt>> {
        let is_deferred_input = planted(Bug::DeferRecords) && reaction.is_deferred;
        let reaction = if is_deferred_input { Reaction::none() } else { reaction };
        let planned = plan(memory, cause, reaction, self.gesta.environment().now());
        planned.map_err(|error| match error {
            PlanError::Encode(error) => SendError::Encode(error),
            error => SendError::Refused(Halt::park_because(&error)),
        })
    }
}

fn send_halt(error: SendError<Halt>) -> Halt {
    match error {
        SendError::Refused(halt) => halt,
        SendError::Load(error) => Halt::of_load(&error),
        error if lasts(&error) => Halt::park_because(&error),
        error => Halt::release(with_causes(&error)),
    }
}

/// Runs a future. A panic within it is a reason to park.
async fn caught<T>(work: impl Future<Output = Result<T, Halt>>) -> Result<T, Halt> {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let error = format!("the process panicked: {}", text.unwrap_or("no text"));
            Poll::Ready(Err(Halt::park(error)))
        })
    })
    .await
}
