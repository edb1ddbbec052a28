//! The resources of a process (processor time, bytes and calls that write, memory) and the flushes of its disk, from
//! `/proc` and `/sys`.

use std::collections::HashMap;
use std::fs;
use std::os::linux::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The process to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// This process: a store in process, and the load.
    Own,
    /// Another process.
    Other(u32),
    /// Another process and its descendants.
    Tree(u32),
}

/// The resources used during a measurement.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Processor time, user and kernel.
    pub processor: Duration,
    /// Bytes made dirty (`write_bytes` of `/proc/…/io`). The kernel counts whole folios, up to 2 MiB for one byte.
    /// Use it only to see if a process writes at all.
    pub dirtied_bytes: u64,
    /// Calls that write (`syscw`).
    pub write_calls: u64,
    /// Calls that read (`syscr`).
    pub read_calls: u64,
    /// Bytes that had to come from a disk (`read_bytes`).
    pub read_bytes: u64,
    /// The activity of the disk; `None` if the kernel does not report it.
    pub disk: Option<Disk>,
    /// The peak memory of the process in bytes; `None` for several processes, which share some memory.
    pub peak_bytes: Option<u64>,
}

/// The activity of a disk for the whole machine. It belongs to one store only if the machine is otherwise idle.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk {
    /// Bytes written to the disk.
    pub written_bytes: u64,
    /// Flush requests to the disk: one for each sync, or one for several concurrent syncs.
    pub flushes: u64,
}

/// Measures from its start to its stop.
#[derive(Debug)]
pub struct Meter {
    process: Process,
    disk: Option<PathBuf>,
    before: Used,
}

impl Meter {
    /// Starts to measure a process whose files are in the folder.
    #[must_use]
    pub fn start(process: Process, folder: &Path) -> Self {
        if let Some(pid) = process.alone() {
            // 5 resets the peak to the current use. Without the permission the peak covers the life of the process.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        let disk = disk_of(folder);
        Self { process, before: snapshot(process, disk.as_deref()), disk }
    }

    /// The resources used since the start.
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

/// The resident memory of this process, in bytes.
#[must_use]
pub fn resident_bytes() -> u64 {
    memory("self", "VmRSS:").unwrap_or_default()
}

impl Process {
    /// The process id, if it is a single process.
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

/// User and kernel time of a process and of its ended children. The kernel counts in hundredths of a second.
fn processor_time(pid: &str) -> Option<Duration> {
    let stat = Stat::read(pid)?;
    // Fields 14 to 17 of proc_pid_stat(5). The first one after the name is field 3.
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

/// A process and its living descendants.
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

/// The fields of `/proc/PID/stat` after the name of the program.
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

/// The kernel's folder of statistics for the disk that holds `folder`.
fn disk_of(folder: &Path) -> Option<PathBuf> {
    let device = fs::metadata(folder).ok()?.st_dev();
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & !0xfff);
    let minor = (device & 0xff) | ((device >> 12) & !0xff);
    let device = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let whole = if device.join("partition").exists() { device.parent()?.to_owned() } else { device };
    Some(whole.join("stat"))
}

impl Disk {
    /// Reads the statistics of the block layer: the 7th number counts written sectors, always of 512 bytes, the 16th
    /// counts flushes.
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
    fn the_resources_of_a_process_are_measured() {
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
