//! The rules of the tail step, one by one, on the files that a process leaves that was killed.

use std::path::Path;

use super::*;
use crate::env::{Machine, Mode, SimEnv};
use crate::folder::{DurableMark, RunEntry, Sealed, segment_path};
use crate::recover::open_listed;
use crate::store::LogStore;
use crate::testing::{LOG, batch_of, open};

/// Of an event whose frame has no sector of zeros, and more than one sector.
const EVENT_BYTES: usize = 900;
const SECTOR: usize = 512;

/// A log that a process appends to.
struct Running {
    machine: Machine,
    log: LogStore,
    events: u64,
}

/// Its files as they were at some moment, and what the manifest says then.
struct Left {
    machine: Machine,
    manifest: Manifest,
}

impl Running {
    fn begin() -> Self {
        let machine = Machine::new(1);
        let log = open(&machine);
        log.keep_inline();
        Self { machine, log, events: 0 }
    }

    /// Appends batches of one event each as one group.
    fn append(&mut self, sizes: &[usize]) {
        let pending = sizes.iter().map(|size| {
            self.events += 1;
            self.log.enqueue_inline(batch_of(self.events, vec![b'1'; *size]))
        });
        let pending = pending.collect::<Vec<_>>();
        self.log.commit_inline();
        pending.into_iter().for_each(|pending| drop(pending.answer().unwrap()));
    }

    fn left(&self) -> Left {
        let machine = self.machine.fork();
        let manifest = Manifest::load(&SimEnv::new(&machine), Path::new(LOG)).unwrap().unwrap();
        Left { machine, manifest }
    }

    /// Appends groups until one of them is the first of the second segment. The first one is not sealed yet.
    fn fill_segment(&mut self, group: &[usize]) {
        while self.left().survey().at != Some(1) {
            self.append(group);
        }
    }
}

impl Left {
    fn listed(&self) -> Vec<Listed> {
        let env = SimEnv::new(&self.machine);
        open_listed(&env, Path::new(LOG), &self.manifest, Mode::Read, &mut Vec::new()).unwrap()
    }

    fn survey(&self) -> TailSurvey {
        survey_tail(&self.manifest, &self.listed(), &LogPoint::START).unwrap()
    }

    /// Changes the bytes of a segment.
    fn change(&self, at: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let path = segment_path(Path::new(LOG), self.manifest.segments[at].header.id);
        let mut bytes = self.machine.content(&path).unwrap();
        change(&mut bytes);
        self.machine.put(&path, bytes);
    }

    /// The same, and what is seen of the log then.
    fn with(self, at: usize, change: impl FnOnce(&mut Vec<u8>)) -> TailSurvey {
        self.change(at, change);
        self.survey()
    }

    /// How the first segment was sealed, though the manifest may not know it yet.
    fn sealed_first(&self) -> Sealed {
        let SegmentState::Sealed(sealed) = self.manifest.segments[0].state else { panic!("it is sealed") };
        sealed
    }
}

/// A log of three groups, and where the last begins and ends.
fn three_groups() -> (Left, usize, usize) {
    let mut running = Running::begin();
    (0..3).for_each(|_| running.append(&[EVENT_BYTES]));
    let left = running.left();
    let (from, to) = last_frame(&left.survey());
    (left, from, to)
}

fn last_frame(survey: &TailSurvey) -> (usize, usize) {
    let last = survey.frames.last().unwrap();
    let from = usize::try_from(last.offset).unwrap();
    (from, from + last.header.length)
}

/// The first place in a range where a sector begins.
fn sector_in(from: usize, to: usize) -> usize {
    let sector = from.next_multiple_of(SECTOR);
    assert!(sector < to);
    sector
}

#[test]
fn the_last_group_is_whole_and_not_known_to_be_synced() {
    let (left, from, to) = three_groups();
    let mut survey = left.survey();
    assert_eq!((survey.at, survey.state, survey.stop), (Some(0), TailState::Clean, to as u64));
    assert_eq!((survey.watermark, survey.beyond_watermark().len()), (2, 1));
    assert!(survey.holds_frames() && !survey.is_torn() && !survey.unproven_spare);
    assert_eq!(survey.torn_spares, [], "a spare of zeros is not torn");
    let frames = survey.frames.len();
    for _ in 0..2 {
        survey.clip_to_watermark();
        assert_eq!((survey.stop, survey.frames.len()), (from as u64, frames - 1));
        assert!(survey.beyond_watermark().is_empty());
    }
}

#[test]
fn behind_all_that_is_known_to_be_indexed_nothing_is_looked_at_again() {
    let (left, from, to) = three_groups();
    let whole = left.survey();
    let mut chain = ChainPosition::before(&whole.frames[0].header);
    whole.frames.iter().for_each(|frame| chain.pass(&frame.header));
    let segment = left.manifest.segments[0].header.id;
    let known = LogPoint { segment, offset: to as u64, last_frame: from as u64, chain, ..LogPoint::START };
    let survey = survey_tail(&left.manifest, &left.listed(), &known).unwrap();
    assert!(survey.frames.is_empty() && survey.holds_frames(), "it holds those that were not looked at");
    assert_eq!((survey.from, survey.state, survey.stop), (known, TailState::Clean, to as u64));
    assert_eq!(survey.watermark, 3, "what is known is known to be synced");
}

#[test]
fn a_log_in_which_nothing_was_appended_ends_where_it_begins() {
    let survey = Running::begin().left().survey();
    assert!(!survey.is_torn() && survey.beyond_watermark().is_empty());
    assert_eq!(survey.watermark, 0);
}

#[test]
fn zeros_are_a_clean_end_unless_a_later_frame_says_that_they_were_synced() {
    let (left, from, to) = three_groups();
    let survey = left.with(0, |bytes| bytes[from..to].fill(0));
    assert_eq!((survey.state, survey.stop, survey.watermark), (TailState::Clean, from as u64, 1));

    let (left, _, _) = three_groups();
    let second = left.survey().frames.iter().rev().nth(1).unwrap().offset;
    let from = usize::try_from(second).unwrap();
    let survey = left.with(0, |bytes| bytes[from..from + SECTOR].fill(0));
    assert_eq!((survey.state, survey.stop, survey.watermark), (TailState::Corrupt, second, 2));
}

#[test]
fn any_later_frame_may_say_that_the_missing_one_was_synced() {
    // The next frame is of the same group and knows nothing of it; the one after it does.
    let mut running = Running::begin();
    running.append(&[EVENT_BYTES]);
    running.append(&[EVENT_BYTES, EVENT_BYTES]);
    running.append(&[EVENT_BYTES]);
    let left = running.left();
    let missing = left.survey().frames.iter().rev().nth(2).unwrap().offset;
    let from = usize::try_from(missing).unwrap();
    let survey = left.with(0, |bytes| bytes[from..from + SECTOR].fill(0));
    assert_eq!((survey.state, survey.stop, survey.watermark), (TailState::Corrupt, missing, 3));
}

#[test]
fn a_frame_with_a_sector_of_zeros_is_torn_and_one_without_proves_nothing() {
    // The last sector of it is missing, or one in its middle, or the file was cut within it.
    let (left, from, to) = three_groups();
    let last = (to - 1) / SECTOR * SECTOR;
    let survey = left.with(0, |bytes| bytes[last..to].fill(0));
    assert_eq!((survey.state, survey.stop), (TailState::Torn { to: last as u64 }, from as u64));
    assert!(survey.is_torn());

    let (left, from, to) = three_groups();
    let sector = sector_in(from + 200, to);
    let survey = left.with(0, |bytes| bytes[sector..(sector + SECTOR).min(to - 8)].fill(0));
    assert!(matches!(survey.state, TailState::Torn { .. }), "{:?}", survey.state);

    let (left, _, to) = three_groups();
    let survey = left.with(0, |bytes| bytes.truncate(to - 100));
    assert_eq!(survey.state, TailState::Torn { to: (to - 100) as u64 });

    // All of it is there, and a bit is wrong: in its body, or in its header.
    for at in [FRAME_HEADER_BYTES + 200, 20] {
        let (left, from, _) = three_groups();
        let survey = left.with(0, |bytes| bytes[from + at] ^= 1);
        assert_eq!((survey.state, survey.stop), (TailState::Unproven, from as u64), "{at}");
        assert!(!survey.is_torn());
    }
}

#[test]
fn a_frame_is_torn_by_a_whole_sector_of_zeros_within_it_and_nothing_less() {
    // A sector that begins with a zero.
    let (left, from, to) = three_groups();
    let sector = sector_in(from + 200, to);
    assert_eq!(left.with(0, |bytes| bytes[sector] = 0).state, TailState::Unproven);

    // A file that ends where the frame does.
    let (left, from, to) = three_groups();
    let survey = left.with(0, |bytes| {
        bytes.truncate(to);
        bytes[from + 200] ^= 1;
    });
    assert_eq!(survey.state, TailState::Unproven);

    // A sector that begins where the frame ends.
    let ends_so = (0..SECTOR).find_map(|more| {
        let mut running = Running::begin();
        running.append(&[EVENT_BYTES]);
        running.append(&[EVENT_BYTES + more]);
        let left = running.left();
        let (from, to) = last_frame(&left.survey());
        to.is_multiple_of(SECTOR).then_some((left, from))
    });
    let (left, from) = ends_so.expect("frames end at multiples of eight");
    assert_eq!(left.with(0, |bytes| bytes[from + 200] ^= 1).state, TailState::Unproven);
}

#[test]
fn a_frame_whose_header_is_gone_reaches_to_the_next_valid_one() {
    // A group of two: the second frame holds zeros that it was given, and says nothing of the first.
    let group = || {
        let mut running = Running::begin();
        running.append(&[EVENT_BYTES]);
        running.append(&[EVENT_BYTES, EVENT_BYTES]);
        let left = running.left();
        let survey = left.survey();
        let (second, end) = last_frame(&survey);
        let first = usize::try_from(survey.frames.iter().rev().nth(1).unwrap().offset).unwrap();
        (left, first, second, end)
    };
    let (left, first, second, end) = group();
    let survey = left.with(0, |bytes| {
        bytes[first + 20] ^= 1;
        bytes[sector_in(second + FRAME_HEADER_BYTES, end)..end].fill(0);
    });
    assert_eq!(survey.state, TailState::Unproven, "the zeros are not those of the first frame");

    let (left, first, second, _) = group();
    let survey = left.with(0, |bytes| bytes[first..sector_in(first, second)].fill(0));
    assert!(matches!(survey.state, TailState::Torn { .. }), "{:?}", survey.state);
}

#[test]
fn a_header_that_a_sector_cuts_is_torn() {
    // The third frame begins so near the end of a sector that its header lies in two.
    let begun_so = (0..SECTOR).find_map(|more| {
        let mut running = Running::begin();
        running.append(&[EVENT_BYTES]);
        running.append(&[EVENT_BYTES + more]);
        running.append(&[EVENT_BYTES]);
        let left = running.left();
        let (from, _) = last_frame(&left.survey());
        (SECTOR - from % SECTOR == FRAME_HEADER_BYTES / 2).then_some((left, from))
    });
    let (left, from) = begun_so.expect("frames begin at multiples of eight");
    let cut = sector_in(from, from + FRAME_HEADER_BYTES);
    let survey = left.with(0, |bytes| bytes[cut..].fill(0));
    assert!(matches!(survey.state, TailState::Torn { .. }), "{:?}", survey.state);
}

#[test]
fn what_stands_in_a_segment_that_was_never_used_is_torn_or_proves_nothing() {
    let begin = usize::try_from(SegmentFile::first_frame_offset()).unwrap();
    let spare = |bytes: &[u8]| {
        let mut running = Running::begin();
        while running.left().manifest.segments.len() < 2 {
            running.append(&[EVENT_BYTES]);
            running.log.keep_inline();
        }
        running.left().with(1, |own| own[begin..begin + bytes.len()].copy_from_slice(bytes))
    };
    let torn = spare(&[7; FRAME_HEADER_BYTES / 2]);
    assert_eq!((torn.at, &torn.torn_spares[..], torn.unproven_spare), (Some(0), &[][..], true), "one sector");
    let holed = [vec![7; SECTOR], vec![0; SECTOR], vec![7; 8]].concat();
    let torn = spare(&holed);
    let to = (begin + holed.len()) as u64;
    assert_eq!((torn.at, &torn.torn_spares[..], torn.unproven_spare), (Some(0), &[(1, to)][..], false));
    assert!(torn.is_torn() && torn.state == TailState::Clean);
}

#[test]
fn a_sealed_segment_ends_where_the_manifest_says_and_all_of_it_was_synced() {
    let mut running = Running::begin();
    running.fill_segment(&[EVENT_BYTES, EVENT_BYTES]);
    running.log.keep_inline();
    let mut left = running.left();
    let sealed = left.sealed_first();
    left.manifest.segments.truncate(1);
    left.manifest.durable = DurableMark::default();
    let frames = sealed.first_frame + sealed.frames - 1;
    let survey = left.survey();
    assert_eq!((survey.at, survey.state, survey.stop), (Some(0), TailState::Sealed, sealed.end));
    assert_eq!((survey.watermark, survey.beyond_watermark().len()), (frames, 0));
    assert!(survey.frames.iter().all(|frame| frame.offset < sealed.end), "its END is no frame of it");

    let end = usize::try_from(sealed.end).unwrap();
    let survey = left.with(0, |bytes| bytes[end + 20] ^= 1);
    assert_eq!((survey.state, survey.stop), (TailState::Sealed, sealed.end), "an END that rotted");
}

#[test]
fn a_segment_without_its_first_frame_goes_on_where_the_one_before_ends() {
    // The first group of a segment is torn in its first frame; its second says what had been synced before both.
    for is_sealed in [false, true] {
        let mut running = Running::begin();
        running.fill_segment(&[EVENT_BYTES, EVENT_BYTES]);
        if is_sealed {
            running.log.keep_inline();
        }
        let mut left = running.left();
        assert_eq!(matches!(left.manifest.segments[0].state, SegmentState::Sealed(_)), is_sealed);
        // A manifest that names no frame behind the sealed segment.
        left.manifest.durable = DurableMark::default();
        let survey = left.survey();
        let (second, _) = last_frame(&survey);
        let before = survey.frames.last().unwrap().header.number - 2;
        assert_eq!(survey.watermark, before);
        let begin = usize::try_from(SegmentFile::first_frame_offset()).unwrap();
        let survey = left.with(1, |bytes| bytes[begin..second].fill(0));
        let state = survey.state;
        assert!(matches!(state, TailState::Torn { .. }), "sealed {is_sealed}: {state:?}");
        assert_eq!((survey.at, survey.stop, survey.watermark), (Some(1), begin as u64, before));
        assert!(!survey.holds_frames());

        // One that was written after the group was synced says so.
        running.append(&[EVENT_BYTES]);
        let survey = running.left().with(1, |bytes| bytes[begin..second].fill(0));
        assert_eq!((survey.state, survey.watermark), (TailState::Corrupt, before + 2), "sealed {is_sealed}");
    }
}

#[test]
fn one_frame_that_was_synced_and_is_missing_at_the_beginning_of_a_segment_is_noticed() {
    let mut running = Running::begin();
    running.fill_segment(&[EVENT_BYTES]);
    running.log.keep_inline();
    running.append(&[EVENT_BYTES]);
    let left = running.left();
    let last_before = left.sealed_first().first_frame + left.sealed_first().frames - 1;
    let (second, _) = last_frame(&left.survey());
    let begin = usize::try_from(SegmentFile::first_frame_offset()).unwrap();
    let survey = left.with(1, |bytes| bytes[begin..second].fill(0));
    assert_eq!((survey.state, survey.watermark), (TailState::Corrupt, last_before + 1));
}

#[test]
fn a_log_that_ends_before_a_frame_that_the_manifest_proves_is_corrupt() {
    let (mut left, from, to) = three_groups();
    let last = *left.survey().frames.last().unwrap();
    let (number, checksum) = (last.header.number, last.header.checksum);
    left.manifest.durable = DurableMark { number, checksum, position: last.header.next_position() - 1 };
    let survey = left.survey();
    assert_eq!((survey.state, survey.watermark, survey.end().number), (TailState::Clean, number, number));
    let name = FrameName { number, checksum };
    let entry =
        RunEntry { id: 1, first: 1, last: 3, first_frame: name, last_frame: name, size_bytes: 1, tier: 0 };
    for proof in ["the mark", "a run"] {
        if proof == "a run" {
            left.manifest.durable = DurableMark::default();
            left.manifest.runs = vec![entry];
        }
        left.change(0, |bytes| bytes[from..to].fill(0));
        let survey = left.survey();
        assert_eq!((survey.state, survey.watermark), (TailState::Corrupt, number), "{proof}");
        left.change(0, |bytes| bytes.fill(0));
        let survey = left.survey();
        assert_eq!((survey.at, survey.state), (None, TailState::Corrupt), "{proof}: every frame is gone");
        left = {
            let (again, ..) = three_groups();
            Left { machine: again.machine, ..left }
        };
    }
}

#[test]
fn a_frame_that_the_manifest_names_otherwise_is_of_another_history() {
    let (mut left, ..) = three_groups();
    let last = *left.survey().frames.last().unwrap();
    let position = last.header.next_position() - 1;
    left.manifest.durable =
        DurableMark { number: last.header.number, checksum: last.header.checksum ^ 1, position };
    let survey = left.survey();
    assert_eq!((survey.state, survey.other_history.map(|other| other.at)), (TailState::Corrupt, Some(0)));
    left.manifest.durable.checksum = 0;
    let survey = left.survey();
    assert_eq!((survey.state, survey.other_history.is_some()), (TailState::Clean, false), "it is not known");
}
