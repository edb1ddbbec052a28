//! Harm to the index of a log that is not open. It loses no events: the index can be rebuilt from the log.

use std::path::{Path, PathBuf};

use gesta_log::sim::{Machine, ROOT};

use super::Snapshot;
use crate::plan::index;
use crate::random::Random;

/// What is done to the files of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexHarm {
    /// Bits of one byte flip.
    Rot,
    /// A file is missing.
    Lost,
    /// A file has another name.
    Renamed,
    /// A file exists twice.
    Duplicated,
    /// A file has the content of another one.
    Overwritten,
    /// The folder has the state of an earlier time.
    Earlier,
    /// A file is cut short.
    Cut,
    /// The folder contains a file that the log did not create.
    Foreign,
    /// All files are missing.
    FolderLost,
    /// All files are unlinked while the log is open.
    FolderUnlinked,
}

/// Every kind of harm.
pub(crate) const INDEX_HARMS: [IndexHarm; 10] = [
    IndexHarm::Rot,
    IndexHarm::Lost,
    IndexHarm::Renamed,
    IndexHarm::Duplicated,
    IndexHarm::Overwritten,
    IndexHarm::Earlier,
    IndexHarm::Cut,
    IndexHarm::Foreign,
    IndexHarm::FolderLost,
    IndexHarm::FolderUnlinked,
];

/// The harm that was done and the result that it must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HarmedIndex {
    /// True if a verification must report it, false if it must not, `None` if both are right.
    pub(crate) is_told: Option<bool>,
    /// Files that do not belong to the log and must stay.
    pub(crate) foreign: Vec<PathBuf>,
}

/// The files of the index.
pub(crate) fn index_files(machine: &Machine) -> Snapshot {
    let own = machine.paths().into_iter().filter(|path| is_run(path));
    own.filter_map(|path| Some((path.clone(), machine.content(&path)?))).collect()
}

pub(crate) fn is_run(path: &Path) -> bool {
    path.extension().is_some_and(|own| own == "run")
}

/// Harms an index whose files are all listed. Returns `None` if the log has no index.
pub(crate) fn harm_index(
    machine: &Machine,
    how: IndexHarm,
    earlier: &Snapshot,
    random: &mut Random,
) -> Option<HarmedIndex> {
    let now = index_files(machine);
    let paths = now.keys().cloned().collect::<Vec<_>>();
    let path = paths.get(index(random, paths.len().max(1)))?.clone();
    let bytes = now[&path].clone();
    match how {
        IndexHarm::Rot => machine.put(&path, rotten(bytes, random)),
        IndexHarm::Cut => machine.put(&path, bytes[..index(random, bytes.len())].to_vec()),
        IndexHarm::Lost => machine.unlink(&path),
        IndexHarm::FolderLost | IndexHarm::FolderUnlinked => {
            paths.iter().for_each(|path| machine.unlink(path))
        }
        IndexHarm::Renamed => {
            machine.unlink(&path);
            machine.put(&free_name(&now, random), bytes);
        }
        IndexHarm::Duplicated => machine.put(&free_name(&now, random), bytes),
        IndexHarm::Overwritten => machine.put(&paths[index(random, paths.len())], bytes),
        IndexHarm::Earlier => {
            paths.iter().for_each(|path| machine.unlink(path));
            earlier.iter().for_each(|(path, bytes)| machine.put(path, bytes.clone()));
        }
        IndexHarm::Foreign => return Some(foreign(machine, &now, random)),
    }
    let is_changed = |(path, bytes): (&PathBuf, &Vec<u8>)| machine.content(path).as_ref() != Some(bytes);
    Some(HarmedIndex { is_told: Some(now.iter().any(is_changed)), foreign: Vec::new() })
}

fn rotten(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let at = index(random, bytes.len());
    bytes[at] ^= u8::try_from(1 + random.below(255)).expect("a byte");
    bytes
}

fn name(id: u64) -> PathBuf {
    Path::new(ROOT).join(format!("index/{id:012}.run"))
}

fn free_name(files: &Snapshot, random: &mut Random) -> PathBuf {
    let mut names = (0..).map(|_| name(random.below(1_000)));
    names.find(|name| !files.contains_key(name)).expect("an index has fewer files")
}

/// Puts a foreign file into the folder of the index, sometimes under the name of the next run.
fn foreign(machine: &Machine, files: &Snapshot, random: &mut Random) -> HarmedIndex {
    let ids = files.keys().filter_map(|path| path.file_stem()?.to_str()?.parse::<u64>().ok());
    let next = name(ids.max().unwrap_or(0) + 1);
    let others =
        ["notes.txt", ".hidden", "000000000001.run.old"].map(|name| Path::new(ROOT).join("index").join(name));
    let path = [&others[..], &[next]].concat()[index(random, others.len() + 1)].clone();
    let len = [0, 100, 5_000][index(random, 3)];
    machine.put(&path, vec![b'z'; len]);
    // The log may remove a file that has the name of a run.
    HarmedIndex { is_told: Some(false), foreign: [path].into_iter().filter(|path| !is_run(path)).collect() }
}
