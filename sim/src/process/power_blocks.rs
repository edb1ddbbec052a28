//! Power cuts between single writes of the disk. A run of clients is recorded once, with every write and flush. Then
//! possible states of the disk are made from the record, mounted, recovered and checked.
//!
//! A state holds everything that was flushed, and any part of the writes after the last flush, down to single
//! sectors, in any order. The file systems replay their journals from it. Threads make the writes of each run differ.
//! If a check fails, the recording is kept, and a state can be made from it again by its name.

use std::collections::BTreeSet;
use std::path::Path;

use super::block_log::{Entry, entries};
use super::crash_state::{CrashState, Disk, Kept, flushed, pending};
use super::driver::{Driver, Ended};
use super::image::{FileSystem, run, text};
use super::recorder::{Mounted, Recorder};
use super::said::Said;
use super::table::{Row, Table};
use super::witness::Witness;
use crate::model::Wrong;
use crate::random::Random;
use crate::workload::CLIENTS;

/// The file systems under test with their sizes in MiB; XFS accepts no smaller one.
const FILE_SYSTEMS: [(FileSystem, u64); 2] = [(FileSystem::Ext4, 64), (FileSystem::Xfs, 320)];
/// Memory for the disk, the record of its writes, and the disk of one state.
const MEMORY_MIB: u64 = 2048;
/// States that are made from one recording.
const STATES_PER_RECORDING: u64 = 50;
/// Processes that append to a log in sequence. Each is killed before it has printed `LINES_MAX` lines.
const LIVES: u64 = 2;
const LINES_MAX: u64 = 160;
/// Up to this number of unflushed writes, every subset is tried.
const PENDING_FEW: usize = 4;
/// States with torn writes at a moment with few unflushed writes, and at a moment with many.
const TORN_OF_FEW: u64 = 2;
const TORN_OF_MANY: u64 = 6;

/// The output of clients and the requests to their disk during the run.
struct Recording {
    file_system: FileSystem,
    /// The disk before the run.
    disk: Disk,
    writes: Vec<u8>,
    entries: Vec<Entry>,
    /// The lines that were printed, in order.
    said: Vec<Said>,
    /// Entries before the first process started: the file system was made and mounted.
    begin: usize,
}

/// Records runs and tries `states` states of their disks.
///
/// # Errors
/// If the disk cannot be made. The outcomes on the disk are in the table.
pub fn power_cuts_of_blocks(driver: &Driver, folder: &Path, states: u64, seed: u64) -> Result<Table, Wrong> {
    let mut table = Table { title: format!("power cuts between writes, seed {seed}"), rows: Vec::new() };
    let memory = Mounted::in_memory(&folder.join("memory"), MEMORY_MIB)?;
    for (file_system, mib) in FILE_SYSTEMS {
        let mut row = Row::new(format!("{}, any part of the unflushed writes", file_system.name()));
        let own = states.div_ceil(FILE_SYSTEMS.len() as u64);
        for first in (0..own).step_by(usize::try_from(STATES_PER_RECORDING).expect("few")) {
            let mut random = Random::of(&[seed, mib, first]);
            let recording = Recording::make(driver, memory.root(), (file_system, mib), &mut random)?;
            let chosen = recording.choose(STATES_PER_RECORDING.min(own - first), &mut random);
            let name = format!("power-blocks-{}-{seed}-{first}", file_system.name());
            let kept = folder.join(name);
            let mut is_kept = false;
            recording.try_all(&chosen, memory.root(), |state, outcome| {
                if outcome.is_err() && !is_kept {
                    recording.keep(&kept)?;
                    is_kept = true;
                }
                let again =
                    format!("cargo xtask faults power-blocks --recording {} --state {state}", kept.display());
                row.note(&again, outcome);
                Ok(())
            })?;
        }
        table.rows.push(row);
    }
    Ok(table)
}

/// Makes one state of a kept recording again.
///
/// # Errors
/// If the recording or the state does not exist. The outcome is in the table.
pub fn power_cut_again(recording: &Path, state: &str, folder: &Path) -> Result<Table, Wrong> {
    let memory = Mounted::in_memory(&folder.join("memory"), MEMORY_MIB)?;
    let state = state.parse::<CrashState>()?;
    let recording = Recording::load(recording)?;
    if state.entries > recording.entries.len() {
        return Err(format!("the recording has {} entries, not {state}", recording.entries.len()));
    }
    let mut row = Row::new(state.to_string());
    recording.try_all(&[state], memory.root(), |_, outcome| {
        row.note("again", outcome);
        Ok(())
    })?;
    Ok(Table { title: "a state of a disk".to_owned(), rows: vec![row] })
}

impl Recording {
    fn make(
        driver: &Driver,
        folder: &Path,
        (file_system, mib): (FileSystem, u64),
        random: &mut Random,
    ) -> Result<Self, Wrong> {
        let image = folder.join("image");
        let _ = std::fs::remove_file(&image);
        run(&["truncate", "-s", &format!("{mib}M"), &text(&image)])?;
        run(&[file_system.maker(), &[&text(&image)]].concat())?;
        let disk = Disk::read(&image)?;
        let recorder = Recorder::start(folder, file_system)?;
        let begin_bytes = length_of(recorder.writes())?;
        let mut witness = Witness::new(CLIENTS);
        let mut said = Vec::new();
        for _ in 0..LIVES {
            said.extend(live(driver, &recorder, &mut witness, random.below(LINES_MAX))?.said);
        }
        let end_bytes = length_of(recorder.writes())?;
        let (end, writes) = recorder.finish()?;
        let mut entries = entries(&writes)?;
        let mut replayed = disk.clone();
        replayed.apply(&entries, &writes);
        if replayed != end {
            return Err("the record of writes and the disk differ".to_owned());
        }
        entries.retain(|entry| entry.end <= end_bytes);
        let begin = entries.partition_point(|entry| entry.end <= begin_bytes);
        Ok(Self { file_system, disk, writes, entries, said, begin })
    }

    /// States at moments that the seed selects: half of them just before a flush, when the most writes are pending.
    fn choose(&self, count: u64, random: &mut Random) -> BTreeSet<CrashState> {
        let mut chosen = BTreeSet::new();
        let moments = (self.entries.len() - self.begin) as u64;
        // A few moments may have fewer states than requested.
        for _ in 0..count {
            let skipped = usize::try_from(random.below(moments + 1)).expect("entries lie in memory");
            let mut entries = self.begin + skipped;
            if random.below(2) == 0 {
                let next_flush = self.entries[entries..].iter().position(|entry| entry.flushes);
                entries += next_flush.unwrap_or(0);
            }
            for kept in parts(pending(&self.entries[..entries]).len(), random) {
                if chosen.len() as u64 == count {
                    return chosen;
                }
                chosen.insert(CrashState { entries, kept });
            }
        }
        chosen
    }

    /// Makes each of the states and notes its outcome.
    fn try_all<'a>(
        &self,
        states: impl IntoIterator<Item = &'a CrashState>,
        folder: &Path,
        mut note: impl FnMut(&CrashState, Result<String, Wrong>) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        let mut disk = self.disk.clone();
        let mut applied = 0;
        for state in states {
            let answered = &self.entries[..state.entries];
            let flushed = flushed(answered);
            assert!(applied <= flushed, "states are ordered by their moments");
            disk.apply(&answered[applied..flushed], &self.writes);
            applied = flushed;
            let mut left = disk.clone();
            state.pieces(answered, &self.writes).iter().for_each(|piece| left.keep(piece));
            note(state, self.judge(state, &left, folder))?;
        }
        Ok(())
    }

    /// Mounts the disk after the power cut and checks its log.
    fn judge(&self, state: &CrashState, left: &Disk, folder: &Path) -> Result<String, Wrong> {
        let image = folder.join("state");
        left.save(&image)?;
        let mounted = Mounted::of(self.file_system, &image, &folder.join("mounted"))?;
        let mut witness = Witness::new(CLIENTS);
        witness.hear(&self.said_by(state))?;
        let checked = witness.check(&mounted.root().join("log"))?;
        if checked.flaws > 0 {
            return Err(format!("a false alarm: the open found {} flaws", checked.flaws));
        }
        drop(mounted);
        std::fs::remove_file(&image).map_err(|error| format!("removing `{}`: {error}", image.display()))?;
        Ok(match (checked.rescued_frames, checked.quarantined_bytes) {
            (0, 0) => "nothing in doubt",
            (0, _) => "torn bytes kept aside",
            _ => "frames rescued",
        }
        .to_owned())
    }

    /// The batches that were acknowledged at that moment. A client gets its answer before it sends its next batch, so
    /// the disk holds at most one more batch of each client.
    fn said_by(&self, state: &CrashState) -> Vec<Said> {
        let end = state.entries.checked_sub(1).map_or(0, |last| self.entries[last].end);
        let heard = |said: &&Said| matches!(said, Said::Acknowledged(line) if line.writes_bytes.is_some_and(|bytes| bytes <= end));
        self.said.iter().filter(heard).cloned().collect()
    }

    fn keep(&self, folder: &Path) -> Result<(), Wrong> {
        std::fs::create_dir_all(folder).map_err(|error| format!("making `{}`: {error}", folder.display()))?;
        self.disk.save(&folder.join("image"))?;
        let said = self.said.iter().map(|said| format!("{said}\n")).collect::<String>();
        let (name, _) = self.file_system.mount_options();
        let files =
            [("writes", &self.writes[..]), ("said", said.as_bytes()), ("file-system", name.as_bytes())];
        for (name, bytes) in files {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|error| format!("writing `{}`: {error}", path.display()))?;
        }
        Ok(())
    }

    fn load(folder: &Path) -> Result<Self, Wrong> {
        let text = |name: &str| {
            let bytes = read(&folder.join(name))?;
            String::from_utf8(bytes).map_err(|error| format!("`{name}` is not UTF-8: {error}"))
        };
        let name = text("file-system")?;
        let known = FILE_SYSTEMS.into_iter().find(|(own, _)| own.mount_options().0 == name);
        let (file_system, _) = known.ok_or_else(|| format!("no recording uses the file system `{name}`"))?;
        let said = text("said")?.lines().map(str::parse).collect::<Result<_, _>>()?;
        let writes = read(&folder.join("writes"))?;
        let (disk, entries) = (Disk::read(&folder.join("image"))?, entries(&writes)?);
        Ok(Self { file_system, disk, writes, entries, said, begin: 0 })
    }
}

/// Starts a process that appends, and kills it after `lines` lines.
fn live(driver: &Driver, recorder: &Recorder, witness: &mut Witness, lines: u64) -> Result<Ended, Wrong> {
    let log = recorder.root().join("log");
    let under = ["env".to_owned(), format!("WRITES={}", text(recorder.writes()))];
    let mut process = driver.start_under(&under, "recorded", &log, &witness.next())?;
    let mut said = Vec::new();
    for _ in 0..=lines {
        said.push(process.hear()?.ok_or("the process ended by itself")?);
    }
    let mut ended = process.kill()?;
    said.append(&mut ended.said);
    ended.said = said;
    witness.hear(&ended.said)?;
    Ok(ended)
}

/// The choices to try among `pending` unflushed writes.
fn parts(pending: usize, random: &mut Random) -> Vec<Kept> {
    let mut torn = |count| (0..count).map(|_| Kept::Torn(random.next())).collect::<Vec<_>>();
    match pending {
        0 => vec![Kept::Subset(0)],
        1..=PENDING_FEW => [(0..1 << pending).map(Kept::Subset).collect(), torn(TORN_OF_FEW)].concat(),
        _ => [vec![Kept::Subset(0), Kept::Subset(u64::MAX)], torn(TORN_OF_MANY)].concat(),
    }
}

fn length_of(path: &Path) -> Result<u64, Wrong> {
    let file =
        std::fs::metadata(path).map_err(|error| format!("looking at `{}`: {error}", path.display()))?;
    Ok(file.len())
}

fn read(path: &Path) -> Result<Vec<u8>, Wrong> {
    std::fs::read(path).map_err(|error| format!("reading `{}`: {error}", path.display()))
}
