//! A file system in an image file, mounted through a loop device. It can be full, fail and lose its power.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::model::Wrong;

/// The file systems under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileSystem {
    /// It becomes read-only after its journal could not be written.
    Ext4,
    /// It continues if it can.
    Xfs,
}

/// The storage of the image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backing {
    /// A file with the full size of the file system.
    Whole,
    /// A tmpfs with less space than the file system expects: writes fail only at the kernel's writeback.
    TooSmall {
        /// The available space, in MiB.
        mib: u64,
    },
}

/// A mounted file system; unmounted and deleted when dropped.
#[derive(Debug)]
pub(super) struct Image {
    folder: PathBuf,
    file_system: FileSystem,
    device: String,
    backing: Backing,
    mounted: bool,
}

const BLOCK_BYTES: u64 = 4096;
/// Stops a file system at once, like a power cut: flag 2 drops even its journal in memory.
const SHUT_DOWN: &str = r#"open(my $folder, "<", $ARGV[0]) or die "open: $!";
my $flag = pack("L", 2);
ioctl($folder, 0x8004587d, $flag) or die "ioctl: $!";"#;

impl Image {
    /// Makes and mounts a file system of the given size.
    ///
    /// # Errors
    /// The command that failed, with its output.
    pub(super) fn new(
        folder: &Path,
        file_system: FileSystem,
        mib: u64,
        backing: Backing,
    ) -> Result<Self, Wrong> {
        let (back, file) = (folder.join("back"), folder.join("back/image"));
        for folder in [&back, &folder.join("mount")] {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("making `{}`: {error}", folder.display()))?;
        }
        if let Backing::TooSmall { mib } = backing {
            run(&["mount", "-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", &text(&back)])?;
        }
        let (folder, device) = (folder.to_owned(), String::new());
        let mut image = Self { folder, file_system, device, backing, mounted: false };
        run(&["truncate", "-s", &format!("{mib}M"), &text(&file)])?;
        run(&[file_system.maker(), &[&text(&file)]].concat())?;
        image.device = run(&["losetup", "-f", "--show", &text(&file)])?.trim().to_owned();
        image.write_by_page()?;
        image.mount()?;
        Ok(image)
    }

    /// Limits writes of the device to one page. If a loop device's file takes only a part of a write, the device
    /// reports success: the rest is lost and no sync reports it. A single page is taken whole or not at all.
    fn write_by_page(&self) -> Result<(), Wrong> {
        let name = self.device.trim_start_matches("/dev/");
        let limit = format!("/sys/block/{name}/queue/max_sectors_kb");
        std::fs::write(&limit, "4").map_err(|error| format!("writing `{limit}`: {error}"))
    }

    /// The mount point.
    #[must_use]
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("mount")
    }

    /// Stops the file system at once: nothing that was not synced reaches the device any more.
    pub(super) fn cut_power(&self) -> Result<(), Wrong> {
        run(&["perl", "-e", SHUT_DOWN, &text(&self.root())]).map(drop)
    }

    /// Unmounts it, and mounts it in the state of the device.
    pub(super) fn mount_again(&mut self) -> Result<(), Wrong> {
        run(&["umount", &text(&self.root())])?;
        self.mounted = false;
        self.mount()
    }

    /// The folder that holds the image file.
    pub(super) fn backing_folder(&self) -> PathBuf {
        self.folder.join("back")
    }

    /// Frees the blocks of the zeros at the end of a file. They stay zeros.
    pub(super) fn make_sparse(&self, path: &Path) -> Result<(), Wrong> {
        let image = text(&self.backing_folder().join("image"));
        let from = zeros_from(path)?;
        let mut blocks = 0;
        for (logical, physical, count) in extents(path)? {
            let skipped = from.saturating_sub(logical).min(count);
            let (at, count) = (physical + skipped, count - skipped);
            if count > 0 {
                let [at, len] = [at, count].map(|blocks| (blocks * BLOCK_BYTES).to_string());
                run(&["fallocate", "-p", "-o", &at, "-l", &len, &image])?;
                blocks += count;
            }
        }
        if blocks == 0 {
            return Err(format!("`{}` does not end in zeros", path.display()));
        }
        Ok(())
    }

    /// Gives the backing the space that the file system expects.
    pub(super) fn grow_backing(&self, mib: u64) -> Result<(), Wrong> {
        let back = text(&self.backing_folder());
        run(&["mount", "-o", &format!("remount,size={mib}m"), &back]).map(drop)
    }

    fn mount(&mut self) -> Result<(), Wrong> {
        let (name, options) = self.file_system.mount_options();
        run(&["mount", "-t", name, "-o", options, &self.device, &text(&self.root())])?;
        self.mounted = true;
        Ok(())
    }
}

impl FileSystem {
    /// The command that makes the file system in a file, which is its last argument. It writes as little of the file
    /// as possible.
    pub(super) const fn maker(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &[
                "mkfs.ext4",
                "-q",
                "-F",
                "-m",
                "0",
                "-b",
                "4096",
                "-J",
                "size=4",
                "-E",
                "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
            ],
            Self::Xfs => &["mkfs.xfs", "-q", "-f", "-K"],
        }
    }

    /// Its type and its mount options.
    pub(super) const fn mount_options(self) -> (&'static str, &'static str) {
        match self {
            Self::Ext4 => ("ext4", "errors=continue"),
            Self::Xfs => ("xfs", "defaults"),
        }
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "XFS",
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // An error here shows up in the next step: the folder is busy.
        if self.mounted {
            let _ = run(&["umount", &text(&self.root())]);
        }
        if !self.device.is_empty() {
            let _ = run(&["losetup", "-d", &self.device]);
        }
        if self.backing != Backing::Whole {
            let _ = run(&["umount", &text(&self.backing_folder())]);
        }
    }
}

/// The first block from which a file holds only zeros, plus one: that block may be written in the meantime.
fn zeros_from(path: &Path) -> Result<u64, Wrong> {
    let bytes = std::fs::read(path).map_err(|error| format!("reading `{}`: {error}", path.display()))?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    Ok(end.div_ceil(BLOCK_BYTES) + 1)
}

/// The extents of a file: first block in the file, first block on the device, number of blocks.
fn extents(path: &Path) -> Result<Vec<(u64, u64, u64)>, Wrong> {
    let listing = run(&["filefrag", "-v", &format!("-b{BLOCK_BYTES}"), &text(path)])?;
    let first = |range: &str| range.split("..").next().and_then(|first| first.trim().parse().ok());
    // `0:        0..      15:       8753..      8768:     16:   last,eof`
    let extent = |line: &str| {
        let mut columns = line.split(':');
        let _number = columns.next()?.trim().parse::<u64>().ok()?;
        let (logical, physical) = (first(columns.next()?)?, first(columns.next()?)?);
        Some((logical, physical, columns.next()?.trim().parse().ok()?))
    };
    Ok(listing.lines().filter_map(extent).collect())
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs a command and returns its output.
pub(super) fn run(words: &[&str]) -> Result<String, Wrong> {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.map_err(|error| format!("cannot start `{}`: {error}", words[0]))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{}` failed: {}", words.join(" "), complaint.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
