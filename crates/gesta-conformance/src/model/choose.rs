//! The requests of a random history, made in pairs: one for the store and one for the oracle, because their places
//! differ.

use std::collections::VecDeque;

use gesta_core::{
    Batch, CommandKey, Direction, Expected, Item, Lane, Lanes, NewEvent, Place, Query, Read, Select,
    StreamName, Version,
};

use super::{Model, Pair};
use crate::given::{category, command, event_type, events, id, name, tag, typed};

/// The source of choices: a seed, or bytes from a caller.
pub(crate) enum Random {
    /// SplitMix64: small, and good enough for choices.
    Seed(u64),
    /// One byte for each choice. After the last byte, every choice is the first option.
    Chosen(VecDeque<u8>),
}

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self::Seed(seed)
    }

    pub(super) fn chosen(choices: &[u8]) -> Self {
        Self::Chosen(choices.iter().copied().collect())
    }

    /// Returns true if all bytes are used up.
    pub(super) fn is_spent(&self) -> bool {
        matches!(self, Self::Chosen(bytes) if bytes.is_empty())
    }

    fn next(&mut self) -> u64 {
        let state = match self {
            Self::Seed(state) => state,
            Self::Chosen(bytes) => return bytes.pop_front().unwrap_or(0).into(),
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound)).expect("below a u32")
    }

    pub(super) fn one_in(&mut self, odds: u32) -> bool {
        self.below(odds) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = self.below(u32::try_from(choices.len()).expect("a few choices"));
        choices[at as usize].clone()
    }

    /// Returns mostly few items, sometimes several.
    fn some<T>(&mut self, most: u32, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(most + 1).min(self.below(most + 1));
        (0..count).map(|_| one(self)).collect()
    }
}

impl Model<'_> {
    fn key(&mut self) -> String {
        self.random.pick(&self.keys)
    }

    pub(super) fn stream(&mut self) -> StreamName {
        let key = self.key();
        self.stream_of(&key)
    }

    fn stream_of(&mut self, key: &str) -> StreamName {
        let system = if self.world.harness.takes_system_streams() { "$sys-" } else { "sys-" };
        let kind = self.random.pick(&["home-", "shop-", "plain", system]);
        name(&format!("{kind}{{{key}}}"))
    }

    /// Takes ids from a small pool, and expectations from likely ones: repeats, cuts and conflicts are all frequent.
    pub(super) fn a_new_batch(&mut self) -> [Batch; 2] {
        let key = self.key();
        let count = 1 + self.random.below(4);
        let events = (0..count).map(|_| self.event(&key)).collect::<Vec<_>>();
        let expect = self.random.below(5).saturating_sub(3);
        let expect = (0..expect).map(|_| (self.stream_of(&key), self.expected())).collect::<Vec<_>>();
        let command = self.random.one_in(4).then(|| self.command());
        let mut batches = [(); 2].map(|()| Batch {
            events: events.clone(),
            expect: expect.clone(),
            conditions: Vec::new(),
            command: command.clone(),
        });
        for _ in 0..self.random.below(5).saturating_sub(2) {
            let query = if self.random.one_in(4) { self.query() } else { self.query_in(&key) };
            let after = (!self.random.one_in(5)).then(|| self.a_place());
            for (batch, at) in batches.iter_mut().zip(0..) {
                let after = after.as_ref().map(|pair: &Pair| pair[at].clone());
                *batch = std::mem::take(batch).fail_if(query.clone(), after);
            }
        }
        self.sent.push(batches.clone());
        batches
    }

    /// Repeats an earlier batch, like a caller who got no answer; sometimes under another key.
    pub(super) fn a_sent_batch(&mut self) -> [Batch; 2] {
        if self.sent.is_empty() {
            return self.a_new_batch();
        }
        let again = self.random.pick(&self.sent);
        let command = self.random.one_in(3).then(|| self.command());
        again.map(|batch| Batch { command: command.clone().or(batch.command), ..batch })
    }

    fn event(&mut self, key: &str) -> NewEvent {
        let key = if self.random.one_in(40) { self.key() } else { key.to_owned() };
        let (stream, number) = (self.stream_of(&key), self.random.below(120));
        let kind = self.random.pick(&["opened", "moved", "closed"]);
        let tags = self.random.some(3, |random| tag(&format!("t:{}", random.below(3))));
        typed(stream.as_str(), number, kind).with_tags(tags)
    }

    fn expected(&mut self) -> Expected {
        let exactly = Expected::Exactly(Version::new(self.random.below(8).into()));
        let version = Version::new(self.random.below(4).into());
        let event = Expected::Event { version, id: id(self.random.below(120)) };
        self.random.pick(&[Expected::Any, Expected::None, Expected::Exists, Expected::Exists, exactly, event])
    }

    pub(super) fn command(&mut self) -> CommandKey {
        let request = if self.random.one_in(4) { 2 } else { 1 };
        command(&format!("c-{}", self.random.below(30)), request)
    }

    fn query(&mut self) -> Query {
        if self.random.one_in(4) {
            return Query::All;
        }
        let count = 1 + self.random.below(2);
        Query::Any((0..count).map(|_| self.item(None)).collect())
    }

    fn query_in(&mut self, key: &str) -> Query {
        let stream = self.stream_of(key);
        self.item(Some(stream)).into()
    }

    fn item(&mut self, stream: Option<StreamName>) -> Item {
        let random = &mut self.random;
        Item {
            category: random.one_in(4).then(|| category(random.pick(&["home", "shop", "$sys", "never"]))),
            types: random.some(2, |random| event_type(random.pick(&["opened", "moved", "never"]))),
            ids: if random.one_in(4) { random.some(9, |random| id(random.below(120))) } else { Vec::new() },
            tags: random.some(2, |random| tag(&format!("t:{}", random.below(4)))),
            stream,
        }
    }

    fn a_place(&mut self) -> Pair {
        // Late places are more frequent, because a condition may hold after them.
        if self.random.one_in(2) {
            self.places[self.places.len() - 1].clone()
        } else {
            self.random.pick(&self.places)
        }
    }

    pub(super) fn a_read(&mut self) -> [Read; 2] {
        let direction = self.random.pick(&[Direction::Forward, Direction::Backward]);
        let limit = if self.random.one_in(2) { events(1 + self.random.below(6)) } else { events(1_000) };
        let until = self.random.one_in(3).then(|| self.a_place());
        let selects = if self.random.one_in(3) {
            let from = self.random.one_in(2).then(|| Version::new(self.random.below(12).into()));
            let select = Select::Stream { name: self.stream(), from };
            [select.clone(), select]
        } else {
            self.a_select_of_the_log(direction)
        };
        let mut until = until.map_or([None, None], |pair| pair.map(Some)).into_iter();
        selects.map(|select| Read { select, direction, until: until.next().flatten(), limit })
    }

    fn a_select_of_the_log(&mut self, direction: Direction) -> [Select; 2] {
        let query = self.query();
        let lanes = self.random.one_in(4).then(|| {
            let part = u16::from(self.random.one_in(2));
            (0..1_024).filter(|lane| lane % 2 == part).filter_map(Lane::new).collect::<Lanes>()
        });
        let whole = if direction == Direction::Forward { Place::Start } else { Place::End };
        let from = match self.random.below(3) {
            0 => [Place::Start, Place::Start],
            1 => [whole.clone(), whole],
            _ => self.a_place().map(Place::At),
        };
        from.map(|from| Select::Log { query: query.clone(), from, lanes: lanes.clone() })
    }
}
