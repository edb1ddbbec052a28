//! What a process uses: processor time, bytes and calls that write, memory; and the flushes of its disk. From `/proc` and `/sys`.

use std::collections::HashMap;
use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whose use is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// This process: a store in process, and the load itself.
    Own,
    /// Another process.
    Other(u32),
    /// Another process and all that it started.
    Tree(u32),
}

/// What was used within a while.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Time on the processor, in user and kernel.
    pub processor: Duration,
    /// Bytes made dirty (`write_bytes` of `/proc/…/io`). The kernel counts whole folios, up to 2 MiB for one byte: good for telling
    /// whether a process writes at all, and for nothing else.
    pub dirtied_bytes: u64,
    /// Calls that write (`syscw`).
    pub write_calls: u64,
    /// Calls that read (`syscr`).
    pub read_calls: u64,
    /// Bytes that had to come from a disk (`read_bytes`).
    pub read_bytes: u64,
    /// What its disk did; `None` where the kernel does not say.
    pub disk: Option<Disk>,
    /// The most memory the process held, in bytes; `None` for several processes, which share some.
    pub peak_bytes: Option<u64>,
}

/// What a disk did for everybody on this machine: right for one store on a quiet machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk {
    /// Bytes that were written to it.
    pub written_bytes: u64,
    /// Flushes that it was told to do: one for each sync, or for several at the same time.
    pub flushes: u64,
}

/// Measures from one moment to another.
#[derive(Debug)]
pub struct Meter {
    process: Process,
    disk: Option<PathBuf>,
    before: Used,
}

impl Meter {
    /// Begins to measure a process whose files lie in the folder.
    #[must_use]
    pub fn start(process: Process, folder: &Path) -> Self {
        if let Some(pid) = process.alone() {
            // 5 sets the peak back to what is held now. Where that is not allowed, the peak is that of the process's life.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        let disk = disk_of(folder);
        Self { process, before: snapshot(process, disk.as_deref()), disk }
    }

    /// What was used since.
    #[must_use]
    pub fn stop(self) -> Used {
        let (before, after) = (self.before, snapshot(self.process, self.disk.as_deref()));
        Used {
            processor: after.processor.saturating_sub(before.processor),
            dirtied_bytes: after.dirtied_bytes.saturating_sub(before.dirtied_bytes),
            write_calls: after.write_calls.saturating_sub(before.write_calls),
            read_calls: after.read_calls.saturating_sub(before.read_calls),
            read_bytes: after.read_bytes.saturating_sub(before.read_bytes),
            disk: after.disk.zip(before.disk).map(|(after, before)| Disk {
                written_bytes: after.written_bytes.saturating_sub(before.written_bytes),
                flushes: after.flushes.saturating_sub(before.flushes),
            }),
            peak_bytes: after.peak_bytes,
        }
    }
}

/// The memory that this process holds now, in bytes.
#[must_use]
pub fn resident_bytes() -> u64 {
    memory("self", "VmRSS:").unwrap_or_default()
}

impl Process {
    /// Its number, if it is only one.
    fn alone(self) -> Option<String> {
        match self {
            Self::Own => Some("self".to_owned()),
            Self::Other(pid) => Some(pid.to_string()),
            Self::Tree(_) => None,
        }
    }

    fn all(self) -> Vec<String> {
        match self {
            Self::Tree(root) => descendants(root),
            Self::Own | Self::Other(_) => self.alone().into_iter().collect(),
        }
    }
}

fn snapshot(process: Process, disk: Option<&Path>) -> Used {
    let mut used = Used { disk: disk.and_then(Disk::read), ..Used::default() };
    for pid in process.all() {
        used.processor += processor_time(&pid).unwrap_or_default();
        let written = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        used.dirtied_bytes += field(&written, "write_bytes:").unwrap_or_default();
        used.write_calls += field(&written, "syscw:").unwrap_or_default();
        used.read_calls += field(&written, "syscr:").unwrap_or_default();
        used.read_bytes += field(&written, "read_bytes:").unwrap_or_default();
    }
    used.peak_bytes = process.alone().and_then(|pid| memory(&pid, "VmHWM:"));
    used
}

/// User and kernel time of a process and of its children that ended, which the kernel counts in hundredths of a second.
fn processor_time(pid: &str) -> Option<Duration> {
    let stat = Stat::read(pid)?;
    // Fields 14 to 17 of proc_pid_stat(5); the third is the first behind the name.
    let ticks = (11..15).filter_map(|at| stat.number(at)).sum::<u64>();
    Some(Duration::from_millis(ticks * 10))
}

fn memory(pid: &str, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, name).map(|kilobytes| kilobytes * 1024)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A process and everything below it that lives.
fn descendants(root: u32) -> Vec<String> {
    let mut children: HashMap<u64, Vec<u64>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else {
            continue;
        };
        let parent = Stat::read(&pid.to_string()).and_then(|stat| stat.number(1));
        children.entry(parent.unwrap_or_default()).or_default().push(pid);
    }
    let (mut found, mut at) = (vec![u64::from(root)], 0);
    while let Some(pid) = found.get(at) {
        let below = children.get(pid).cloned().unwrap_or_default();
        found.extend(below);
        at += 1;
    }
    found.iter().map(ToString::to_string).collect()
}

/// What `/proc/PID/stat` says behind the name of the program.
struct Stat(Vec<String>);

impl Stat {
    fn read(pid: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, behind_name) = stat.rsplit_once(')')?;
        Some(Self(behind_name.split_whitespace().map(ToOwned::to_owned).collect()))
    }

    fn number(&self, at: usize) -> Option<u64> {
        self.0.get(at)?.parse().ok()
    }
}

/// Where the kernel counts for the whole disk that a folder lies on.
fn disk_of(folder: &Path) -> Option<PathBuf> {
    let device = fs::metadata(folder).ok()?.st_dev();
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let whole = if device.join("partition").exists() { device.parent()?.to_owned() } else { device };
    Some(whole.join("stat"))
}

impl Disk {
    /// Reads the block layer's statistics: the 7th number counts sectors written, of 512 bytes whatever the disk, the 16th flushes.
    fn read(disk: &Path) -> Option<Self> {
        let text = fs::read_to_string(disk).ok()?;
        let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().ok());
        Some(Self { written_bytes: numbers.nth(6)?? * 512, flushes: numbers.nth(8)?? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_writes_and_computes_is_seen_to() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let meter = Meter::start(Process::Own, file.path());
        let began = processor_time("self").expect("a time");
        while processor_time("self").expect("a time") < began + Duration::from_millis(20) {
            fs::write(file.path(), b"seen").expect("a write");
        }
        let used = meter.stop();
        assert!(
            used.processor >= Duration::from_millis(20) && used.write_calls > 0 && used.dirtied_bytes > 0,
            "{used:?}"
        );
        assert!(used.peak_bytes.is_some_and(|bytes| bytes > 1 << 20), "{used:?}");
    }
}
