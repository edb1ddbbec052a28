//! The rules of the tail step, one by one, on the files of a killed process.

use std::path::Path;

use super::*;
use crate::env::{Machine, Mode, SimEnv};
use crate::folder::segment_path;
use crate::format::{DurableMark, RunEntry, Sealed};
use crate::recover::open_listed;
use crate::store::LogStore;
use crate::testing::{LOG, batch_of, open};

/// The size of an event whose frame has no sector of zeros and spans several sectors.
const EVENT_BYTES: usize = 900;
const SECTOR: usize = 512;

/// A log with a running process.
struct Running {
    machine: Machine,
    log: LogStore,
    events: u64,
}

/// The files of a log and its manifest at some moment.
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

    /// Changes the bytes of a segment, and surveys the log.
    fn with(self, at: usize, change: impl FnOnce(&mut Vec<u8>)) -> TailSurvey {
        self.change(at, change);
        self.survey()
    }

    /// The seal of the first segment, even if the manifest does not list it yet.
    fn sealed_first(&self) -> Sealed {
        let SegmentState::Sealed(sealed) = self.manifest.segments[0].state else { panic!("it is sealed") };
        sealed
    }
}

/// A log of three groups, and where the last one begins and ends.
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
fn the_last_group_is_valid_but_not_known_to_be_synced() {
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
fn indexed_frames_are_not_read_again() {
    let (left, from, to) = three_groups();
    let whole = left.survey();
    let mut chain = ChainPosition::before(&whole.frames[0].header);
    whole.frames.iter().for_each(|frame| chain.pass(&frame.header));
    let segment = left.manifest.segments[0].header.id;
    let known = LogPoint { segment, offset: to as u64, last_frame: from as u64, chain, ..LogPoint::START };
    let survey = survey_tail(&left.manifest, &left.listed(), &known).unwrap();
    assert!(survey.frames.is_empty() && survey.holds_frames(), "earlier frames are not read again");
    assert_eq!((survey.from, survey.state, survey.stop), (known, TailState::Clean, to as u64));
    assert_eq!(survey.watermark, 3, "known frames are synced");
}

#[test]
fn an_empty_log_has_a_clean_end() {
    let survey = Running::begin().left().survey();
    assert!(!survey.is_torn() && survey.beyond_watermark().is_empty());
    assert_eq!(survey.watermark, 0);
}

#[test]
fn zeros_are_a_clean_end_unless_a_later_watermark_covers_them() {
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
fn the_watermark_of_any_later_frame_covers_a_missing_frame() {
    // The next frame is in the same group and carries no watermark for this one; the frame after it does.
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
fn a_frame_with_a_sector_of_zeros_is_torn_and_one_without_is_unproven() {
    // The frame's last sector or a middle sector is missing, or the file is cut within the frame.
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

    // The frame is complete, and one bit is wrong: in its body, or in its header.
    for at in [FRAME_HEADER_BYTES + 200, 20] {
        let (left, from, _) = three_groups();
        let survey = left.with(0, |bytes| bytes[from + at] ^= 1);
        assert_eq!((survey.state, survey.stop), (TailState::Unproven, from as u64), "{at}");
        assert!(!survey.is_torn());
    }
}

#[test]
fn only_a_whole_sector_of_zeros_within_a_frame_makes_it_torn() {
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
fn a_frame_without_its_header_reaches_to_the_next_valid_frame() {
    // A group of two: the second frame contains zeros as data, and carries no watermark for the first.
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
    assert_eq!(survey.state, TailState::Unproven, "the zeros are not in the first frame");

    let (left, first, second, _) = group();
    let survey = left.with(0, |bytes| bytes[first..sector_in(first, second)].fill(0));
    assert!(matches!(survey.state, TailState::Torn { .. }), "{:?}", survey.state);
}

#[test]
fn a_header_that_is_cut_at_a_sector_is_torn() {
    // The third frame begins so near the end of a sector that its header spans two sectors.
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
fn the_content_of_an_unused_segment_is_torn_or_unproven() {
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
fn a_sealed_segment_ends_where_the_manifest_lists_its_end_and_all_of_it_is_synced() {
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
    assert!(survey.frames.iter().all(|frame| frame.offset < sealed.end), "END is not one of its frames");

    let end = usize::try_from(sealed.end).unwrap();
    let survey = left.with(0, |bytes| bytes[end + 20] ^= 1);
    assert_eq!((survey.state, survey.stop), (TailState::Sealed, sealed.end), "a damaged END");
}

#[test]
fn a_segment_without_its_first_frame_continues_the_previous_segment() {
    // The first group of a segment is torn in its first frame. Its second frame carries the watermark from before the
    // group.
    for is_sealed in [false, true] {
        let mut running = Running::begin();
        running.fill_segment(&[EVENT_BYTES, EVENT_BYTES]);
        if is_sealed {
            running.log.keep_inline();
        }
        let mut left = running.left();
        assert_eq!(matches!(left.manifest.segments[0].state, SegmentState::Sealed(_)), is_sealed);
        // A manifest that names no frame after the sealed segment.
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

        // A frame written after the sync of the group proves the sync.
        running.append(&[EVENT_BYTES]);
        let survey = running.left().with(1, |bytes| bytes[begin..second].fill(0));
        assert_eq!((survey.state, survey.watermark), (TailState::Corrupt, before + 2), "sealed {is_sealed}");
    }
}

#[test]
fn a_synced_frame_that_is_missing_at_the_beginning_of_a_segment_is_noticed() {
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
        assert_eq!((survey.at, survey.state), (None, TailState::Corrupt), "{proof}: every frame is missing");
        left = {
            let (again, ..) = three_groups();
            Left { machine: again.machine, ..left }
        };
    }
}

#[test]
fn a_frame_that_contradicts_the_manifest_belongs_to_another_history() {
    let (mut left, ..) = three_groups();
    let last = *left.survey().frames.last().unwrap();
    let position = last.header.next_position() - 1;
    left.manifest.durable =
        DurableMark { number: last.header.number, checksum: last.header.checksum ^ 1, position };
    let survey = left.survey();
    assert_eq!((survey.state, survey.other_history.map(|other| other.at)), (TailState::Corrupt, Some(0)));
    left.manifest.durable.checksum = 0;
    let survey = left.survey();
    assert_eq!(
        (survey.state, survey.other_history.is_some()),
        (TailState::Clean, false),
        "an unknown checksum contradicts nothing"
    );
}
