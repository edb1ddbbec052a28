//! Files that are open only while they are used. A log may have more segments and index files than its process may have
//! open files.
//!
//! *Invariant*: a file that was written to stays open until [`File::settle`] reports that all of it is synced. The
//! system may report a later write error only to the descriptors that are open then.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, RwLock, Weak};
use std::{fs, io};

use rustix::process::{Resource, getrlimit};

use super::os_file::OsFile;
use super::{File, FileId, Turn, is_shortage};
use crate::locks;

/// Share of the process's limit of open files: 1/4. Connections and views need files as well.
const SHARE_OF_LIMIT: u64 = 4;
const OPEN_MIN: usize = 4;
const OPEN_MAX: usize = 1_024;

/// The files of this process that are opened on demand.
static HANDLES: LazyLock<Handles> = LazyLock::new(|| Handles::new(bound()));

/// The number of them that stay open.
fn bound() -> usize {
    // No value means no limit. The limit may be raised later; it is read once.
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / SHARE_OF_LIMIT).unwrap_or(OPEN_MAX).clamp(OPEN_MIN, OPEN_MAX)
}

/// The open files, up to a bound. Beyond it, the file that was unused for the longest time is closed.
struct Handles {
    bound: usize,
    open: Mutex<Vec<Weak<Slot>>>,
    /// Counts uses.
    clock: AtomicU64,
}

/// One file.
struct Slot {
    path: PathBuf,
    is_writable: bool,
    turn: Turn,
    /// The file that was opened first. Another one at the path is never read or written.
    id: OnceLock<FileId>,
    file: RwLock<Option<Arc<OsFile>>>,
    used_at: AtomicU64,
    /// Whether it must not be closed: it was written to, or its name is about to be removed.
    is_pinned: AtomicBool,
}

/// A file that is opened on use.
pub(super) struct OnDemand {
    slot: Arc<Slot>,
    handles: &'static Handles,
}

impl OnDemand {
    /// An existing file. It is opened at once, so that the caller gets an error now.
    pub(super) fn open(path: &Path, is_writable: bool, turn: Turn) -> io::Result<Self> {
        let file = Self::closed(path, is_writable, turn, &HANDLES);
        file.file()?;
        Ok(file)
    }

    /// A new file, which is about to be written to.
    pub(super) fn made(path: &Path, file: fs::File, turn: Turn) -> Self {
        let own = Self::closed(path, true, turn, &HANDLES);
        own.slot.is_pinned.store(true, Ordering::SeqCst);
        if let Ok(metadata) = file.metadata() {
            own.slot.id.get_or_init(|| FileId::of(&metadata));
        }
        *own.slot.lock() = Some(Arc::new(OsFile::new(file)));
        own
    }

    fn closed(path: &Path, is_writable: bool, turn: Turn, handles: &'static Handles) -> Self {
        let slot = Slot {
            path: path.to_owned(),
            is_writable,
            turn,
            id: OnceLock::new(),
            file: RwLock::new(None),
            used_at: AtomicU64::new(0),
            is_pinned: AtomicBool::new(false),
        };
        Self { slot: Arc::new(slot), handles }
    }

    /// The file. It stays open while the caller holds it.
    fn file(&self) -> io::Result<Arc<OsFile>> {
        self.slot.used_at.store(self.handles.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let open = locks::read(&self.slot.file).clone();
        open.map_or_else(|| self.handles.open(&self.slot), Ok)
    }

    /// The file. It stays open from now on.
    fn file_to_write(&self) -> io::Result<Arc<OsFile>> {
        self.slot.is_pinned.store(true, Ordering::SeqCst);
        self.file()
    }
}

impl Slot {
    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, Option<Arc<OsFile>>> {
        locks::write(&self.file)
    }

    fn is_open(&self) -> bool {
        locks::read(&self.file).is_some()
    }

    /// Closes the file, unless it must stay open.
    fn close(&self) {
        let mut file = self.lock();
        // A writer pins the slot before it takes the file, so the file is not closed between the two.
        if !self.is_pinned.load(Ordering::SeqCst) {
            *file = None;
        }
    }

    fn open(&self) -> io::Result<Arc<OsFile>> {
        let mut slot = self.lock();
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let file = fs::OpenOptions::new().read(true).write(self.is_writable).open(&self.path)?;
        let id = FileId::of(&file.metadata()?);
        if *self.id.get_or_init(|| id) != id {
            let path = self.path.display();
            return Err(io::Error::other(format!(
                "`{path}` is another file by now: close the log, check its folder, open it again"
            )));
        }
        Ok(Arc::clone(slot.insert(Arc::new(OsFile::new(file)))))
    }
}

impl Handles {
    const fn new(bound: usize) -> Self {
        Self { bound, open: Mutex::new(Vec::new()), clock: AtomicU64::new(0) }
    }

    /// Opens a file, and closes others if too many are open.
    fn open(&self, slot: &Arc<Slot>) -> io::Result<Arc<OsFile>> {
        loop {
            match slot.open() {
                Ok(file) => {
                    self.note(slot);
                    return Ok(file);
                }
                // The process has fewer files left than its limit allows: it has many others open.
                Err(error) if is_shortage(&error) && self.close_oldest(&mut self.lock()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn note(&self, slot: &Arc<Slot>) {
        let mut open = self.lock();
        open.retain(|own| own.upgrade().is_some_and(|own| own.is_open() && !Arc::ptr_eq(&own, slot)));
        while open.len() >= self.bound && self.close_oldest(&mut open) {}
        open.push(Arc::downgrade(slot));
    }

    /// Closes the file whose turn it is: of those, the one that was unused for the longest time. `false` if none may be
    /// closed.
    fn close_oldest(&self, open: &mut Vec<Weak<Slot>>) -> bool {
        let live = open.iter().enumerate().filter_map(|(at, own)| Some((at, own.upgrade()?)));
        let closable = live.filter(|(_, own)| own.is_open() && !own.is_pinned.load(Ordering::SeqCst));
        let Some((at, oldest)) =
            closable.min_by_key(|(_, own)| (own.turn, own.used_at.load(Ordering::Relaxed)))
        else {
            return false;
        };
        oldest.close();
        open.swap_remove(at);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Slot>>> {
        locks::lock(&self.open)
    }
}

impl File for OnDemand {
    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file()?.read_at(buffer, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        self.file().is_ok_and(|file| file.read_cached_at(buffer, offset))
    }

    fn write_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        self.file_to_write()?.write_at(pieces, offset)
    }

    fn write_over_zeros(&self, pieces: &[&[u8]], offset: u64, zeros_to: u64) -> io::Result<()> {
        self.file_to_write()?.write_over_zeros(pieces, offset, zeros_to)
    }

    fn will_read(&self, offset: u64, len: u64) {
        if let Ok(file) = self.file() {
            file.will_read(offset, len);
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file_to_write()?.set_len(len)
    }

    fn fill_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        self.file_to_write()?.fill_zeros(from, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file_to_write()?.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file_to_write()?.sync_all()
    }

    fn hold(&self) -> io::Result<()> {
        self.slot.is_pinned.store(true, Ordering::SeqCst);
        let held = self.file().map(drop);
        if held.is_err() {
            self.slot.is_pinned.store(false, Ordering::SeqCst);
        }
        held
    }

    fn settle(&self) {
        self.slot.is_pinned.store(false, Ordering::SeqCst);
        if self.slot.is_open() {
            self.handles.note(&self.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files with their number as content, through handles that keep at most `bound` of them open.
    fn files(count: u8, bound: usize) -> (tempfile::TempDir, Vec<OnDemand>) {
        let folder = tempfile::tempdir().unwrap();
        let handles: &'static Handles = Box::leak(Box::new(Handles::new(bound)));
        let make = |number: u8| {
            let path = folder.path().join(number.to_string());
            fs::write(&path, [number]).unwrap();
            OnDemand::closed(&path, true, turn(number), handles)
        };
        let files = (0..count).map(make).collect();
        (folder, files)
    }

    /// The files that a test takes for index files.
    const fn turn(number: u8) -> Turn {
        if number >= 100 { Turn::Last } else { Turn::First }
    }

    fn open(files: &[OnDemand]) -> Vec<usize> {
        (0..files.len()).filter(|at| files[*at].slot.is_open()).collect()
    }

    fn read(file: &OnDemand) -> u8 {
        let mut byte = [0];
        assert_eq!(file.read_at(&mut byte, 0).unwrap(), 1);
        byte[0]
    }

    #[test]
    fn few_files_stay_open_and_the_least_recently_used_is_closed() {
        let (_folder, files) = files(20, 3);
        let numbers = files.iter().map(read).collect::<Vec<_>>();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert_eq!(open(&files), [17, 18, 19]);
        assert_eq!((read(&files[17]), read(&files[0])), (17, 0));
        assert_eq!(open(&files), [0, 17, 19]);
    }

    #[test]
    fn index_files_are_closed_after_segments() {
        let (_folder, files) = files(105, 3);
        let _ = [100, 101, 7, 8].map(|number| read(&files[number]));
        assert_eq!(open(&files), [8, 100, 101]);
        let _ = [102, 103].map(|number| read(&files[number]));
        assert_eq!(open(&files), [101, 102, 103]);
    }

    #[test]
    fn a_file_that_was_written_to_stays_open_until_it_is_settled() {
        let (_folder, files) = files(20, 3);
        files[5].write_at(&[&[50]], 0).unwrap();
        files[5].sync_all().unwrap();
        assert!(files.iter().all(|file| read(file) <= 50));
        assert_eq!(open(&files), [5, 18, 19]);
        files[5].settle();
        assert!(files.iter().take(5).all(|file| read(file) <= 50));
        assert_eq!((open(&files), read(&files[5])), (vec![2, 3, 4], 50));
    }

    #[test]
    fn a_held_file_is_read_after_its_name_is_gone() {
        let (folder, files) = files(20, 3);
        files[5].hold().unwrap();
        fs::remove_file(folder.path().join("5")).unwrap();
        assert!(files.iter().all(|file| read(file) < 20));
        assert_eq!((open(&files), read(&files[5])), (vec![5, 18, 19], 5));
        fs::remove_file(folder.path().join("0")).unwrap();
        assert_eq!(files[0].hold().unwrap_err().kind(), io::ErrorKind::NotFound, "too late");
    }

    #[test]
    fn another_file_at_the_path_is_not_taken_for_the_one_that_was_opened() {
        let (folder, files) = files(6, 3);
        assert!(files.iter().all(|file| read(file) < 20));
        fs::rename(folder.path().join("5"), folder.path().join("0")).unwrap();
        let error = files[0].read_at(&mut [0], 0).unwrap_err().to_string();
        assert!(error.contains("is another file by now"), "{error}");
        assert_eq!(read(&files[1]), 1);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let (folder, files) = files(5, 3);
        fs::remove_file(folder.path().join("0")).unwrap();
        assert_eq!(files[0].len().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn dropped_files_are_forgotten() {
        let (_folder, mut files) = files(20, 3);
        assert!(files.iter().all(|file| read(file) <= 50));
        let handles = files[0].handles;
        files.truncate(1);
        read(&files[0]);
        assert_eq!(handles.lock().len(), 1);
    }
}
