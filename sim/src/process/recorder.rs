//! A disk whose writes and flushes are all recorded, with a file system on it.
//!
//! `qemu-storage-daemon` exports a file through FUSE as another file and records every request to it
//! (`blklogwrites`). A loop device turns the exported file into a disk. Each request is recorded before it is
//! answered.
//!
//! *Choice: a loop device that writes through the cache, not direct I/O.* The kernel then holds the exported file's
//! lock during each write and flush and sends them one at a time: a flush makes exactly the writes durable that
//! precede it in the record. With direct I/O several requests are in flight at once, and QEMU before 10.1 confuses
//! their bytes. The cost is some speed.
//!
//! Everything is mounted in the mount namespace of this process alone, and the daemon ends with it. However the
//! process ends, the kernel unmounts everything and frees the devices.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::crash_state::Disk;
use super::image::{FileSystem, run, text};
use crate::model::Wrong;

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Mounted {
    root: PathBuf,
}

/// A recorded disk; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Recorder {
    // The order of drops: the file system, then the disk below it.
    mounted: Mounted,
    export: Export,
}

/// The daemon and the file that it exports.
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

    /// A file system in a file. `mount` takes a loop device for it, which the kernel frees after the unmount.
    pub(super) fn of(file_system: FileSystem, source: &Path, root: &Path) -> Result<Self, Wrong> {
        let (name, options) = file_system.mount_options();
        Self::mount(&["-t", name, "-o", options, &text(source)], root)
    }

    fn mount(words: &[&str], root: &Path) -> Result<Self, Wrong> {
        std::fs::create_dir_all(root).map_err(|error| format!("making `{}`: {error}", root.display()))?;
        run(&[&["mount"], words, &[&text(root)]].concat())?;
        Ok(Self { root: root.to_owned() })
    }

    /// The mount point.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // An error here shows up in the next step: the folder is busy.
        let _ = run(&["umount", &text(&self.root)]);
    }
}

impl Recorder {
    /// Records the disk in the file `image` of a folder, which holds a file system.
    ///
    /// # Errors
    /// The command that failed, with its output.
    pub(super) fn start(folder: &Path, file_system: FileSystem) -> Result<Self, Wrong> {
        let export = Export::start(folder)?;
        let mounted = Mounted::of(file_system, &export.exported, &folder.join("recorded"))?;
        Ok(Self { mounted, export })
    }

    /// Unmounts the file system, and returns the disk as a reader sees it and the record of its requests.
    pub(super) fn finish(self) -> Result<(Disk, Vec<u8>), Wrong> {
        let Self { mounted, export } = self;
        drop(mounted);
        let writes = std::fs::read(&export.writes)
            .map_err(|error| format!("reading `{}`: {error}", export.writes.display()))?;
        Ok((Disk::read(&export.exported)?, writes))
    }

    /// The mount point of the file system.
    pub(super) fn root(&self) -> &Path {
        self.mounted.root()
    }

    /// The record of writes.
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
        // The record itself needs no flush: the machine that keeps it loses no power.
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
        // The monitor sends its greeting when everything before it is ready.
        command.args(["--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut daemon =
            command.spawn().map_err(|error| format!("cannot start `qemu-storage-daemon`: {error}"))?;
        let output = daemon.stdout.take().expect("it is piped");
        let export = Self { daemon, exported, writes };
        let mut greeting = String::new();
        match BufReader::new(output).read_line(&mut greeting) {
            Ok(1..) => Ok(export),
            _ => Err("`qemu-storage-daemon` exited: check that this machine has FUSE".to_owned()),
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // It may have ended already; the exported file is mounted in either case.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = run(&["umount", &text(&self.exported)]);
    }
}
