//! A disk of which every write and every flush is written down, and a file system on it.
//!
//! `qemu-storage-daemon` exports a file through FUSE as another file, and writes down what is done to it (`blklogwrites`); a loop device
//! makes a disk of that one. Each request is written down before it is answered.
//!
//! *Choice: a loop device that writes through the cache, not past it.* So the kernel holds the exported file's lock over each of its
//! writes and flushes, and sends one after the other: what stands in the list before a flush is what that flush made durable. Past
//! the cache several are under way at once, and QEMU before 10.1 takes the bytes of one for those of another. The price is a
//! little speed.
//!
//! Everything is mounted in the mount namespace of this process alone, and the daemon dies with it: whatever happens to it, the
//! kernel takes down what is mounted, and gives the devices back.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::crash_state::Disk;
use super::image::{FileSystem, run, text};
use crate::model::Wrong;

/// A file system that is mounted; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Mounted {
    root: PathBuf,
}

/// A disk that is recorded; taken apart when dropped.
#[derive(Debug)]
pub(super) struct Recorder {
    // In this order they are dropped: the file system, then what it lies on.
    mounted: Mounted,
    export: Export,
}

/// The daemon, and the file that it exports.
#[derive(Debug)]
struct Export {
    daemon: Child,
    exported: PathBuf,
    writes: PathBuf,
}

impl Mounted {
    /// A file system in memory.
    pub(super) fn in_memory(root: &Path, mib: u64) -> Result<Self, Wrong> {
        Self::mount(&["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"], root)
    }

    /// A file system in a file. `mount` takes a loop device for it, which the kernel gives back once it is unmounted, whoever does that.
    pub(super) fn of(file_system: FileSystem, source: &Path, root: &Path) -> Result<Self, Wrong> {
        let (name, options) = file_system.mount_options();
        Self::mount(&["-t", name, "-o", options, &text(source)], root)
    }

    fn mount(words: &[&str], root: &Path) -> Result<Self, Wrong> {
        std::fs::create_dir_all(root).map_err(|error| format!("making `{}`: {error}", root.display()))?;
        run(&[&["mount"], words, &[&text(root)]].concat())?;
        Ok(Self { root: root.to_owned() })
    }

    /// Where it is mounted.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What is still mounted is said by whatever comes next: a folder that is busy.
        let _ = run(&["umount", &text(&self.root)]);
    }
}

impl Recorder {
    /// Records the disk in the file `image` of a folder, on which there is a file system.
    ///
    /// # Errors
    /// Which command failed, and what it said.
    pub(super) fn start(folder: &Path, file_system: FileSystem) -> Result<Self, Wrong> {
        let export = Export::start(folder)?;
        let mounted = Mounted::of(file_system, &export.exported, &folder.join("recorded"))?;
        Ok(Self { mounted, export })
    }

    /// Unmounts the file system, and gives the disk as whoever reads it sees it, and the list of all that was done to it.
    pub(super) fn finish(self) -> Result<(Disk, Vec<u8>), Wrong> {
        let Self { mounted, export } = self;
        drop(mounted);
        let writes = std::fs::read(&export.writes)
            .map_err(|error| format!("reading `{}`: {error}", export.writes.display()))?;
        Ok((Disk::read(&export.exported)?, writes))
    }

    /// Where the file system is mounted.
    pub(super) fn root(&self) -> &Path {
        self.mounted.root()
    }

    /// The list of writes.
    pub(super) fn writes(&self) -> &Path {
        &self.export.writes
    }
}

impl Export {
    fn start(folder: &Path) -> Result<Self, Wrong> {
        let path = |name: &str| folder.join(name);
        let (exported, writes) = (path("exported"), path("writes"));
        for file in [&exported, &writes] {
            std::fs::write(file, []).map_err(|error| format!("making `{}`: {error}", file.display()))?;
        }
        // The list is never flushed: nobody cuts the power of the machine that keeps it.
        let disk = format!("driver=file,node-name=disk,filename={}", text(&path("image")));
        let list = format!("driver=file,node-name=list,filename={},cache.no-flush=on", text(&writes));
        let recorded = "driver=blklogwrites,node-name=recorded,file=disk,log=list,log-sector-size=512";
        let export = format!(
            "type=fuse,id=export,node-name=recorded,writable=on,growable=off,mountpoint={}",
            text(&exported)
        );
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-storage-daemon"]);
        command.args(["--blockdev", &disk, "--blockdev", &list, "--blockdev", recorded, "--export", &export]);
        // The monitor greets once everything before it is there.
        command.args(["--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut daemon =
            command.spawn().map_err(|error| format!("cannot start `qemu-storage-daemon`: {error}"))?;
        let output = daemon.stdout.take().expect("it is piped");
        let export = Self { daemon, exported, writes };
        let mut greeting = String::new();
        match BufReader::new(output).read_line(&mut greeting) {
            Ok(1..) => Ok(export),
            _ => Err("`qemu-storage-daemon` ended by itself: does this machine have FUSE?".to_owned()),
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // It may have ended by itself; the file that it exported is mounted either way.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = run(&["umount", &text(&self.exported)]);
    }
}
