//! The steps of a simulation, drawn from its seed.

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{Batch, Checkpoint, CommandKey, EventId, Expected, Item, Query, Tag, Version};
use gesta_log::sim::Faults;

use crate::harm::{END_HARMS, EndHarm, INDEX_HARMS, IndexHarm, Left};
use crate::model::Model;
use crate::random::Random;

const STREAMS: u64 = 5;
const TYPES: u64 = 3;
const TAGS: u64 = 7;

/// The events of one simulation besides appends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    pub(crate) steps: u64,
    pub(crate) faults: Faults,
    /// One step in `n` stops the process at a file operation soon after it; 0 for none.
    pub(crate) stops: u64,
    /// Bytes of the log that the index in memory may cover.
    pub(crate) index_run_bytes: u64,
    /// Bytes of the index on disk that may be cached in memory.
    pub(crate) index_cache_bytes: u64,
    /// The size of the disk; `None` for one that is never full.
    pub(crate) disk_bytes: Option<u64>,
    /// The limit of open files; `None` for no limit.
    pub(crate) open_files_max: Option<u64>,
    /// The harm to the files after the last step.
    pub(crate) ending: Ending,
}

/// The harm to a log after its last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Plain,
    /// Bits flip in the files of a closed log.
    Rot,
    /// Bits flip in the files of a log that was not closed.
    RotOpen,
    LostSegment,
    /// A segment has another name.
    Renamed,
    /// A segment exists twice.
    Duplicated,
    /// A segment has the content of another one.
    Overwritten,
    /// A segment has its content of an earlier time.
    OldSegment,
    OldManifest,
    /// The folder of the segments contains another file.
    Foreign,
    /// A segment is unlinked while the log is open.
    Unlinked,
    /// The disk acknowledges a write of a sector and drops it.
    Stale,
    /// The disk writes a sector at the wrong place.
    Misdirected,
    /// Only the index is harmed.
    Index(IndexHarm),
    /// The end of the log is harmed after its process has ended in this way.
    End(EndHarm, Left),
}

const ENDINGS: [Ending; 12] = [
    Ending::Rot,
    Ending::RotOpen,
    Ending::LostSegment,
    Ending::Renamed,
    Ending::Duplicated,
    Ending::Overwritten,
    Ending::OldSegment,
    Ending::OldManifest,
    Ending::Foreign,
    Ending::Unlinked,
    Ending::Stale,
    Ending::Misdirected,
];

/// One simulation in `n` has a disk that is too small for its log, and another one in `n` has few file descriptors.
const SEEDS_PER_SHORTAGE: u64 = 16;

/// Harm to the end of a log that simulations without a focus do.
const ENDS_BY_DEFAULT: [EndHarm; 8] = [
    EndHarm::Cut,
    EndHarm::Zeroed,
    EndHarm::Gone,
    EndHarm::SpareGone,
    EndHarm::StaleManifest,
    EndHarm::OtherHistory,
    EndHarm::RolledBack,
    EndHarm::ReadOnlyMount,
];

/// One thing that every simulation does: `--focus NAME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Focus(Focused);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Focused {
    End(EndHarm, Left),
    SmallDisk,
    FewFiles,
}

const LEFTS: [(&str, Left); 2] = [("closed", Left::Closed), ("killed", Left::Killed)];

impl Focus {
    /// The focus with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|(own, _)| own == name).map(|(_, focus)| focus)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        let named = Self::all().into_iter().find(|(_, own)| *own == self);
        named.map(|(name, _)| name).expect("every focus has a name")
    }

    /// Every focus, with its name.
    #[must_use]
    pub fn all() -> Vec<(String, Self)> {
        let ends = END_HARMS.iter().flat_map(|(harm, how)| {
            LEFTS.iter().map(move |(name, left)| (format!("{harm}-{name}"), Self(Focused::End(*how, *left))))
        });
        let others = [("small-disk", Focused::SmallDisk), ("few-files", Focused::FewFiles)];
        ends.chain(others.map(|(name, focus)| (name.to_owned(), Self(focus)))).collect()
    }
}

/// One step of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Append,
    Group,
    /// A batch is looked up now and queued later.
    LookUp,
    Repeat,
    Read,
    Idle,
    /// A time is closed.
    CloseTime,
    Keep,
    OpenTwice,
    Close,
    Kill,
    CutPower,
}

impl Profile {
    pub(crate) fn draw(random: &mut Random, focus: Option<Focus>) -> Self {
        let mut faults = Faults::default();
        let mut rate = |rate: &mut u64, of: u64| {
            if random.below(3) == 0 {
                *rate = 1 + random.below(of);
            }
        };
        rate(&mut faults.sync_eio, 300);
        rate(&mut faults.folder_sync_eio, 1_000);
        rate(&mut faults.write_eio, 200);
        rate(&mut faults.no_space, 2_000);
        rate(&mut faults.short_write, 300);
        rate(&mut faults.read_only, 30);
        rate(&mut faults.clock_back, 1_000);
        if random.below(20) == 0 {
            faults.torn = 1 + random.below(3_000);
        }
        let stops = [0, 6, 15, 40][index(random, 4)];
        let ending = match random.below(4) {
            0 => ENDINGS[index(random, ENDINGS.len())],
            1 => {
                let how = ENDS_BY_DEFAULT[index(random, ENDS_BY_DEFAULT.len())];
                Ending::End(how, LEFTS[index(random, LEFTS.len())].1)
            }
            2 => Ending::Index(INDEX_HARMS[index(random, INDEX_HARMS.len())]),
            _ => Ending::Plain,
        };
        let run_sizes = [16 << 10, 4 << 10, 1 << 10, 64 << 20];
        let sizes = if matches!(ending, Ending::Index(_)) { &run_sizes[..3] } else { &run_sizes };
        let index_run_bytes = sizes[index(random, sizes.len())];
        // A quarter of it holds stream heads: all of them, some, or one.
        let index_cache_bytes = [256 << 20, 2 << 10, 512][index(random, 3)];
        let steps = 50 + random.below(250);
        let (disk_bytes, open_files_max) = (None, None);
        let mut own = Self {
            steps,
            faults,
            stops,
            index_run_bytes,
            index_cache_bytes,
            disk_bytes,
            open_files_max,
            ending,
        };
        match focus.map(|focus| focus.0) {
            Some(Focused::End(how, left)) => own.ending = Ending::End(how, left),
            Some(Focused::SmallDisk) => own.have_small_disk(random),
            Some(Focused::FewFiles) => own.have_few_files(random),
            None => match random.below(SEEDS_PER_SHORTAGE) {
                0 => own.have_small_disk(random),
                1 => own.have_few_files(random),
                _ => {}
            },
        }
        own
    }
}

impl Profile {
    /// Sets a disk size that the log exceeds. The disk has no other fault, so every refusal is for want of space.
    fn have_small_disk(&mut self, random: &mut Random) {
        self.disk_bytes = Some((96 + random.below(400)) << 10);
        self.faults = Faults::default();
        self.ending = Ending::Plain;
    }

    /// Sets a limit of open files below the number of segments and index files of a longer log. A file whose name is gone
    /// cannot be opened again, so none is unlinked while the log uses it.
    fn have_few_files(&mut self, random: &mut Random) {
        self.open_files_max = Some(24 + random.below(16));
        if matches!(self.ending, Ending::Unlinked | Ending::Index(IndexHarm::FolderUnlinked)) {
            self.ending = Ending::Plain;
        }
    }
}

impl Step {
    pub(crate) fn draw(random: &mut Random) -> Self {
        match random.below(100) {
            0..54 => Self::Append,
            54..62 => Self::Group,
            62..68 => Self::LookUp,
            68..75 => Self::Repeat,
            75..83 => Self::Read,
            83..85 => Self::Idle,
            85..87 => Self::CloseTime,
            87..92 => Self::Keep,
            92 => Self::OpenTwice,
            93..95 => Self::Close,
            95..97 => Self::Kill,
            _ => Self::CutPower,
        }
    }
}

/// A new batch: one to ten events in one to three streams.
pub(crate) fn fresh_batch(random: &mut Random, number: usize, model: &Model) -> Batch {
    let streams = (0..=random.below(3)).map(|_| random.below(STREAMS)).collect::<Vec<_>>();
    let size = [40, 400, 1_500][index(random, 3)];
    let events = (0..=random.below(10)).map(|at| {
        let stream = streams[index(random, streams.len())];
        let id = (u128::try_from(number).expect("small") << 8) | u128::from(at);
        let data = format!("\"{}\"", "x".repeat(index(random, size)));
        let event =
            sample::event(&format!("s-{stream}"), id).of_type(&format!("sim.type{}", random.below(TYPES)));
        event.with_data(data).with_tags([tag(random)])
    });
    let mut batch = Batch::new(events.collect::<Vec<_>>());
    if random.below(3) == 0 {
        let stream = batch.events[0].stream.clone();
        let expected = match (model.version(stream.as_str()), random.below(8)) {
            (_, 0) => Expected::Exactly(Version::new(random.below(50))),
            (None, _) => Expected::None,
            (Some(version), _) => Expected::Exactly(Version::new(version)),
        };
        batch = batch.expect(stream, expected);
    }
    if let Some(store) = model.store
        && random.below(4) == 0
    {
        let head = model.log.len() as u64;
        let after = head - random.below(8).min(head);
        batch = batch.fail_if(query(random, model), Some(Checkpoint::new(store, [after])));
    }
    if random.below(4) == 0 {
        batch = batch.with_command(CommandKey { key: format!("key-{number}").into(), request: [7; 32] });
    }
    batch
}

/// A query for some of the existing events.
pub(crate) fn query(random: &mut Random, model: &Model) -> Query {
    let kind = |random: &mut Random| format!("sim.type{}", random.below(TYPES)).parse().expect("a type");
    match random.below(4) {
        0 => Query::stream(format!("s-{}", random.below(STREAMS)).parse().expect("a name")),
        1 => Query::types([kind(random)]),
        2 => Query::tags([tag(random)]),
        _ => {
            let known = model.log.get(index(random, model.log.len().max(1)));
            let id = known.map_or(EventId::from_u128(0), |event| event.bytes.id());
            Item { ids: vec![id], ..Item::default() }.into()
        }
    }
}

fn tag(random: &mut Random) -> Tag {
    Tag::new(format!("tag:{}", random.below(TAGS))).expect("a tag")
}

/// An index below a length.
pub(crate) fn index(random: &mut Random, len: usize) -> usize {
    usize::try_from(random.below(len as u64)).expect("below a usize")
}
