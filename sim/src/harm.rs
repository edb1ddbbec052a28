//! Harm to the files of a log that is not open: bit rot, and mistakes of people and disks.

mod ends;
mod index;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gesta_log::sim::{Machine, ROOT};

use crate::plan::{Ending, index};
use crate::random::Random;
pub(crate) use ends::{END_HARMS, EndHarm, Left, Past, harm_end};
pub(crate) use index::{HarmedIndex, INDEX_HARMS, IndexHarm, harm_index, index_files, is_run};

/// Bytes of a segment before its frames.
pub(crate) const HEADER_BYTES: usize = 4096;

/// The files of a log at one moment.
pub(crate) type Snapshot = BTreeMap<PathBuf, Vec<u8>>;

/// The harm that was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Harm {
    /// The files whose content differs from what the log wrote.
    pub(crate) files: Vec<PathBuf>,
    /// How much of the log's end may be hidden.
    pub(crate) end: End,
    /// A segment's file is missing: the open must report the whole loss.
    pub(crate) is_gone: bool,
    /// Nothing is lost, and nothing may be reported as lost.
    pub(crate) is_harmless: bool,
    /// Another history that replaced a part of this one.
    pub(crate) other_history: Option<OtherHistory>,
}

/// A segment of another history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherHistory {
    /// The position of the first event that differs.
    pub(crate) from: u64,
    /// The position of its last event.
    pub(crate) to: u64,
    /// A record on the disk names a frame that differs: by number and checksum, or as a part of a sealed segment.
    pub(crate) is_named: bool,
}

/// The events at the end of a log that may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// None: every event is shown or reported with its position.
    #[default]
    Known,
    /// Events after that position may be hidden if the log is read-only: only the harmed files recorded how many
    /// there were.
    Unknown { from: u64 },
    /// Any: the log has the state of an earlier time.
    Earlier,
    /// Those after `to`. The files record events up to `to`, so these are shown or reported.
    Proven { to: u64 },
}

impl Harm {
    pub(crate) fn hits_index(&self) -> bool {
        self.files.iter().any(|path| path.extension().is_some_and(|own| own == "run"))
    }

    pub(crate) fn hits_manifest(&self) -> bool {
        self.files.iter().any(|path| is_manifest(path))
    }
}

/// The segments and the manifest of a log.
pub(crate) fn snapshot(machine: &Machine) -> Snapshot {
    let own = machine.paths().into_iter().filter(|path| path.starts_with(ROOT));
    let own = own.filter(|path| is_segment(path) || is_manifest(path));
    own.filter_map(|path| Some((path.clone(), machine.content(&path)?))).collect()
}

pub(crate) fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|own| own == "seg")
}

pub(crate) fn is_manifest(path: &Path) -> bool {
    path.file_name().is_some_and(|own| own == "manifest")
}

/// The segments that hold frames, ordered by the frame number in their headers.
pub(crate) fn used_segments(files: &Snapshot) -> Vec<PathBuf> {
    let first_number = |(path, bytes): (&PathBuf, &Vec<u8>)| {
        let header = bytes.get(HEADER_BYTES..HEADER_BYTES + 24).filter(|_| is_segment(path))?;
        let number = header[16..].first_chunk().map(|number| u64::from_le_bytes(*number))?;
        header.starts_with(b"GFRM").then(|| (number, path.clone()))
    };
    let mut used = files.iter().filter_map(first_number).collect::<Vec<_>>();
    used.sort();
    used.into_iter().map(|(_, path)| path).collect()
}

/// Harms the files as `ending` selects. Returns `None` if there was nothing to harm.
pub(crate) fn harm(
    machine: &Machine,
    ending: Ending,
    earlier: &Snapshot,
    random: &mut Random,
) -> Option<Harm> {
    let now = snapshot(machine);
    let segments = now.keys().filter(|path| is_segment(path)).cloned().collect::<Vec<_>>();
    let segment = segments.get(index(random, segments.len().max(1)))?.clone();
    let last = used_segments(&now).pop();
    let hides_end = |path: &PathBuf| match Some(path) == last.as_ref() {
        true => End::Unknown { from: 0 },
        false => End::Known,
    };
    let is_gone = matches!(ending, Ending::LostSegment | Ending::Renamed);
    let harm = |files: Vec<PathBuf>, end| Some(Harm { files, end, is_gone, ..Harm::default() });
    match ending {
        Ending::Plain | Ending::Stale | Ending::Misdirected | Ending::Unlinked => None,
        Ending::Index(_) | Ending::End(..) => None,
        Ending::Rot | Ending::RotOpen => {
            let path = rot(machine, &now, random)?;
            harm(vec![path], End::Known)
        }
        Ending::LostSegment => {
            machine.unlink(&segment);
            harm(vec![segment.clone()], hides_end(&segment))
        }
        Ending::Renamed => {
            let to = free_name(&now, random);
            machine.unlink(&segment);
            machine.put(&to, now[&segment].clone());
            harm(vec![segment.clone(), to], hides_end(&segment))
        }
        Ending::Duplicated => {
            let to = free_name(&now, random);
            machine.put(&to, now[&segment].clone());
            harm(vec![to], End::Known)
        }
        Ending::Overwritten => {
            let other = segments[index(random, segments.len())].clone();
            machine.put(&other, now[&segment].clone());
            harm(vec![other.clone()], if other == segment { End::Known } else { hides_end(&other) })
        }
        Ending::OldSegment => {
            let old = earlier.get(&segment)?;
            machine.put(&segment, old.clone());
            let end = if Some(&segment) == last.as_ref() { End::Earlier } else { End::Known };
            harm(vec![segment], end)
        }
        Ending::OldManifest => {
            let (path, old) = earlier.iter().find(|(path, _)| is_manifest(path))?;
            machine.put(path, old.clone());
            harm(vec![path.clone()], End::Unknown { from: 0 })
        }
        Ending::Foreign => {
            let path = foreign(machine, random);
            harm(vec![path], End::Known)
        }
    }
}

/// Flips bits of one nonzero byte, which stays nonzero: one more zero byte could look like a torn write.
fn rot(machine: &Machine, files: &Snapshot, random: &mut Random) -> Option<PathBuf> {
    // Frames are hit more often than headers, and the newest segment most often.
    let newest = used_segments(files).pop().filter(|_| random.below(2) == 0);
    let path = newest.or_else(|| files.keys().nth(index(random, files.len().max(1))).cloned())?;
    let mut bytes = files[&path].clone();
    let used = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    let from = if used > HEADER_BYTES && random.below(10) < 8 { HEADER_BYTES } else { 0 };
    let at = from + index(random, used - from);
    let before = bytes[at];
    while bytes[at] == before || bytes[at] == 0 {
        bytes[at] = u8::try_from(random.below(256)).expect("a byte");
    }
    machine.put(&path, bytes);
    Some(path)
}

fn free_name(files: &Snapshot, random: &mut Random) -> PathBuf {
    let name = |id: u64| Path::new(ROOT).join(format!("segments/{id:012}.seg"));
    let id = (0..).map(|_| random.below(200)).find(|id| !files.contains_key(&name(*id)));
    name(id.expect("a log has fewer segments"))
}

/// Puts a file that is not a segment into the folder of the segments.
fn foreign(machine: &Machine, random: &mut Random) -> PathBuf {
    let names =
        ["notes.txt", "000000000199.seg", ".hidden", "copy of 000000000001.seg", "000000000198.seg.old"];
    let path = Path::new(ROOT).join("segments").join(names[index(random, names.len())]);
    let len = [0, 100, 5_000][index(random, 3)];
    let byte = if random.below(3) == 0 { 0 } else { b'z' };
    machine.put(&path, vec![byte; len]);
    path
}
