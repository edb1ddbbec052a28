//! Gathering without a writer: the tests take groups as the writer does, and report when they are durable.

use std::path::Path;

use gesta_core::{AtomicScope, Batch, Capabilities, Expected, Limits, StoreId, Timestamp};

use super::*;
use crate::env::{Env, Failure, Lock, Machine, PlannedFault, SimEnv};
use crate::format::{DurableMark, Prepared};
use crate::index::{Index, ReadMode};
use crate::limits::MARKS_RESERVE_BYTES;
use crate::options::Options;
use crate::recover::Ready;
use crate::store::{Opened, Purpose, Stage, open};
use crate::testing::{LOG, batch, batch_of, options};
use crate::write::lookup::DurablePart;
use crate::write::manifest::SharedManifest;
use crate::write::queue::Closing;
use crate::write::worker::Drive;

/// The group builder of an empty log. Its segment manager and indexer work only when a caller waits for them.
struct Gathered {
    open_group: OpenGroup,
    queue: Queue,
    shared: Arc<Shared>,
    segment_manager: Arc<SegmentManager>,
    manifest: Arc<SharedManifest>,
    _lock: Box<dyn Lock>,
}

type Waiting = oneshot::Receiver<Answer>;

impl Gathered {
    fn begin(options: &Options) -> Self {
        let env: Arc<dyn Env> = Arc::new(SimEnv::new(&Machine::new(1)));
        let Opened { lock, env, root, store, runs, stage, .. } =
            open(env, Path::new(LOG), options, Purpose::Store).unwrap();
        let Stage::Ready(ready) = stage else { panic!("an empty log has a complete index") };
        let Ready { manifest, snapshot, tail, writable, .. } = *ready;
        let writable = writable.unwrap();
        let capabilities = Capabilities::new(1, AtomicScope::Store, Limits::default());
        let clock = Arc::new(|| Timestamp::from_nanos(1));
        let index = Index::in_part(Vec::new(), 1);
        index.fill(snapshot, Vec::new(), 0);
        let shared = Arc::new(Shared::new(StoreId::from_bytes(store), capabilities, clock, 0, index, None));
        let manifest =
            Arc::new(SharedManifest::new(manifest, Arc::clone(&env), root.clone(), Arc::clone(&shared)));
        let size = options.segment_size_bytes;
        let (spare, drive) = (writable.spare, Drive::Inline);
        let segment_manager =
            SegmentManager::start(Arc::clone(&env), root, Arc::clone(&manifest), size, spare, drive);
        let segment_manager = segment_manager.unwrap();
        let (limits, listed) = (options.table_limits(), Arc::clone(&manifest));
        let indexer = Indexer::start(env, runs, Arc::clone(&shared), listed, limits, drive).unwrap();
        let builder = GroupBuilder::new(
            Arc::clone(&shared),
            Arc::clone(&segment_manager),
            indexer,
            tail,
            (writable.active, writable.start, writable.bytes_before),
        );
        let (open_group, queue) = (OpenGroup::new(builder), Queue::new(Arc::clone(&shared)));
        open_group.lock().roll(0).expect("the first segment is made");
        Self { open_group, queue, shared, segment_manager, manifest, _lock: lock }
    }

    fn ticket(&self, batch: Batch) -> (Ticket, Waiting) {
        let (durable, snapshot) = (self.shared.published.position(), self.shared.index.snapshot());
        let lookup =
            Lookup::of(DurablePart { snapshot, durable, partition: 0 }, &batch, ReadMode::Disk).unwrap();
        let (reply, answer) = oneshot::channel();
        (Ticket { prepared: Prepared::new(&batch), batch, lookup, reply, recorded: None }, answer)
    }

    fn push(&self, batch: Batch) -> Waiting {
        let (ticket, answer) = self.ticket(batch);
        self.queue.push(ticket).unwrap();
        answer
    }

    /// Queues a batch and decides it.
    fn gather(&self, batch: Batch) -> Waiting {
        let answer = self.push(batch);
        self.open_group.gather(&self.queue);
        answer
    }

    fn take(&self) -> Taken {
        self.open_group.lock().take_group().expect("something was gathered")
    }

    /// Marks a group as durable, as the writer does after its sync.
    fn settle(&self, taken: Taken) {
        self.open_group.lock().durable.store(taken.number, Ordering::Release);
        let Taken { number, checksum, head, .. } = taken;
        let position = head.position;
        self.shared.synced.note(DurableMark { number, checksum, position });
        self.shared.published.publish(head);
        taken.group.answers.into_iter().for_each(|(reply, answer)| deliver(reply, answer));
    }

    /// The numbers of gathered frames and answers.
    fn gathered(&self) -> (usize, usize) {
        let builder = self.open_group.lock();
        (builder.group.frames.len(), builder.group.answers.len())
    }

    fn is_halted(&self) -> bool {
        self.open_group.lock().is_halted()
    }

    /// Gathers batches until one has no room, and returns how many had room.
    fn fill_segment(&self) -> u64 {
        let mut numbers = 1..100;
        let halting = numbers.find(|number| {
            self.gather(batch(*number));
            self.is_halted()
        });
        halting.expect("the segment becomes full") - 1
    }

    /// The number of tables, and the first position of the last one.
    fn tables(&self) -> (usize, u64) {
        let snapshot = self.shared.index.snapshot();
        (snapshot.tables.len(), snapshot.active().first)
    }
}

fn small(number: u64) -> Batch {
    batch_of(number, vec![b'1'; 8])
}

fn is_waiting(answer: &Waiting) -> bool {
    answer.try_recv() == Err(oneshot::TryRecvError::Empty)
}

#[test]
fn a_gathering_caller_decides_at_most_a_thousand_batches_and_reports_work_for_the_writer() {
    let log = Gathered::begin(&Options { segment_size_bytes: 1 << 20, ..Options::default() });
    assert!(!log.open_group.gather(&log.queue));
    let most = DECISIONS_MAX as u64;
    let _waiting = (1..=2 * most).map(|number| log.push(small(number))).collect::<Vec<_>>();
    assert!(log.open_group.gather(&log.queue));
    assert_eq!(log.gathered().0, DECISIONS_MAX);
    assert_eq!(log.open_group.lock().gather(&log.queue, 1), 1);
    assert_eq!(log.gathered().0, DECISIONS_MAX + 1);
    // The next caller decides the same number again.
    assert!(log.open_group.gather(&log.queue));
    assert_eq!((log.gathered().0, log.queue.is_empty()), (2 * DECISIONS_MAX, true));
}

#[test]
fn a_group_that_is_full_takes_no_more_batches() {
    let log = Gathered::begin(&options());
    log.open_group.lock().group.answers_bytes = GROUP_BYTES_MAX - 1;
    let _waiting = [1, 2].map(|number| log.push(small(number)));
    assert!(log.open_group.gather(&log.queue));
    assert_eq!((log.gathered().0, log.queue.is_empty()), (1, false));
    let gathered = log.open_group.lock().group.bytes;
    assert_eq!(log.take().group.bytes, gathered);
    log.open_group.lock().group.bytes = GROUP_BYTES_MAX;
    assert!(log.open_group.lock().is_full());
}

#[test]
fn a_frame_fits_after_the_gathered_frames_and_a_pending_start() {
    let log = Gathered::begin(&options());
    let mut builder = log.open_group.lock();
    let free = usize::try_from(builder.active.size_bytes - builder.active.offset).unwrap();
    for (pending, start) in [(0, None), (4_096, None), (0, Some(StartBody::default()))] {
        builder.group.bytes = pending;
        let start_bytes = start.as_ref().map_or(0, |_| START_BYTES);
        builder.start = start;
        let most = free - MARKS_RESERVE_BYTES - pending - start_bytes;
        assert!(builder.fits(most) && !builder.fits(most + 1), "after {pending} and {start_bytes}");
    }
}

#[test]
fn a_batch_without_room_halts_gathering_and_is_first_in_the_next_segment() {
    let log = Gathered::begin(&options());
    let filled = log.fill_segment();
    let waiting = log.push(batch(filled + 2));
    assert!(log.open_group.gather(&log.queue), "the writer has to make room");
    assert_eq!((log.gathered().0 as u64, log.queue.is_empty()), (filled, false), "no batch is decided");
    let taken = log.take();
    let (segment, end) = (taken.segment.id, taken.offset + taken.group.bytes as u64);
    assert!(log.open_group.lock().has_work(), "nothing is gathered, but a batch waits");
    log.settle(taken);

    log.open_group.lock().make_way();
    log.open_group.gather(&log.queue);
    assert_eq!((log.gathered().0, log.is_halted()), (2, false));
    let next = log.take();
    assert_eq!((next.head.position, next.number), (filled + 2, filled + 2));
    assert!(next.segment.id != segment && !next.group.start.is_empty());
    let frames = next.group.frames.iter().map(Prepared::len).sum::<usize>();
    assert_eq!(next.group.bytes, next.group.start.len() + frames);
    log.settle(next);
    assert_eq!(waiting.try_recv().unwrap().unwrap().places[0].position.sequence, filled + 2);

    assert!(log.segment_manager.perform_waiting() && log.segment_manager.failure().is_none());
    let owner = log.manifest.lock();
    let crate::format::SegmentState::Sealed(sealed) = owner.manifest.segments[0].state else {
        panic!("it is sealed")
    };
    assert_eq!((sealed.frames, sealed.events, sealed.end), (filled, filled, end));
    let durable = owner.manifest.durable;
    let newest = log.shared.synced.newest();
    assert!(durable == newest && newest.position == filled + 2, "the newest synced frame: {durable:?}");
}

#[test]
fn an_idle_frame_follows_the_start_of_a_segment_without_batches() {
    let filled = Gathered::begin(&options()).fill_segment();
    let log = Gathered::begin(&options());
    let _waiting = (1..=filled).map(|number| log.gather(batch(number))).collect::<Vec<_>>();
    // The expectation of a batch without room is checked once there is room.
    let refused = log.gather(batch(filled + 1).expect("nobody-1".parse().unwrap(), Expected::Exists));
    assert!(log.is_halted() && is_waiting(&refused));
    log.settle(log.take());
    log.open_group.lock().make_way();
    assert!(matches!(refused.try_recv(), Ok(Err(AppendError::Conflict { .. }))));
    assert_eq!(log.gathered(), (0, 0));
    let idle = log.open_group.lock().take_idle();
    let bytes = &idle.group.start;
    let builder = log.open_group.lock();
    assert_eq!(builder.active.tally.last_frame(), idle.offset + START_BYTES as u64);
    assert_eq!(builder.active.offset, idle.offset + bytes.len() as u64);
    assert_eq!((idle.number, idle.covers, idle.head.position), (filled + 1, filled, filled));
}

#[test]
fn after_a_failed_seal_nothing_more_is_written_and_acknowledged_events_are_safe() {
    let machine = Machine::new(1);
    let log = crate::testing::open(&machine);
    let append = |number| {
        let pending = log.enqueue_inline(batch(number));
        log.commit_inline();
        pending.answer()
    };
    let last = 20;
    assert!((1..=last).all(|number| append(number).is_ok()), "in more than one segment");
    machine.plan_fault(Some(PlannedFault { after: 0, failure: Failure::Eio, lasts: true }));
    log.keep_inline();
    machine.plan_fault(None);
    machine.record();
    let Err(AppendError::ReadOnly { reason }) = append(last + 1) else { panic!("the log takes no writes") };
    let path = crate::folder::segment_path(Path::new(LOG), 1);
    assert!(reason.contains(&format!("sealing `{}` failed", path.display())), "{reason}");
    assert!(append(last).unwrap().repeated);
    log.rest_inline();
    assert_eq!(machine.recorded(), []);
    assert_eq!(log.read_only().unwrap().reason, reason);
    drop(log);
    let log = crate::testing::open(&machine);
    assert!((log.read_only(), log.durable_position()) == (None, last), "{:?}", log.recovery());
}

#[test]
fn a_panic_drops_gathered_batches_and_keeps_the_group_that_is_being_written() {
    let log = Gathered::begin(&options());
    let first = log.gather(small(1));
    log.settle(log.take());
    let second = log.gather(small(2));
    let written = log.take();
    let third = log.gather(small(3));
    log.open_group.give_up(GroupBuilder::taken_to);
    assert!(log.open_group.lock().is_poisoned());
    assert_eq!(third.try_recv(), Err(oneshot::TryRecvError::Disconnected), "it is in doubt");
    assert_eq!((log.gathered(), log.shared.index.snapshot().active().read().last()), ((0, 0), 2));
    log.settle(written);
    let answers = [first, second].map(|answer| answer.try_recv().unwrap().unwrap().repeated);
    assert_eq!(answers, [false, false]);
    let refused = log.queue.push(log.ticket(small(3)).0).unwrap_err();
    assert_eq!(refused, log.shared.read_only());
}

#[test]
fn a_repeat_waits_until_the_repeated_batch_is_durable() {
    let log = Gathered::begin(&options());
    let first = log.gather(small(1));
    let second = log.gather(small(1));
    assert_eq!(log.gathered(), (1, 2), "in the same group");
    let taken = log.take();
    assert!(!log.open_group.gather(&log.queue));
    // While that group is written: a group with only answers.
    let third = log.push(small(1));
    assert!(log.open_group.gather(&log.queue));
    assert_eq!(log.gathered(), (0, 1));
    assert!([&first, &second, &third].into_iter().all(is_waiting));
    log.settle(taken);
    assert!(is_waiting(&third));
    log.settle(log.take());
    let repeated = [first, second, third].map(|answer| answer.try_recv().unwrap().unwrap().repeated);
    assert_eq!(repeated, [false, true, true]);

    let late = log.push(small(1));
    assert!(!log.open_group.gather(&log.queue), "the batch is durable and answered at once");
    assert!(late.try_recv().unwrap().unwrap().repeated);
}

#[test]
fn a_table_ends_with_the_group_that_fills_it_and_at_most_two_wait_for_the_disk() {
    // A table of such events takes much less memory than the events take in the log.
    let options = Options { index_run_bytes: 32 << 10, segment_size_bytes: 1 << 20, ..Options::default() };
    let log = Gathered::begin(&options);
    let of_one = Prepared::new(&batch(1)).len() as u64;
    let full = options.index_run_bytes.div_ceil(of_one);
    for number in 1..=3 * full {
        log.gather(batch(number));
        log.settle(log.take());
        let is_full = number % full == 0 && number < 3 * full;
        assert_eq!(log.is_halted(), is_full, "after {number} of {full}");
        let before = number.min(2 * full) / full;
        if is_full {
            assert_eq!(u64::try_from(log.tables().0).unwrap(), before, "until the writer makes room");
            log.open_group.lock().make_way();
        }
        let (tables, first) = log.tables();
        assert_eq!((tables as u64, first), (1 + before, before * full + 1), "after {number}");
    }
}

#[test]
fn a_time_is_not_closed_before_the_events_up_to_it_are_shown() {
    let log = Gathered::begin(&options());
    let _waiting = log.gather(small(1));
    let taken = log.take();
    // The group is synced, and not shown yet.
    log.open_group.lock().durable.store(taken.number, Ordering::Release);
    let close = |time| {
        let (reply, answer) = oneshot::channel();
        log.queue.push(Closing { time, reply }).unwrap();
        log.open_group.gather(&log.queue);
        answer
    };
    let closed = close(0);
    assert!(is_waiting(&closed));
    log.settle(taken);
    log.settle(log.take());
    assert_eq!(closed.try_recv().unwrap().unwrap().checkpoint.sequence(0), 1);
    assert!(close(0).try_recv().is_ok(), "all of it is shown");
    let later = close(7);
    assert!(is_waiting(&later));
    assert_eq!(log.gathered(), (1, 1), "a frame, and the answer that waits for it");
    log.settle(log.take());
    assert!(later.try_recv().unwrap().is_ok());
    let _waiting = log.gather(small(2));
    assert_eq!(log.open_group.lock().tail.chain.recorded_at, 8);
}
