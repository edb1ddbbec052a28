//! Many commands to one entity at once, over a store that fails: nothing may happen twice, be lost, or rest on a stale state.

use std::collections::BTreeMap;
use std::sync::Arc;

use gesta_core::{
    CommandKey, EventStore, MemoryStore, Read, RecordedEvent, Retry, StreamName, Version, with_causes,
};

use super::{Flaky, TestEnvironment, block_on, memory, text_of, whole_log};
use crate::boundary::fold_one;
use crate::decider::Decider;
use crate::fact::Fact;
use crate::handle::Gesta;
use crate::key::Key;

/// The runs of [`hot`], each under a seed of its own.
const SEEDS: u64 = 16;
/// Sendings of one command. A store that answers one call in three needs far fewer.
const SENDINGS_MAX: usize = 1_000;

/// Sends commands to one entity from several clients at once, over a [`Flaky`] store, under 16 seeds, and checks what must be true:
///
/// - each event was recorded by exactly one command that was told so, and none is missing;
/// - each command was decided on the state that the events before its own give;
/// - each refusal, and each command without an event, was right for some state between its first sending and its answer.
///
/// A client sends one command after the other, and one without a clear answer again under its key, as a service should.
///
/// # Panics
/// If one of these is not true. The message has the seed, for [`hot_seed`].
#[track_caller]
pub fn hot<D: Decider>(id: &D::Id, commands: impl IntoIterator<Item = D::Command>, clients: usize) {
    let commands = commands.into_iter().collect::<Vec<_>>();
    for seed in 0..SEEDS {
        hot_seed::<D>(id, commands.clone(), clients, seed);
    }
}

/// One run of [`hot`].
///
/// # Panics
/// As [`hot`].
#[track_caller]
pub fn hot_seed<D: Decider>(
    id: &D::Id,
    commands: impl IntoIterator<Item = D::Command>,
    clients: usize,
    seed: u64,
) {
    assert!(clients > 0, "somebody must send the commands");
    let stream = id.stream().unwrap_or_else(|error| panic!("the id makes no stream: {error}"));
    let store = Arc::new(memory());
    let flaky = Flaky::new(Arc::clone(&store) as Arc<dyn EventStore>, seed);
    let gesta = Gesta::with_environment(Arc::new(flaky), Arc::new(TestEnvironment::default()));
    let commands = commands.into_iter().collect::<Vec<_>>();
    let run = Run::<D> { gesta, store: &store, stream: &stream, id, commands: &commands, clients, seed };
    let clients = (0..clients).map(|client| run.client(client));
    let answers = block_on(futures_util::future::join_all(clients));
    let log = read(&store, &stream);
    Log { events: &log, answers: answers.into_iter().flatten().collect(), commands: &commands, seed }
        .check::<D>(&stream);
}

/// One run.
struct Run<'a, D: Decider> {
    gesta: Gesta,
    /// The store behind the flaky one.
    store: &'a MemoryStore,
    stream: &'a StreamName,
    id: &'a D::Id,
    commands: &'a [D::Command],
    clients: usize,
    seed: u64,
}

/// What a command was told, and the number of events in the stream at its first sending and at its answer.
struct Answer {
    command: usize,
    before: usize,
    after: usize,
    told: Told,
}

enum Told {
    /// The first version and the number of its events; none for a command without events.
    Committed(Option<(Version, usize)>),
    /// The refusal in words.
    Refused(String),
}

impl<D: Decider> Run<'_, D> {
    /// Sends the commands of a client.
    async fn client(&self, client: usize) -> Vec<Answer> {
        let mut answers = Vec::new();
        for command in (client..self.commands.len()).step_by(self.clients) {
            let before = read(self.store, self.stream).len();
            let told = self.settle(command).await;
            answers.push(Answer { command, before, after: read(self.store, self.stream).len(), told });
        }
        answers
    }

    /// Sends a command until it has a clear answer.
    async fn settle(&self, command: usize) -> Told {
        let seed = self.seed;
        let key = CommandKey { key: format!("hot-{command}").into(), request: [0; 32] };
        for _ in 0..SENDINGS_MAX {
            let call = self.gesta.command_key(key.clone());
            let error = match call.send::<D>(self.id, self.commands[command].clone()).await {
                Ok(committed) => {
                    let first = committed.places.first().map(|first| (first.version, committed.places.len()));
                    return Told::Committed(first);
                }
                Err(crate::SendError::Refused(error)) => return Told::Refused(format!("{error:?}")),
                Err(error) => error,
            };
            assert!(
                error.retry() != Retry::Never,
                "seed {seed}: command {command} failed for good: {}",
                with_causes(&error)
            );
        }
        panic!("seed {seed}: command {command} has no answer after {SENDINGS_MAX} sendings")
    }
}

/// The stream at the end, with what the clients were told.
struct Log<'a, C> {
    events: &'a [RecordedEvent],
    answers: Vec<Answer>,
    commands: &'a [C],
    seed: u64,
}

impl<C: Clone> Log<'_, C> {
    /// Folds the stream, and compares each answer with what the state of its moment decides.
    #[track_caller]
    fn check<D: Decider<Command = C>>(&self, stream: &StreamName) {
        let seed = self.seed;
        let mut recorded = BTreeMap::new();
        for answer in &self.answers {
            if let Told::Committed(Some((first, count))) = answer.told {
                let other = recorded.insert(first.get(), (answer, count));
                assert!(
                    other.is_none(),
                    "seed {seed}: two commands were told that they recorded version {first}"
                );
            }
        }
        let mut open = self.answers.iter().filter(|answer| answer.is_without_events()).collect::<Vec<_>>();
        let (mut state, mut at) = (D::default(), 0);
        loop {
            open.retain(|answer| !answer.is_right(&state, at, self.commands[answer.command].clone()));
            let Some(next) = self.events.get(at) else { break };
            let Some((answer, count)) = recorded.remove(&(at as u64)) else {
                panic!(
                    "seed {seed}: no command was told that it recorded version {at}, a `{}`",
                    next.event_type()
                );
            };
            let own = self.events.get(at..at + count).unwrap_or_else(|| {
                panic!("seed {seed}: command {} was told of events that are not there", answer.command)
            });
            self.check_decided(&state, stream, answer.command, own);
            for event in own {
                fold_one(&mut state, event)
                    .unwrap_or_else(|error| panic!("seed {seed}: {}", with_causes(&error)));
            }
            at += count;
        }
        if let Some((first, (answer, _))) = recorded.into_iter().next() {
            panic!("seed {seed}: command {} was told of version {first}, which is lost", answer.command);
        }
        if let Some(answer) = open.first() {
            panic!(
                "seed {seed}: command {} {} after {} to {} events, and no state in between decides so",
                answer.command,
                answer.in_words(),
                answer.before,
                answer.after
            );
        }
    }

    /// Checks that a command records these events on this state.
    #[track_caller]
    fn check_decided<D: Decider<Command = C>>(
        &self,
        state: &D,
        stream: &StreamName,
        command: usize,
        own: &[RecordedEvent],
    ) {
        let seed = self.seed;
        let decided = state.decide(self.commands[command].clone());
        let decided = decided.unwrap_or_else(|error| {
            panic!("seed {seed}: command {command} has recorded events on a state that refuses it: {error:?}")
        });
        let facts =
            decided.iter().map(|event| Fact::new(stream.clone(), event)).collect::<Result<Vec<_>, _>>();
        let facts = facts.unwrap_or_else(|error| panic!("an event cannot be stored: {error}"));
        let is_same = facts.len() == own.len()
            && facts.iter().zip(own).all(|(fact, event)| {
                fact.event_type.as_str() == event.event_type() && fact.data == event.data_slice()
            });
        assert!(
            is_same,
            "seed {seed}: command {command} recorded {own:?}, and on the state before it decides {:?}",
            facts.iter().map(text_of).collect::<Vec<_>>()
        );
    }
}

impl Answer {
    const fn is_without_events(&self) -> bool {
        matches!(self.told, Told::Refused(_) | Told::Committed(None))
    }

    /// True if the state after `at` events gives this answer, and lies within its time.
    fn is_right<D: Decider>(&self, state: &D, at: usize, command: D::Command) -> bool {
        (self.before..=self.after).contains(&at)
            && match (&self.told, state.decide(command)) {
                (Told::Refused(told), Err(error)) => *told == format!("{error:?}"),
                (Told::Committed(None), Ok(events)) => events.is_empty(),
                _ => false,
            }
    }

    fn in_words(&self) -> String {
        match &self.told {
            Told::Refused(error) => format!("was refused ({error})"),
            Told::Committed(_) => "recorded nothing".to_owned(),
        }
    }
}

fn read(store: &MemoryStore, stream: &StreamName) -> Vec<RecordedEvent> {
    let page = store.read_now(&Read::stream(stream.clone()).limit(whole_log()));
    page.expect("a stream in memory can be read").events
}
