//! The law of concurrent appends: every answer is true at one point of a single order, which is the order of the log.
//!
//! The positions in the answers make this exact and cheap to check. The position of an accepted batch is its place in
//! the order. A refusal must have been true at some place between the head that its caller could know before the call
//! and the head after it.

use std::thread;

use gesta_core::{AppendError, Appended, Batch, Checkpoint, Condition, Expected, Query, RecordedEvent};

use crate::given::{A, B, C, command, event, name, tag, version};
use crate::model::Random;
use crate::world::World;

const THREADS: u32 = 4;
const APPENDS: u32 = 60;
/// Streams with one partition key, so that every store can decide over them at once.
const STREAMS: [&str; 3] = [A, B, C];

/// One append, its answer, and the heads before and after it.
struct Call {
    batch: Batch,
    before: Checkpoint,
    answer: Result<Appended, AppendError>,
    after: Checkpoint,
}

pub(crate) fn concurrent_appends_are_linearizable_in_the_order_of_the_log(world: &World<'_>) {
    let partition = world.partition_of(A);
    let calls = thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| scope.spawn(move || run(world, thread))).collect::<Vec<_>>();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect::<Vec<_>>()
    });
    let log = world.log();
    let history = History { log: &log, partition };
    calls.iter().for_each(|call| history.check(call));
    let count = |is: fn(&AppendError) -> bool| {
        calls.iter().filter(|call| call.answer.as_ref().is_err_and(is)).count()
    };
    let conflicts = count(|error| matches!(error, AppendError::Conflict { .. }));
    let failed = count(|error| matches!(error, AppendError::ConditionFailed { .. }));
    let accepted = calls.iter().filter(|call| call.answer.is_ok()).count();
    assert!(
        conflicts > 0 && failed > 0 && accepted > 0,
        "{accepted} accepted, {conflicts}, {failed} refused"
    );
}

fn run(world: &World<'_>, thread: u32) -> Vec<Call> {
    let mut random = Random::new(u64::from(thread) + 1);
    let mut seen = world.head();
    let call = |number: u32| {
        let batch = choose(&mut random, thread * 10_000 + number * 10, &seen);
        let before = world.head();
        let answer = world.try_append(batch.clone());
        let after = world.head();
        // Sometimes decide on the newest known head, and sometimes on an older one.
        if random.below(3) > 0 {
            seen = after.clone();
        }
        Call { batch, before, answer, after }
    };
    (0..APPENDS).map(call).collect()
}

/// Makes one to three events in the shared streams. Their expectations and conditions often hold and often fail.
fn choose(random: &mut Random, number: u32, seen: &Checkpoint) -> Batch {
    let count = 1 + random.below(3);
    let events = (number..number + count).map(|number| {
        let tags = [tag(&format!("t:{}", random.below(4)))];
        event(random.pick(&STREAMS), number).with_tags(tags)
    });
    let batch = Batch::new(events.collect::<Vec<_>>());
    let stream = name(random.pick(&STREAMS));
    match random.below(5) {
        // The streams grow at about the same rate, so this guess is often near.
        0 => {
            batch.expect(stream, Expected::Exactly(version((number % 10_000 / 5 + random.below(20)).into())))
        }
        1 => batch.expect(stream, Expected::None),
        2 => batch.fail_if(Query::stream(stream), Some(seen.clone())),
        3 => batch.expect(stream, Expected::Exists).with_command(command(&format!("k-{number}"), 1)),
        _ => batch,
    }
}

/// The final log, to look up earlier states.
struct History<'a> {
    log: &'a [RecordedEvent],
    partition: u16,
}

impl History<'_> {
    fn check(&self, call: &Call) {
        match &call.answer {
            Ok(appended) => self.check_accepted(call, appended),
            Err(AppendError::Conflict { stream, expected, actual }) => {
                assert!(!expected.is_met_by(*actual, |_| None), "{:?}", call.answer);
                let was_so = (self.sequence(&call.before)..=self.sequence(&call.after)).any(|head| {
                    self.last_version(stream.as_str(), head) == actual.map(gesta_core::Version::get)
                });
                assert!(was_so, "`{stream}` never had last version {actual:?} during the call");
            }
            Err(AppendError::ConditionFailed { index, at }) => {
                let condition = &call.batch.conditions[*index];
                assert!(self.matches_after(condition, at.sequence), "nothing at {at} matches");
                assert!(
                    at.sequence <= self.sequence(&call.after),
                    "{at} was not durable when it was spoken of"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn check_accepted(&self, call: &Call, appended: &Appended) {
        let first = appended.places[0].position.sequence;
        let last = appended.places[appended.places.len() - 1].position.sequence;
        assert!(first > self.sequence(&call.before), "the batch comes after the head from before the call");
        assert!(last <= self.sequence(&call.after), "the batch is durable when it is answered");
        for (stream, expected) in &call.batch.expect {
            let actual = self.last_version(stream.as_str(), first - 1);
            assert!(
                expected.is_met_by(actual.map(version), |_| None),
                "`{stream}` had last version {actual:?}, not {expected}"
            );
        }
        for condition in &call.batch.conditions {
            assert!(
                (1..first).all(|sequence| !self.matches_after(condition, sequence)),
                "a condition was broken"
            );
        }
    }

    /// Returns true if the event at a sequence violates the condition.
    fn matches_after(&self, condition: &Condition, sequence: u64) -> bool {
        let after = condition.after.as_ref().map_or(0, |after| self.sequence(after));
        let event = self.log.iter().find(|event| {
            event.position().partition == self.partition && event.position().sequence == sequence
        });
        sequence > after && event.is_some_and(|event| condition.fail_if_any.matches(event))
    }

    /// Returns the version of a stream's last event when the log ended at `head`.
    fn last_version(&self, stream: &str, head: u64) -> Option<u64> {
        let events =
            self.log.iter().filter(|event| event.stream() == stream && event.position().sequence <= head);
        (events.count() as u64).checked_sub(1)
    }

    fn sequence(&self, checkpoint: &Checkpoint) -> u64 {
        checkpoint.sequence(self.partition)
    }
}
