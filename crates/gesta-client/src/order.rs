//! The order of appends that share a stream: one after the other, in the order of their arrival. Others go side by side.
//!
//! A pure structure. *Invariant:* an append under way is the first of each of its streams, so two appends under way
//! share no stream. Appends join all their streams at once, so they never wait for each other in a circle.

use std::collections::{HashMap, VecDeque};

use gesta_core::{Batch, StreamName};

/// The number of an append. Later appends have larger numbers.
pub(crate) type Number = u64;

/// The appends of one client that wait or are under way.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    next: Number,
    /// The appends of each stream, in order. A stream without appends has no entry.
    lines: HashMap<StreamName, VecDeque<Number>>,
    /// The streams of each append.
    appends: HashMap<Number, Vec<StreamName>>,
}

/// The place of an append in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the append.
    pub(crate) number: Number,
    /// True if it may be sent now.
    pub(crate) is_first: bool,
}

impl Lines {
    /// Adds an append to the lines of its streams.
    pub(crate) fn join(&mut self, streams: Vec<StreamName>) -> Place {
        let number = self.next;
        self.next += 1;
        for stream in &streams {
            let line = self.lines.entry(stream.clone()).or_default();
            assert!(line.back() != Some(&number), "an append joins each stream once");
            line.push_back(number);
        }
        let is_first = self.is_first(number, &streams);
        self.appends.insert(number, streams);
        Place { number, is_first }
    }

    /// Removes an append, whether it was sent or not. Returns the appends that may be sent now and could not before.
    pub(crate) fn leave(&mut self, number: Number) -> Vec<Number> {
        let streams = self.appends.remove(&number).expect("an append leaves once, after it joined");
        let mut heads = Vec::new();
        for stream in streams {
            let line = self.lines.get_mut(&stream).expect("a stream with appends has a line");
            let was_first = line.front() == Some(&number);
            line.retain(|other| *other != number);
            match line.front() {
                None => drop(self.lines.remove(&stream)),
                Some(head) if was_first => heads.push(*head),
                Some(_) => {}
            }
        }
        heads.sort_unstable();
        heads.dedup();
        heads.retain(|head| self.is_first(*head, &self.appends[head]));
        heads
    }

    fn is_first(&self, number: Number, streams: &[StreamName]) -> bool {
        streams.iter().all(|stream| self.lines[stream].front() == Some(&number))
    }
}

/// The streams that decide the order of a batch: those it writes to and those it expects something of.
pub(crate) fn streams_of(batch: &Batch) -> Vec<StreamName> {
    let written = batch.events.iter().map(|event| &event.stream);
    let expected = batch.expect.iter().map(|(stream, _)| stream);
    let mut streams = written.chain(expected).collect::<Vec<_>>();
    streams.sort_unstable();
    streams.dedup();
    streams.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn name(number: u64) -> StreamName {
        format!("s-{number}").parse().unwrap()
    }

    /// A naive copy: all appends in the order of arrival.
    #[derive(Default)]
    struct Naive(Vec<(Number, Vec<StreamName>)>);

    impl Naive {
        fn ready(&self) -> Vec<Number> {
            let is_ready = |at: usize| {
                let shares = |(_, earlier): &(Number, Vec<StreamName>)| {
                    self.0[at].1.iter().any(|own| earlier.contains(own))
                };
                !self.0[..at].iter().any(shares)
            };
            (0..self.0.len()).filter(|at| is_ready(*at)).map(|at| self.0[at].0).collect()
        }
    }

    /// A mistake in the order. Each must be found.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Mistake {
        /// An append waits only for its first stream.
        FirstStreamOnly,
        /// An append that gives up in line lets the one behind it go.
        DropFreesNext,
        /// The appends behind one that ends are not woken.
        NoWake,
    }

    /// Joins and leaves by chance. Returns false if the appends that may go are not those of the naive copy.
    fn simulate(seed: u64, mistake: Option<Mistake>) -> bool {
        let mut random = Random::new(seed);
        let (mut lines, mut naive) = (Lines::default(), Naive::default());
        let mut ready = Vec::new();
        for _ in 0..200 {
            if naive.0.is_empty() || random.below(5) < 3 {
                let mut streams = (0..=random.below(3)).map(|_| name(random.below(5))).collect::<Vec<_>>();
                streams.sort_unstable();
                streams.dedup();
                if mistake == Some(Mistake::FirstStreamOnly) {
                    naive.0.push((lines.next, streams.clone()));
                    streams.truncate(1);
                } else {
                    naive.0.push((lines.next, streams.clone()));
                }
                let place = lines.join(streams);
                ready.extend(place.is_first.then_some(place.number));
            } else {
                let at = usize::try_from(random.below(naive.0.len() as u64)).unwrap();
                let (number, _) = naive.0.remove(at);
                let was_ready = ready.contains(&number);
                ready.retain(|other| *other != number);
                let behind = lines.appends.keys().filter(|other| **other > number).min().copied();
                let freed = lines.leave(number);
                match mistake {
                    Some(Mistake::NoWake) => {}
                    Some(Mistake::DropFreesNext) if !was_ready => ready.extend(behind),
                    _ => ready.extend(freed),
                }
            }
            ready.sort_unstable();
            if ready != naive.ready() {
                return false;
            }
        }
        naive.0.iter().for_each(|(number, _)| drop(lines.leave(*number)));
        lines.lines.is_empty() && lines.appends.is_empty()
    }

    #[test]
    fn appends_that_share_a_stream_go_one_after_the_other_and_others_side_by_side() {
        for seed in 0..300 {
            assert!(simulate(seed, None), "seed {seed}");
        }
    }

    #[test]
    fn every_planted_mistake_in_the_order_is_found() {
        for mistake in [Mistake::FirstStreamOnly, Mistake::DropFreesNext, Mistake::NoWake] {
            assert!((0..50).any(|seed| !simulate(seed, Some(mistake))), "{mistake:?} was not found");
        }
    }

    #[test]
    fn a_batch_is_in_line_for_the_streams_that_it_writes_to_and_for_those_it_expects() {
        use gesta_core::{EventId, Expected, NewEvent, Timestamp};
        let kind = "a.b".parse().unwrap();
        let event = NewEvent::json(EventId::from_u128(1), name(2), kind, Timestamp::from_nanos(0), "{}");
        let batch = Batch::new([event]).expect(name(1), Expected::None).expect(name(2), Expected::Any);
        assert_eq!(streams_of(&batch), [name(1), name(2)]);
    }
}
