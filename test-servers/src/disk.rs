//! A small disk that can be filled, for servers whose disk is full.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system in memory of a few megabytes. It goes away with its value, so drop what is on it before.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts an empty file system of a size. Returns `None`, and says so, if this process may not mount one.
    ///
    /// # Panics
    ///
    /// If it cannot make a folder.
    pub fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("gesta-disk").tempdir().expect("a folder");
        let options = format!("size={bytes},mode=0711");
        let mounted =
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()));
        match mounted {
            Ok(()) => Some(Self { folder }),
            Err(error) => {
                println!("skipped: {error}; a small disk needs root on Linux");
                None
            }
        }
    }

    /// Makes the disk read-only.
    ///
    /// # Panics
    ///
    /// If a file is open for writing there.
    pub fn make_read_only(&self) {
        let remount = run(Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()));
        remount.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the space that is left.
    ///
    /// # Panics
    ///
    /// If a write fails otherwise than for a lack of space.
    pub fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.filler()).expect("it is root");
        loop {
            match file.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the small disk: {error}"),
            }
        }
    }

    /// Gives back what [`Self::fill`] took.
    ///
    /// # Panics
    ///
    /// If the disk was not filled.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).expect("the disk was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that was killed may still hold files for a moment.
        let _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

/// Runs a command to its end. The error names the command and what it said.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?} cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?} fails: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
