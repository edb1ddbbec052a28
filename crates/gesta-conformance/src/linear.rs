//! The law of concurrent appends: every answer is true at one point of a single order, which is the order of the log.
//!
//! The positions in the answers make this exact and cheap to check. The position of an accepted batch is its place in
//! the order. A refusal must have been true at some place between the head that its caller could know before the call
//! and the head after it.

use std::sync::Arc;
use std::thread;

use gesta_core::{
    AppendError, Appended, Batch, Checkpoint, Condition, EventStore, Expected, Lane, Place, Query, Read,
    RecordedEvent, Retry, When,
};
use pollster::block_on;

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
    let calls =
        race(THREADS, |thread| run(thread, APPENDS, || world.head(), |batch| world.try_append(batch)));
    check(&calls, &world.log(), partition);
}

/// Appends from several handles of one log at once, one thread each, and checks that every answer is true at one point
/// of the order of the log.
///
/// The store behind the handles may go away and come back. A call that passes after a pause is repeated after
/// `while_away`, which waits until the store may be back. An append in doubt is repeated; one that was not written is sometimes given up, and must then be nowhere. The
/// handles must be the only writers of an empty log.
///
/// # Panics
/// If an answer is not true, or a call fails for good.
pub fn check_linear_history(handles: &[Arc<dyn EventStore>], appends: u32, while_away: &(dyn Fn() + Sync)) {
    let threads = u32::try_from(handles.len()).expect("a number of threads");
    let calls = race(threads, |thread| {
        let store = &*handles[thread as usize];
        run(
            thread,
            appends,
            || patient(while_away, || block_on(store.locate(When::Head))),
            |batch| settled(store, while_away, &batch),
        )
    });
    let (store, mut log, mut from) = (&*handles[0], Vec::new(), Place::Start);
    // This handle may not have what another one appended last.
    patient(while_away, || block_on(store.head_now()));
    loop {
        let read = || Read::log_from(Query::All, from.clone());
        let page = patient(while_away, || block_on(store.read(read())));
        log.extend(page.events);
        if page.end {
            break;
        }
        from = Place::At(page.scanned_to);
    }
    check(&calls, &log, Lane::of(A).partition(store.capabilities().partitions));
}

/// Repeats a read until the store is there.
fn patient<T>(while_away: &dyn Fn(), read: impl Fn() -> Result<T, gesta_core::ReadError>) -> T {
    loop {
        match read() {
            Ok(value) => return value,
            Err(error) if error.retry() == Retry::AfterPause => while_away(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Repeats an append until its answer is known. Gives up some of those that were not written.
fn settled(store: &dyn EventStore, while_away: &dyn Fn(), batch: &Batch) -> Result<Appended, AppendError> {
    let gives_up = batch.events[0].id.as_bytes()[15].is_multiple_of(2);
    let mut in_doubt = false;
    loop {
        match block_on(store.append(batch.clone())) {
            Err(AppendError::InDoubt { .. }) => in_doubt = true,
            Err(AppendError::Unavailable { reason }) if gives_up && !in_doubt => {
                return Err(AppendError::Unavailable { reason });
            }
            Err(AppendError::Unavailable { .. } | AppendError::Overloaded) => while_away(),
            answer => return answer,
        }
    }
}

fn race(threads: u32, run: impl Fn(u32) -> Vec<Call> + Sync) -> Vec<Call> {
    thread::scope(|scope| {
        let run = &run;
        let threads = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect::<Vec<_>>();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    })
}

fn check(calls: &[Call], log: &[RecordedEvent], partition: u16) {
    let history = History { log, partition };
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

fn run(
    thread: u32,
    appends: u32,
    head: impl Fn() -> Checkpoint,
    append: impl Fn(Batch) -> Result<Appended, AppendError>,
) -> Vec<Call> {
    let mut random = Random::new(u64::from(thread) + 1);
    let mut seen = head();
    let call = |number: u32| {
        let batch = choose(&mut random, thread * 10_000 + number * 10, &seen);
        let before = head();
        let answer = append(batch.clone());
        let after = head();
        // Sometimes decide on the newest known head, and sometimes on an older one.
        if random.below(3) > 0 {
            seen = after.clone();
        }
        Call { batch, before, answer, after }
    };
    (0..appends).map(call).collect()
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
            Err(AppendError::Unavailable { reason }) => {
                let is_written = |event: &gesta_core::NewEvent| {
                    self.log.iter().any(|recorded| {
                        recorded.id() == event.id && recorded.stream() == event.stream.as_str()
                    })
                };
                assert!(
                    !call.batch.events.iter().any(is_written),
                    "written after `{reason}`: {:?}",
                    call.batch
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
