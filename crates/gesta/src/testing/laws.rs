//! Laws that every decider keeps, checked on given histories.

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use gesta_core::{Limit, MemoryStore, Read, RecordedEvent, Select, Snapshot, Timestamp, with_causes};

use super::{append, block_on, memory, stream_of, whole_log};
use crate::boundary::fold_one;
use crate::decider::Decider;
use crate::event::{Event as _, decode_all};
use crate::fact::Fact;
use crate::handle::Gesta;
use crate::key::Key as _;
use crate::past::WhatIf;
use crate::state::State;

/// Checks the laws that every decider keeps, on each of these histories and with each of these commands.
///
/// 1. An event that is stored and read back is the same event.
/// 2. `evolve` does not panic. `decide` does not panic on the state after any number of events.
/// 3. A history that is read in parts gives the same state as one that is read at once.
/// 4. A load gives that state, and so does `what_if` without a change.
/// 5. If the state is kept as snapshots: a snapshot at any version, and the events after it, give the same state.
///
/// A history is a list of events as `decide` would record them one after the other; an empty one is a history too.
///
/// # Panics
/// If a law is broken. The message names the law, the history and the place.
///
/// # Example
/// ```
/// # use gesta::*;
/// # #[derive(Debug, Clone, Key)] #[key("counter")] struct CounterId(u64);
/// # #[derive(Debug, Clone, PartialEq, Event)] #[event(prefix = "counter")] enum CounterEvent { Added { n: u64 } }
/// # #[derive(Debug, Clone, Command)] enum CounterCommand { Add { n: u64 } }
/// # #[derive(Debug, Default, PartialEq, serde::Serialize)] struct Counter { sum: u64 }
/// # impl State for Counter { type Event = CounterEvent; fn evolve(&mut self, CounterEvent::Added { n }: CounterEvent) { self.sum += n } }
/// # impl Decider for Counter {
/// #     type Id = CounterId; type Command = CounterCommand; type Error = std::convert::Infallible;
/// #     fn decide(&self, CounterCommand::Add { n }: CounterCommand) -> Result<Vec<CounterEvent>, Self::Error> { Ok(vec![CounterEvent::Added { n }]) }
/// # }
/// use gesta::testing::laws;
///
/// let histories = [vec![], vec![CounterEvent::Added { n: 1 }, CounterEvent::Added { n: 2 }]];
/// laws::<Counter>(histories, [CounterCommand::Add { n: 3 }]);
/// ```
#[track_caller]
pub fn laws<D>(
    histories: impl IntoIterator<Item = Vec<D::Event>>,
    commands: impl IntoIterator<Item = D::Command>,
) where
    D: Decider + PartialEq + Debug,
    D::Event: PartialEq + Debug,
    D::Command: Debug,
{
    let commands = commands.into_iter().collect::<Vec<_>>();
    for (at, history) in histories.into_iter().enumerate() {
        if let Err(broken) = check::<D>(&history, &commands) {
            panic!("history {at} breaks a law: {broken}\n{history:#?}");
        }
    }
}

/// What is broken, in words.
type Broken = String;

fn check<D>(history: &[D::Event], commands: &[D::Command]) -> Result<(), Broken>
where
    D: Decider + PartialEq + Debug,
    D::Event: PartialEq + Debug,
    D::Command: Debug,
{
    let store = Arc::new(memory());
    let facts = history.iter().map(|event| Fact::new(stream_of::<D>(), event)).collect::<Result<Vec<_>, _>>();
    append(&store, &facts.map_err(|error| format!("an event cannot be stored: {}", with_causes(&error)))?);
    let whole = Read::stream(stream_of::<D>()).limit(whole_log());
    let recorded = store.read_now(&whole).expect("a stream in memory can be read").events;
    same_events::<D>(history, &recorded)?;
    let states = states::<D>(&recorded)?;
    for (events, state) in states.iter().enumerate() {
        for command in commands {
            let decided = catch_unwind(AssertUnwindSafe(|| state.decide(command.clone()).is_ok()));
            decided.map_err(|_| format!("`decide` panics on {command:?} after {events} events"))?;
        }
    }
    let last = states.last().expect("there is a state before the first event");
    in_parts(&store, last)?;
    loaded(&store, last)?;
    from_snapshots(&states, &recorded)
}

fn same_events<D>(history: &[D::Event], recorded: &[RecordedEvent]) -> Result<(), Broken>
where
    D: Decider,
    D::Event: PartialEq + Debug,
{
    for (at, (event, recorded)) in history.iter().zip(recorded).enumerate() {
        let read = decode_all::<D::Event>(recorded).map_err(|error| with_causes(&error))?;
        let is_same = matches!(read.as_deref(), Some([read]) if read == event);
        if !is_same {
            return Err(format!("event {at}, `{}`, is read back as {read:?}", event.info().name));
        }
    }
    Ok(())
}

/// The states after 0, 1, 2, … events.
fn states<D: Decider>(recorded: &[RecordedEvent]) -> Result<Vec<D>, Broken> {
    (0..=recorded.len()).map(|events| folded(D::default(), &recorded[..events])).collect()
}

fn folded<S: State>(mut state: S, recorded: &[RecordedEvent]) -> Result<S, Broken> {
    for event in recorded {
        let fold = AssertUnwindSafe(|| fold_one(&mut state, event));
        let fold =
            catch_unwind(fold).map_err(|_| format!("`evolve` panics at version {}", event.version()))?;
        fold.map_err(|error| with_causes(&error))?;
    }
    Ok(state)
}

fn in_parts<D: Decider + PartialEq + Debug>(store: &MemoryStore, whole: &D) -> Result<(), Broken> {
    let mut state = D::default();
    let mut from = Read::stream(stream_of::<D>());
    loop {
        let page = store.read_now(&from.limit(Limit::events(NonZeroU32::MIN)));
        let page = page.expect("a stream in memory can be read");
        state = folded(state, &page.events)?;
        match page.events.last().filter(|_| !page.end) {
            Some(last) => {
                let from_next = Some(last.version().next());
                from = Select::Stream { name: stream_of::<D>(), from: from_next }.into();
            }
            None => return same("a history that is read in parts", &state, whole),
        }
    }
}

fn loaded<D: Decider + PartialEq + Debug>(store: &Arc<MemoryStore>, whole: &D) -> Result<(), Broken> {
    let gesta = Gesta::new(Arc::clone(store) as _);
    let id = D::Id::parse("given").map_err(|error| with_causes(&error));
    // An id of another form has no stream of that name: its histories are folded only.
    let Ok(id) = id else { return Ok(()) };
    let loaded = block_on(gesta.load::<D>(&id)).map_err(|error| with_causes(&error))?;
    same("a load", &loaded.state, whole)?;
    let unchanged =
        block_on(gesta.what_if::<D>(&id, WhatIf::default())).map_err(|error| with_causes(&error))?;
    same("`what_if` without a change", &unchanged.state, whole)
}

fn from_snapshots<D: Decider + PartialEq + Debug>(
    states: &[D],
    recorded: &[RecordedEvent],
) -> Result<(), Broken> {
    let (Some(snapshots), Some(whole)) = (D::snapshots(), states.last()) else { return Ok(()) };
    for (state, event) in states.iter().skip(1).zip(recorded) {
        let version = event.version();
        let kept = snapshots
            .encode(state)
            .map_err(|why| format!("the state at version {version} is not kept: {why}"))?;
        let snapshot =
            Snapshot { version, anchor: event.id(), taken_at: Timestamp::from_nanos(0), state: kept };
        let restored = crate::snapshot::restored::<D>(&snapshot);
        let restored =
            restored.ok_or_else(|| format!("the snapshot at version {version} is not read back"))?;
        let tail = recorded.iter().filter(|event| event.version() > version).cloned().collect::<Vec<_>>();
        same(
            &format!("a snapshot at version {version} and the events after it"),
            &folded(restored, &tail)?,
            whole,
        )?;
    }
    Ok(())
}

fn same<D: PartialEq + Debug>(what: &str, found: &D, expected: &D) -> Result<(), Broken> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what} gives another state\n    {found:?}\ninstead of\n    {expected:?}")),
    }
}
