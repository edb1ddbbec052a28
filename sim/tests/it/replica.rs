//! A replica whose machine stops during any operation of the file system goes on from its kept place.

use std::sync::LazyLock;

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{
    Batch, CommandKey, CopySource as _, LogDigest, Position, RecordedBatch, RecordedEvent, StoreId,
    Timestamp, Version,
};
use gesta_log::sim::{self, Machine};
use gesta_log::{Options, Replica, SourcePlace};

const OF: StoreId = StoreId::from_bytes([5; 16]);

/// A few batches become a run, and the batches fill several segments.
fn options() -> Options {
    Options { segment_size_bytes: 64 << 10, index_run_bytes: 8 << 10, ..Options::default() }
}

/// What the source has recorded: batches of one to three events over three streams, some with a command key.
static SOURCE: LazyLock<Vec<RecordedBatch>> = LazyLock::new(|| {
    let (mut sequence, mut versions) = (0, [0; 3]);
    let batches = (0..16_u64).map(|number| {
        let recorded_at = Timestamp::from_nanos(i64::try_from(number).unwrap());
        let events = (0..=number % 3).map(|at| {
            let stream = usize::try_from((number + at) % 3).unwrap();
            let event = sample::event(&format!("town-{stream}"), number * 10 + at);
            let event = event.with_data("1".repeat(3_000));
            sequence += 1;
            versions[stream] += 1;
            let version = Version::new(versions[stream] - 1);
            let position = Position { partition: 0, sequence };
            RecordedEvent::new(position, version, recorded_at, event.to_bytes())
        });
        let command = CommandKey { key: number.to_be_bytes().to_vec().into(), request: [1; 32] };
        RecordedBatch::new(events.collect(), (number % 2 == 0).then_some(command)).unwrap()
    });
    batches.collect()
});

/// The place after the first `batches` batches of the source.
fn place(batches: usize) -> SourcePlace {
    SourcePlace::new([u8::try_from(batches).unwrap()]).unwrap()
}

/// How many batches of the source the kept place covers.
fn kept(replica: &Replica) -> usize {
    replica.through().map_or(0, |place| usize::from(place.as_bytes()[0]))
}

/// Feeds what the kept place does not cover, in pieces. Stops with the machine.
fn feed(machine: &Machine) {
    let Ok(replica) = sim::open_replica(machine, OF, 0, &options()) else {
        assert!(machine.is_stopped(), "nothing else keeps a replica from opening");
        return;
    };
    let mut done = kept(&replica);
    for piece in SOURCE[done..].chunks(5) {
        done += piece.len();
        if replica.append(piece, &place(done)).is_err() {
            assert!(machine.is_stopped(), "nothing else keeps a replica from being fed");
            return;
        }
        replica.log().keep_inline();
    }
}

/// The batches that a replica shows are the first ones of the source, and the kept place covers none that is missing.
///
/// Returns the number of both.
fn check(machine: &Machine, what: &str) -> (usize, usize) {
    let replica = sim::open_replica(machine, OF, 0, &options()).unwrap();
    assert_eq!(replica.log().recovery().damage, [], "{what}");
    let shown = batches(&replica);
    assert_eq!(shown[..], SOURCE[..shown.len()], "{what}");
    assert!(kept(&replica) <= shown.len(), "{what}: the kept place is newer than the events");
    (shown.len(), kept(&replica))
}

fn batches(replica: &Replica) -> Vec<RecordedBatch> {
    let (mut all, mut batches) = (Vec::new(), replica.log().batches(0, 0, replica.head().sequence(0)));
    loop {
        let next = pollster::block_on(batches.next()).unwrap();
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

#[test]
fn a_replica_that_stops_anywhere_goes_on_from_a_place_that_its_events_cover() {
    let restarts: [fn(&Machine); 4] =
        [Machine::kill, Machine::cut_power, |own| own.cut_power_with(0), |own| own.cut_power_with(u64::MAX)];
    let mut came_again = false;
    for (stop_after, restart) in (0..).zip(restarts.iter().cycle()) {
        let machine = Machine::new(stop_after);
        machine.stop_after(stop_after);
        feed(&machine);
        if !machine.is_stopped() {
            assert!(stop_after > 100, "the machine stops in many places");
            break;
        }
        restart(&machine);
        let what = format!("stopped after {stop_after} operations");
        let (shown, kept) = check(&machine, &what);
        came_again |= kept < shown;
        feed(&machine);
        assert_eq!(check(&machine, &what), (SOURCE.len(), SOURCE.len()), "{what}");
    }
    assert!(came_again, "the source has sent some batches again");
}

#[test]
fn a_replica_that_was_fed_twice_has_each_batch_once() {
    let machine = Machine::new(1);
    let replica = sim::open_replica(&machine, OF, 0, &options()).unwrap();
    for end in [7, 7, 3, SOURCE.len()] {
        replica.append(&SOURCE[..end], &place(end)).unwrap();
    }
    let digest = |batches: &[RecordedBatch]| {
        let mut digest = LogDigest::default();
        batches.iter().for_each(|batch| digest.add(batch));
        digest.finish()
    };
    assert_eq!(digest(&batches(&replica)), digest(&SOURCE));
    let again = Batch::new([sample::event("town-0", 0_u64)]);
    assert!(replica.log().append_blocking(again).unwrap().repeated);
}
