//! The law that covers all others: any history of calls gets the same answers from a store as from the in-memory
//! store.
//!
//! One seed decides a history. Each step makes one call to the store and to the oracle, and compares the answers.
//! Positions are compared if both count densely. Places are kept in pairs, so that a store that counts differently
//! gets the corresponding place.

mod choose;

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;

use gesta_core::{
    AppendError, Appended, Batch, Checkpoint, Direction, EventBytes, Listing, MemoryStore, Place, Position,
    Read, ReadError, RecordedEvent, Select, StreamName, Timestamp, Version, When,
};
use pollster::block_on;

use crate::given::category;
use crate::harness::Harness;
use crate::world::World;
pub(crate) use choose::Random;

/// The number of steps of a history in the law.
const STEPS: u32 = 400;

pub(crate) fn a_random_history_gets_the_same_answers_as_in_the_memory_store(world: &World<'_>) {
    Model::new(world, Random::new(42)).run(STEPS);
}

pub(crate) fn another_random_history_gets_the_same_answers_as_in_the_memory_store(world: &World<'_>) {
    Model::new(world, Random::new(4_242)).run(STEPS);
}

/// Compares a backend with the in-memory store over one random history.
///
/// The same seed makes the same history. Use it for long runs beside the laws, which run two short histories.
///
/// # Panics
/// At the first different answer, with both answers. A line on standard error shows how to repeat it.
pub fn compare_with_memory(harness: &dyn Harness, seed: u64, steps: u32) {
    Model::new(&World::new(harness), Random::new(seed)).run(steps);
}

/// Compares a backend with the in-memory store, with choices taken from bytes.
///
/// As [`compare_with_memory`], but each byte makes one choice, until all are used. It serves a fuzzer, which learns
/// the effect of its bytes.
///
/// # Panics
/// At the first different answer, with both answers.
pub fn compare_by_choices(harness: &dyn Harness, choices: &[u8]) {
    Model::new(&World::new(harness), Random::chosen(choices)).run(u32::MAX);
}

/// The same place in the store and in the oracle.
type Pair = [Checkpoint; 2];

struct Model<'a> {
    world: &'a World<'a>,
    oracle: World<'a>,
    random: Random,
    keys: Vec<String>,
    places: Vec<Pair>,
    sent: Vec<[Batch; 2]>,
    repro: Repro,
}

/// Prints how to repeat a failure of any kind.
struct Repro {
    /// `None` if bytes made the choices.
    seed: Option<u64>,
    steps: u32,
}

impl Drop for Repro {
    #[expect(clippy::print_stderr, reason = "a failed test prints how to repeat it")]
    fn drop(&mut self) {
        if let Some(seed) = self.seed.filter(|_| thread::panicking()) {
            eprintln!("repeat with: compare_with_memory(harness, {seed}, {})", self.steps);
        }
    }
}

impl<'a> Model<'a> {
    fn new(world: &'a World<'a>, random: Random) -> Self {
        let clock = world.clock().clone();
        let oracle = MemoryStore::new(world.head().store(), world.partitions(), move || clock.now());
        let oracle = World { harness: world.harness, store: Arc::new(oracle) };
        world.clock().set(0);
        let places = vec![[world.start(), world.start()]];
        let seed = match &random {
            Random::Seed(seed) => Some(*seed),
            Random::Chosen(_) => None,
        };
        let (keys, repro) = (world.keys(), Repro { seed, steps: 0 });
        Self { world, oracle, random, keys, places, sent: Vec::new(), repro }
    }

    fn run(mut self, steps: u32) {
        for step in 0..steps {
            if self.random.is_spent() {
                return;
            }
            self.repro.steps = step + 1;
            match self.random.below(20) {
                0..=1 => self.set_the_clock(),
                2..=9 => self.append(),
                10 => self.ask_for_a_repeat(),
                11..=15 => self.read(),
                16 => self.look_at_a_stream(),
                17 => self.list(),
                18 => self.locate(),
                _ => self.keep(When::Head),
            }
        }
    }

    #[track_caller]
    fn assert_same<T: PartialEq + Debug>(&self, asked: &dyn Debug, store: &T, oracle: &T) {
        assert!(store == oracle, "the store answers\n{store:?}\ninstead of\n{oracle:?}\nto {asked:?}");
    }

    /// Makes the same call to the store and to the oracle, and compares the answers.
    #[track_caller]
    fn compare<T: PartialEq + Debug>(&self, asked: &dyn Debug, ask: impl Fn(&World<'_>) -> T) {
        self.assert_same(asked, &ask(self.world), &ask(&self.oracle));
    }

    // Steps.

    fn append(&mut self) {
        let [ours, theirs] = if self.random.one_in(5) { self.a_sent_batch() } else { self.a_new_batch() };
        let asked = ours.clone();
        let (mut store, oracle) = (self.world.try_append(ours), self.oracle.try_append(theirs));
        if let (Ok(store), Ok(oracle)) = (&mut store, &oracle) {
            // The first answer may have been lost.
            store.repeated &= oracle.repeated || !self.world.harness.resends();
            self.places.push([store.checkpoint.clone(), oracle.checkpoint.clone()]);
            // This place is often inside the batch.
            self.places.push([&*store, oracle].map(|answer| {
                let Position { partition, sequence } = answer.places[0].position;
                self.world.start().with(partition, sequence)
            }));
        }
        self.assert_same(&asked, &self.answer(store), &self.answer(oracle));
    }

    fn ask_for_a_repeat(&mut self) {
        let (command, near) = (self.command(), self.stream());
        self.compare(&(&command, &near), |world| {
            match block_on(world.store.repeat_of(command.clone(), near.clone())) {
                Ok(None) => None,
                Ok(Some(answer)) => Some(self.answer(Ok(answer))),
                Err(error) => Some(self.answer(Err(error))),
            }
        });
    }

    fn read(&mut self) {
        let [ours, theirs] = self.a_read();
        let (store, oracle) = (self.shown(self.world, ours.clone()), self.shown(&self.oracle, theirs));
        self.assert_same(&ours, &store, &oracle);
    }

    fn look_at_a_stream(&mut self) {
        let stream = self.stream();
        self.compare(&stream, |world| block_on(world.store.stream(stream.clone())));
    }

    fn list(&mut self) {
        let of = self.random.pick(&[None, Some("home"), Some("shop"), Some("$sys"), Some("")]);
        let limit = 1 + self.random.below(4);
        self.compare(&("streams of", of), |world| list(world, of, limit));
    }

    /// The time mostly moves forward, sometimes back.
    fn set_the_clock(&mut self) {
        let steps = i64::from(self.repro.steps);
        self.world.clock().set(steps + i64::from(self.random.below(20)) - 10);
    }

    fn locate(&mut self) {
        let steps = self.repro.steps;
        let time = Timestamp::from_nanos(i64::from(self.random.below(steps + 20)) - 10);
        match self.random.below(4) {
            0 => self.close(time),
            _ => self.keep(When::RecordedUpTo(time)),
        }
    }

    /// Closes a time in both stores, unless both refuse it.
    fn close(&mut self, time: Timestamp) {
        let at = When::ClosedAt(time);
        let refused = [self.world, &self.oracle].map(|world| block_on(world.store.locate(at)).err());
        self.assert_same(&at, &refused[0], &refused[1]);
        if refused[0].is_none() {
            self.keep(When::RecordedUpTo(time));
        }
    }

    fn keep(&mut self, at: When) {
        let pair = [self.world, &self.oracle].map(|world| block_on(world.store.locate(at)).expect("a place"));
        self.assert_same(&at, &self.place(&pair[0]), &self.place(&pair[1]));
        self.places.push(pair);
    }

    // Comparable answers.

    /// Returns the checkpoint, if both stores count densely.
    fn place(&self, checkpoint: &Checkpoint) -> Option<Checkpoint> {
        self.world.capabilities().dense_positions.then(|| checkpoint.clone())
    }

    fn position(&self, position: Position) -> Position {
        let sequence = if self.world.capabilities().dense_positions { position.sequence } else { 0 };
        Position { sequence, ..position }
    }

    /// Returns the comparable parts of an answer: repeat or not, the place of each event, and the end of the batch in
    /// its partition; or the error without its texts.
    fn answer(&self, answer: Result<Appended, AppendError>) -> Result<Answer, AppendError> {
        let answer = answer.map_err(|error| self.error(error))?;
        let partition = answer.places[0].position.partition;
        let places = answer.places.iter().map(|place| (place.version, self.position(place.position)));
        let end = self.place(&answer.checkpoint).map(|checkpoint| checkpoint.sequence(partition));
        Ok((answer.repeated, places.collect(), end))
    }

    fn error(&self, error: AppendError) -> AppendError {
        match error {
            AppendError::Invalid { .. } => AppendError::Invalid { reason: String::new() },
            AppendError::Unsupported { .. } => AppendError::Unsupported { capability: "".into() },
            AppendError::ConditionFailed { index, at } => {
                AppendError::ConditionFailed { index, at: self.position(at) }
            }
            other => other,
        }
    }

    /// Returns everything that a read shows, page by page, and the place that it reached.
    fn shown(&self, world: &World<'_>, read: Read) -> Result<Shown, ReadError> {
        world.try_read(read.clone()).map_err(|error| match error {
            ReadError::Invalid { .. } => ReadError::Invalid { reason: String::new() },
            other => other,
        })?;
        let has_one_end = has_one_end(&read);
        let pages = world.pages(read);
        let last = pages.last().expect("a read has a page");
        let scanned_to = has_one_end.then(|| self.place(&last.scanned_to)).flatten();
        let (head, last_version) = (self.place(&last.head), last.last_version);
        let events = pages.into_iter().flat_map(|page| page.events).map(|event| {
            let position = self.position(event.position());
            let recorded =
                RecordedEvent::new(position, event.version(), event.recorded_at(), EventBytes::clone(&event));
            (position.partition, recorded)
        });
        Ok(Shown { events: world.by_partition(events), scanned_to, head, last_version })
    }
}

type Answer = (bool, Vec<(Version, Position)>, Option<u64>);

/// The result of a read, independent of its pages.
#[derive(Debug, PartialEq)]
struct Shown {
    events: Vec<Vec<RecordedEvent>>,
    scanned_to: Option<Checkpoint>,
    head: Option<Checkpoint>,
    last_version: Option<Version>,
}

/// Returns true if every store must end the read at the same place.
///
/// A backward read may end at any place with no match below it, and a read that begins beyond its `until` may end
/// anywhere.
fn has_one_end(read: &Read) -> bool {
    let from = match &read.select {
        Select::Log { from: Place::At(from), .. } => Some(from),
        Select::Log { from: Place::End, .. } if read.until.is_some() => return false,
        _ => None,
    };
    let in_order = from.zip(read.until.as_ref()).is_none_or(|(from, until)| until.at_least(from));
    read.direction == Direction::Forward && in_order
}

/// Lists the streams of a category with their last versions, sorted, because a listing has no defined order.
fn list(world: &World<'_>, of: Option<&str>, limit: u32) -> Vec<(StreamName, Version)> {
    let limit = NonZeroU32::new(limit).expect("a limit is at least 1");
    let mut listing = Listing { category: of.map(category), after: None, limit };
    let mut found = Vec::new();
    loop {
        let page = block_on(world.store.streams(listing.clone())).expect("a page of streams");
        found.extend(page.streams.into_iter().map(|info| (info.name, info.version)));
        if page.next.is_none() {
            found.sort();
            return found;
        }
        listing.after = page.next;
    }
}
