//! The test kit for processes: given, after, then.
//!
//! One test is many runs. Every run delivers the same events in another order, and all must end with the same effects and
//! the same events of the process.

mod choices;
mod expect;
mod run;
mod stepped;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use gesta_core::Timestamp;

use crate::fact::{Fact, NewFact};
use crate::process::{HostedProcess, Perform, Process};
use crate::state::State;
use choices::Choices;
use expect::{Expected, Failed};
use run::{Crash, Ended, Repeats, Run};

/// Interleavings that are run. If there are more, a sample is run too.
const INTERLEAVINGS_MAX: usize = 10_000;
/// The sample of the interleavings beyond.
const SAMPLE: u64 = 1_000;
/// Runs with a crash. If there are more places to crash at, a sample of them is run.
const CRASHES_MAX: usize = 10_000;

/// Starts a test of a process.
///
/// The given events are recorded; those that are inputs are delivered. Every test runs
///
/// - every interleaving of the inputs that keeps the order of each stream (beyond 10,000 also a sample by seed), with each
///   input delivered twice, and all of them again at the end;
/// - each of them again with one crash, once for every step of the store or the performer (beyond 10,000 a sample).
///
/// All runs must come to the same effects and events. A run in which every input that is left is deferred fails.
///
/// The performer serves all runs, each on a store of its own in memory. Effects that are commands to deciders are really
/// sent, so give the events that those need.
///
/// # Example
/// ```
/// # use std::time::Duration;
/// # use gesta::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Clone, Key)] #[key("invoice")] struct InvoiceId(String);
/// # #[derive(Debug, Clone, Event)] #[event(prefix = "shop.invoice")] enum InvoiceEvent { Sent, Paid }
/// # #[derive(Debug, Event)] #[event(prefix = "shop.reminder")] enum ReminderEvent { Settled }
/// # #[derive(Debug, Serialize, Deserialize)] struct SendLetter;
/// # #[derive(Debug, Serialize, Deserialize)] struct Overdue;
/// # #[derive(Debug, Default)] struct Reminder { settled: bool }
/// # impl State for Reminder {
/// #     type Event = ReminderEvent;
/// #     fn evolve(&mut self, ReminderEvent::Settled: ReminderEvent) { self.settled = true; }
/// # }
/// # impl Process for Reminder {
/// #     const NAME: &'static str = "reminder";
/// #     type Id = InvoiceId; type Input = InvoiceEvent; type Effect = SendLetter; type Outcome = (); type Timer = Overdue;
/// #     fn correlate(input: &Recorded<InvoiceEvent>) -> Option<InvoiceId> { input.key() }
/// #     fn react(&self, _: &InvoiceId, trigger: Trigger<Self>) -> Reaction<Self> {
/// #         match trigger {
/// #             Trigger::Event(InvoiceEvent::Sent) => Reaction::none().timer(Overdue, Duration::from_hours(720)),
/// #             Trigger::Event(InvoiceEvent::Paid) => Reaction::record(ReminderEvent::Settled).cancel(Overdue),
/// #             Trigger::Timer(Overdue) if !self.settled => Reaction::perform(SendLetter),
/// #             Trigger::Timer(Overdue) | Trigger::Outcome(()) => Reaction::none(),
/// #         }
/// #     }
/// # }
/// # struct Post;
/// # impl Perform<Reminder> for Post {
/// #     async fn perform(&self, _: &EffectContext<'_>, SendLetter: SendLetter) -> Result<(), Failure> { Ok(()) }
/// # }
/// use gesta::testing::process;
///
/// let invoice = InvoiceId("7".into());
/// let sent = NewFact::new(&invoice, InvoiceEvent::Sent);
/// let paid = NewFact::new(&invoice, InvoiceEvent::Paid);
/// let days = |days: u64| Duration::from_hours(24 * days);
/// process::<Reminder>(Post).given([sent.clone()]).after(days(30)).then_effects([SendLetter]).then([]);
/// process::<Reminder>(Post)
///     .given([sent])
///     .after(days(29))
///     .given([paid])
///     .after(days(2))
///     .then_effects([])
///     .then([ReminderEvent::Settled]);
/// ```
///
/// # Panics
/// If the name of the process cannot be used.
#[track_caller]
pub fn process<P: Process>(performer: impl Perform<P>) -> GivenInputs<P> {
    let hosted = HostedProcess::new::<P>(performer).unwrap_or_else(|error| panic!("{error}"));
    GivenInputs { hosted: Arc::new(hosted), steps: Vec::new(), process: PhantomData }
}

/// What happens in a test of a process, in order.
#[must_use = "call `then_effects` and `then`"]
pub struct GivenInputs<P> {
    hosted: Arc<HostedProcess>,
    steps: Vec<Step>,
    process: PhantomData<fn() -> P>,
}

/// Something that happens. After it, all that can be delivered is delivered.
enum Step {
    /// Events are recorded, at that time if one is given.
    Given(Vec<Fact>, Option<Timestamp>),
    /// Time passes.
    After(Duration),
}

impl<P: Process> GivenInputs<P> {
    /// Records events of any streams. All of them are there before the first one is delivered.
    ///
    /// # Panics
    /// If an event cannot be stored.
    #[track_caller]
    pub fn given(mut self, facts: impl IntoIterator<Item = NewFact>) -> Self {
        let facts = facts.into_iter().map(NewFact::into_fact).collect::<Result<Vec<_>, _>>();
        let facts = facts.unwrap_or_else(|error| panic!("a given event cannot be stored: {error}"));
        self.steps.push(Step::Given(facts, None));
        self
    }

    /// The time at which the events given last are recorded and delivered; otherwise the clock stands where it was. The
    /// first time is 2026-01-01T00:00:00Z.
    ///
    /// # Panics
    /// If no event was given just before.
    #[track_caller]
    pub fn at(mut self, time: Timestamp) -> Self {
        match self.steps.last_mut() {
            Some(Step::Given(_, at)) => *at = Some(time),
            _ => panic!("`at` is the time of given events: call it right after `given`"),
        }
        self
    }

    /// Lets time pass. Timers that are due fire, and are delivered.
    pub fn after(mut self, pause: Duration) -> Self {
        self.steps.push(Step::After(pause));
        self
    }

    /// Expects these effects, in any order: inputs of different streams come in any order, and their effects too.
    ///
    /// # Panics
    /// If an effect cannot be written as JSON.
    #[must_use = "call `then`"]
    #[track_caller]
    pub fn then_effects(self, effects: impl IntoIterator<Item = P::Effect>) -> ThenEffects<P> {
        let json = |effect: P::Effect| {
            serde_json::to_value(&effect)
                .unwrap_or_else(|error| panic!("an expected effect is not JSON: {error}"))
        };
        ThenEffects { effects: effects.into_iter().map(json).collect(), given: self }
    }
}

/// A test of a process with its expected effects.
#[must_use = "call `then`"]
pub struct ThenEffects<P> {
    given: GivenInputs<P>,
    effects: Vec<serde_json::Value>,
}

impl<P: Process> ThenEffects<P> {
    /// Expects exactly these events of the process, in this order, and runs the test.
    ///
    /// # Panics
    /// If a run ends differently, parks an input, or leaves inputs that are all deferred. The message names the order of the
    /// deliveries, and the step of the crash if there was one.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = <P as State>::Event>) {
        let events = events.into_iter().collect::<Vec<_>>();
        let expected = Expected::new::<P>(&self.effects, &events);
        let expected = expected.unwrap_or_else(|error| panic!("an expected event cannot be stored: {error}"));
        let test = Test { hosted: &self.given.hosted, steps: &self.given.steps, expected };
        if let Err(failed) = test.all() {
            panic!("{failed}");
        }
    }
}

/// A step of an interleaving.
struct PlaceToCrash {
    choices: Choices,
    step: usize,
    /// What was recorded in other streams without a crash.
    others: Arc<Vec<String>>,
}

/// One test, ready to be run.
struct Test<'t> {
    hosted: &'t Arc<HostedProcess>,
    steps: &'t [Step],
    expected: Expected,
}

impl Test<'_> {
    fn all(&self) -> Result<(), Failed> {
        let mut places_to_crash = Vec::new();
        let mut next = Some(Choices::first());
        let mut interleavings = 0;
        while let Some(choices) = next.filter(|_| interleavings < INTERLEAVINGS_MAX) {
            let ended = self.interleaving(choices, &mut places_to_crash)?;
            next = ended.next();
            interleavings += 1;
            if next.is_some() && interleavings == INTERLEAVINGS_MAX {
                (0..SAMPLE).try_for_each(|seed| {
                    self.interleaving(Choices::by_seed(seed), &mut places_to_crash).map(drop)
                })?;
            }
        }
        choices::sample(&mut places_to_crash, CRASHES_MAX);
        places_to_crash.into_iter().try_for_each(|place| self.crash(place))
    }

    /// Runs one interleaving without a crash, and notes the places to crash at.
    fn interleaving(
        &self,
        choices: Choices,
        places_to_crash: &mut Vec<PlaceToCrash>,
    ) -> Result<Choices, Failed> {
        let ended = self.run(choices, Crash::Never, Repeats::EachAndAtTheEnd)?;
        let others = Arc::new(self.expected.others(&ended.log));
        places_to_crash.extend((1..=ended.steps).map(|step| {
            let (choices, others) = (ended.choices.again(), others.clone());
            PlaceToCrash { choices, step, others }
        }));
        Ok(ended.choices)
    }

    /// Runs an interleaving with a crash. It must come to the same, also at the targets of the effects.
    fn crash(&self, place: PlaceToCrash) -> Result<(), Failed> {
        let crash = Crash::After(place.step);
        let ended = self.run(place.choices, crash, Repeats::AtTheEnd)?;
        let compared = expect::compare_others(&place.others, &self.expected.others(&ended.log));
        compared.map_err(|error| Failed { error, deliveries: ended.deliveries, crash })
    }

    fn run(&self, choices: Choices, crash: Crash, repeats: Repeats) -> Result<Ended, Failed> {
        let mut run = Run::new(self.hosted.clone(), choices, crash);
        let played = self.play(&mut run, repeats);
        played.map_err(|error| Failed { error, deliveries: run.deliveries().to_owned(), crash })?;
        Ok(run.end())
    }

    fn play(&self, run: &mut Run, repeats: Repeats) -> Result<(), String> {
        for step in self.steps {
            match step {
                Step::Given(facts, at) => {
                    if let Some(at) = at {
                        run.set_time(*at)?;
                    }
                    run.append(facts)?;
                }
                Step::After(pause) => run.pass(*pause)?,
            }
            run.deliver_all(repeats)?;
        }
        run.expect_nothing_left()?;
        self.expected.check(&run.log())?;
        run.repeat_all()
    }
}
