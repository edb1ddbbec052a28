//! The process of the simulation: its reactions follow from its state and the trigger, and look random. Its effects are
//! commands to an entity that notes them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::random::{Random, mix};
use crate::{
    Command, Decider, EffectContext, Event, Failure, Key, Perform, Process, Reaction, Recorded, Refusal,
    SendError, State, Trigger,
};

#[derive(Debug, Clone, Key)]
#[key("unused")]
pub(super) struct ProcessId(pub(super) u64);

#[derive(Debug, Event)]
#[event(prefix = "sim.input")]
pub(super) enum Input {
    Came {
        process: u64,
        label: String,
        /// The label of an input that must be taken before.
        needs: Option<String>,
        /// Nothing is recorded about it but that it was taken.
        is_silent: bool,
    },
}

/// Numbered without gaps, so that a decision on an old memory shows.
#[derive(Debug, Event)]
#[event(prefix = "sim.process")]
pub(super) enum Noted {
    Noted { number: u64, label: String },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Effect {
    pub(super) name: String,
    pub(super) tries: u8,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Done,
    Refused(Effect),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Timer {
    Near(u64),
    Far { number: u64 },
}

#[derive(Default)]
pub(super) struct Sim {
    count: u64,
    labels: BTreeSet<String>,
}

impl State for Sim {
    type Event = Noted;

    fn evolve(&mut self, Noted::Noted { label, .. }: Noted) {
        self.count += 1;
        self.labels.insert(label);
    }
}

impl Process for Sim {
    const NAME: &'static str = "sim";
    type Id = ProcessId;
    type Input = Input;
    type Effect = Effect;
    type Outcome = Outcome;
    type Timer = Timer;

    fn correlate(input: &Recorded<Input>) -> Option<ProcessId> {
        let Input::Came { process, .. } = &input.event;
        Some(ProcessId(*process))
    }

    fn react(&self, _: &ProcessId, trigger: Trigger<Self>) -> Reaction<Self> {
        match trigger {
            Trigger::Event(Input::Came { needs: Some(needs), .. }) if !self.labels.contains(&needs) => {
                Reaction::defer()
            }
            Trigger::Event(Input::Came { label, is_silent, .. }) => self.step(&label, u64::from(!is_silent)),
            // An event at least: from the same state, a timer that sets itself again would do so for ever.
            Trigger::Timer(timer) => self.step(&format!("{timer:?}"), 1),
            Trigger::Outcome(Outcome::Done) => Reaction::none(),
            Trigger::Outcome(Outcome::Refused(effect)) if effect.tries == 2 => Reaction::none(),
            Trigger::Outcome(Outcome::Refused(effect)) => {
                let again = Effect { name: format!("{} again", effect.name), tries: effect.tries + 1 };
                self.note(&effect.name, self.luck(&effect.name) % 2).effect(again)
            }
        }
    }
}

impl Sim {
    fn luck(&self, label: &str) -> u64 {
        let label = label.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        mix(label ^ self.count)
    }

    fn note(&self, label: &str, events: u64) -> Reaction<Self> {
        let numbers = self.count..self.count + events;
        numbers.fold(Reaction::none(), |reaction, number| {
            reaction.and_record(Noted::Noted { number, label: label.to_owned() })
        })
    }

    fn step(&self, label: &str, events_min: u64) -> Reaction<Self> {
        let luck = self.luck(label);
        let effects = (0..luck % 3).map(|number| Effect { name: format!("{label} {number}"), tries: 0 });
        let reaction = self.note(label, events_min + luck / 7 % 2);
        let reaction = effects.fold(reaction, Reaction::effect);
        let reaction = match luck / 100 % 4 {
            0..2 => reaction.timer(Timer::Near(luck / 600 % 3), Duration::from_secs(luck / 2_000 % 60)),
            2 => reaction
                .timer(Timer::Far { number: luck / 600 % 7 }, Duration::from_secs(10_000 + luck % 5_000)),
            _ => reaction,
        };
        match luck / 10_000 % 8 {
            0 => reaction.cancel(Timer::Near(luck / 100_000 % 3)),
            1 => reaction.cancel(Timer::Far { number: luck / 100_000 % 7 }),
            _ => reaction,
        }
    }
}

#[derive(Debug, Clone, Key)]
#[key("target")]
pub(super) struct TargetId(pub(super) u64);

#[derive(Debug, Event)]
#[event(prefix = "sim.target")]
pub(super) enum Did {
    Did { effect: String },
}

#[derive(Debug, Clone, Command)]
pub(super) enum TargetCommand {
    Do { effect: String, is_refused: bool },
}

#[derive(Debug, PartialEq, Refusal)]
pub(super) enum NotNow {
    NotNow,
}

#[derive(Default)]
pub(super) struct Target;

impl State for Target {
    type Event = Did;

    fn evolve(&mut self, _: Did) {}
}

impl Decider for Target {
    type Id = TargetId;
    type Command = TargetCommand;
    type Error = NotNow;

    fn decide(&self, TargetCommand::Do { effect, is_refused }: TargetCommand) -> Result<Vec<Did>, NotNow> {
        if is_refused { Err(NotNow::NotNow) } else { Ok(vec![Did::Did { effect }]) }
    }
}

/// Performs effects with the luck of the seed.
pub(super) struct Performer(pub(super) Arc<Mutex<Random>>);

impl Perform<Sim> for Performer {
    async fn perform(&self, cx: &EffectContext<'_>, effect: Effect) -> Result<Outcome, Failure> {
        let (fails, is_refused) = {
            let mut random = self.0.lock().unwrap();
            (random.chance(10), random.chance(25))
        };
        if fails {
            return Err(Failure::Transient("no luck".into()));
        }
        let command = TargetCommand::Do { effect: effect.name.clone(), is_refused };
        match cx.send::<Target>(&TargetId(1), command).await {
            Ok(_) => Ok(Outcome::Done),
            Err(SendError::Refused(_)) => Ok(Outcome::Refused(effect)),
            Err(error) => Err(error.into()),
        }
    }
}
