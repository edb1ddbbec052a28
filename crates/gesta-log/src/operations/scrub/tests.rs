//! Frames of another history in a sealed segment, on a simulated machine: two copies of a log that differ in their
//! events only. Nothing that a read would not show is verified as valid.

use std::ops::RangeInclusive;
use std::path::Path;

use gesta_core::Batch;

use super::{ScrubOptions, ScrubReport, scrub_in};
use crate::env::{Machine, Mode, SimEnv};
use crate::folder::segment_path;
use crate::format::{FrameHeader, Manifest, SegmentState, last_position};
use crate::segment::{ChainPosition, SegmentFile, Walker};
use crate::testing::{LOG, append, batch_of, open};

/// The segment in which the two histories part.
const SEGMENT: u64 = 2;

/// Two closed histories of a log that part within a segment.
struct Histories {
    own: Machine,
    other: Machine,
}

/// A frame of the segment, and its place.
struct Placed {
    at: usize,
    header: FrameHeader,
}

impl Placed {
    fn end(&self) -> usize {
        self.at + self.header.length
    }
}

/// Batches whose event has that byte as its data.
fn batches(numbers: RangeInclusive<u64>, byte: u8) -> impl Iterator<Item = Batch> {
    numbers.map(move |number| batch_of(number, vec![byte; 5_000]))
}

impl Histories {
    fn new() -> Self {
        let own = Machine::new(1);
        append(&open(&own), batches(1..=14, b'1'));
        own.kill();
        let other = own.fork();
        append(&open(&own), batches(15..=40, b'1'));
        append(&open(&other), batches(15..=40, b'2'));
        let histories = Self { own, other };
        assert_eq!(histories.scrub().segments.len(), 3, "all sealed, but for the last");
        assert!(histories.scrub().is_sound());
        histories
    }

    fn path() -> std::path::PathBuf {
        segment_path(Path::new(LOG), SEGMENT)
    }

    fn scrub(&self) -> ScrubReport {
        self.own.kill();
        scrub_in(&SimEnv::new(&self.own), Path::new(LOG), &ScrubOptions::default()).unwrap()
    }

    /// Puts bytes of the other history in the place of the segment's own.
    fn replace(&self, from: usize, to: usize) {
        let (mut own, other) =
            (self.own.content(&Self::path()).unwrap(), self.other.content(&Self::path()).unwrap());
        own[from..to].copy_from_slice(&other[from..to]);
        self.own.put(&Self::path(), own);
    }

    /// The frames of the segment that hold events.
    fn frames(&self) -> Vec<Placed> {
        let env = SimEnv::new(&self.own);
        let manifest = Manifest::load(&env, Path::new(LOG)).unwrap().unwrap();
        let entry = &manifest.segments.iter().find(|entry| entry.header.id == SEGMENT).unwrap();
        let segment = SegmentFile::open(&env, Path::new(LOG), &entry.header, Mode::Read).unwrap();
        let mut walker = Walker::new(&segment).unwrap();
        let first = SegmentFile::first_frame_offset();
        let (_, header) = walker.frame_at(first).unwrap().unwrap();
        let (mut chain, mut frames) = (ChainPosition::before(&header), Vec::new());
        walker
            .walk(first, u64::MAX, &mut chain, |frame, _, offset| {
                if frame.header.events > 0 {
                    frames.push(Placed { at: usize::try_from(offset).unwrap(), header: frame.header });
                }
            })
            .unwrap();
        frames
    }

    /// What a scrub says is lost of the segment, and how many of its events are proven.
    fn lost(&self) -> (Vec<(u64, u64)>, u64) {
        let report = self.scrub();
        let own = report.segments.iter().find(|own| own.segment == SEGMENT).unwrap();
        let others = report.segments.iter().filter(|own| own.segment != SEGMENT);
        assert!(others.flat_map(|own| &own.damage).all(|damage| !damage.loses_events()), "{report:?}");
        let lost = own.damage.iter().filter(|damage| damage.loses_events());
        (lost.map(|damage| (damage.from, damage.to)).collect(), own.events)
    }

    /// The first and the last position of the segment.
    fn positions(&self) -> (u64, u64) {
        let manifest = Manifest::load(&SimEnv::new(&self.own), Path::new(LOG)).unwrap().unwrap();
        let entry = manifest.segments.iter().find(|entry| entry.header.id == SEGMENT).unwrap();
        let SegmentState::Sealed(sealed) = entry.state else { panic!("it is sealed") };
        (sealed.first_position, last_position(&sealed))
    }
}

#[test]
fn all_frames_of_another_history_are_lost_and_not_the_first_of_them_alone() {
    let histories = Histories::new();
    let frames = histories.frames();
    // Away from where the histories part, so that the first of them does not continue the one before it.
    let [first, .., last] = &frames[4..7] else { panic!("there are more") };
    histories.replace(first.at, last.end());
    let (lost, proven) = histories.lost();
    assert_eq!(lost, [(first.header.position, last.header.position)]);
    assert_eq!(proven, frames.len() as u64 - 3, "what stands around them is proven");
}

#[test]
fn a_damaged_frame_before_those_of_another_history_does_not_make_them_ones_of_this() {
    let histories = Histories::new();
    let frames = histories.frames();
    histories.replace(frames[5].at, frames[7].end());
    let mut bytes = histories.own.content(&Histories::path()).unwrap();
    // The body of the frame before; its header says what comes next.
    bytes[frames[4].at + 1_000] ^= 1;
    histories.own.put(&Histories::path(), bytes);
    let (lost, _) = histories.lost();
    assert_eq!(lost, [(frames[4].header.position, frames[7].header.position)]);
}

#[test]
fn a_whole_segment_of_another_history_is_lost() {
    let histories = Histories::new();
    let len = histories.own.content(&Histories::path()).unwrap().len();
    histories.replace(0, len);
    assert_eq!(histories.lost(), (vec![histories.positions()], 0));
}

#[test]
fn where_a_mark_alone_is_damaged_no_event_is_lost() {
    let histories = Histories::new();
    let mut bytes = histories.own.content(&Histories::path()).unwrap();
    let first = usize::try_from(SegmentFile::first_frame_offset()).unwrap();
    bytes[first + 10] ^= 1;
    histories.own.put(&Histories::path(), bytes);
    let (first, last) = histories.positions();
    assert_eq!(histories.lost(), (vec![], last + 1 - first));
}

#[test]
fn damage_at_the_end_of_a_segment_is_no_flaw_of_the_next() {
    let histories = Histories::new();
    let last = histories.frames().pop().unwrap();
    let mut bytes = histories.own.content(&Histories::path()).unwrap();
    bytes[last.at] ^= 1;
    histories.own.put(&Histories::path(), bytes);
    let report = histories.scrub();
    let damaged = report.segments.iter().filter(|own| !own.damage.is_empty()).map(|own| own.segment);
    assert_eq!(damaged.collect::<Vec<_>>(), [SEGMENT], "{report:?}");
}
