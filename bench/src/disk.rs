//! Bytes on the disk, log and index, as a ratio to the bytes of the events.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bench_core::{Call, Events, Gesta, Guard, Ids, Load, Streams, Work, batch_of, measure};

use crate::asked::Asked;

/// The number of streams and tags, the same as in `growth`.
const STREAMS: u64 = 1_000_000;

pub fn run(asked: &Asked) {
    let events = asked.events.unwrap_or(10_000_000);
    println!(
        "\n### bytes on the disk, log and index, over the bytes of the events (data, stream, type, tag)\n"
    );
    println!(
        "| | events | given bytes/event | bytes/event | ratio | ratio with preallocated space |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    );
    for (name, clients, batch, events) in [("8 × 100", 8, 100, events), ("64 × 1", 64, 1, events / 10)] {
        let folder = bench_core::folder();
        let gesta = Gesta::open(folder.path(), Call::Blocking);
        let made = Arc::new(events_of(asked.ids));
        let load = Load {
            clients,
            work: Work::Append { batch, guard: Guard::None },
            lasts: Duration::from_millis(500),
            rests: false,
        };
        while made.taken() < events {
            measure(&gesta, folder.path(), &load, &made);
        }
        drop(gesta);
        let (held, own) = (Held::by(folder.path()), own_bytes(&events_of(asked.ids)));
        let per_event = |bytes: u64| bytes as f64 / made.taken() as f64;
        let (used, allocated) = (per_event(held.used), per_event(held.allocated));
        println!(
            "| {name} | {} | {own:.1} | {used:.1} | {:.3} | {:.3} |",
            made.taken(),
            used / own,
            allocated / own
        );
    }
}

fn events_of(ids: Ids) -> Events {
    Events::new(Streams::Random(STREAMS)).tagged().with_ids(ids)
}

/// The bytes of an event that its producer gave: data, stream, type, tag. Ids, times and lengths do not count.
pub fn own_bytes(events: &Events) -> f64 {
    const SAMPLE: u64 = 10_000;
    let batch = batch_of(&events.take(0, SAMPLE));
    let bytes = batch.events.iter().map(|event| {
        let tags = event.tags.iter().map(|tag| tag.as_str().len()).sum::<usize>();
        event.data.len() + event.stream.as_str().len() + event.event_type.as_str().len() + tags
    });
    bytes.sum::<usize>() as f64 / SAMPLE as f64
}

/// The size of a folder on the disk, in bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Held {
    /// Bytes up to the last nonzero byte of each file: without preallocated space.
    pub used: u64,
    /// All allocated blocks.
    pub allocated: u64,
}

impl Held {
    /// Measures every file below a folder.
    pub fn by(folder: &Path) -> Self {
        let mut held = Self::default();
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let below = if path.is_dir() { Self::by(&path) } else { Self::by_file(&path) };
            held = Self { used: held.used + below.used, allocated: held.allocated + below.allocated };
        }
        held
    }

    fn by_file(path: &Path) -> Self {
        // A file may have been deleted since the folder was listed, such as an index file after a merge.
        let Ok(file) = File::open(path) else { return Self::default() };
        let about = file.metadata().expect("a file");
        Self { used: used_bytes(&file, about.len()), allocated: about.blocks() * 512 }
    }
}

/// The offset at which the zeros at a file's end begin.
fn used_bytes(file: &File, mut length: u64) -> u64 {
    let mut buffer = vec![0; 1 << 20];
    while length > 0 {
        let from = (length - 1) / buffer.len() as u64 * buffer.len() as u64;
        let piece = &mut buffer[..usize::try_from(length - from).expect("a piece")];
        file.read_exact_at(piece, from).expect("a read");
        if let Some(last) = piece.iter().rposition(|&byte| byte != 0) {
            return from + last as u64 + 1;
        }
        length = from;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_of_a_file_do_not_count_as_used() {
        let folder = bench_core::folder();
        let mut bytes = vec![0; 3 << 20];
        for (name, last) in [
            ("none", None::<usize>),
            ("first", Some(0)),
            ("second", Some((1 << 20) + 5)),
            ("all", Some((3 << 20) - 1)),
        ] {
            bytes.fill(0);
            if let Some(at) = last {
                bytes[at] = 1;
            }
            let path = folder.path().join(name);
            fs::write(&path, &bytes).expect("a file");
            assert_eq!(Held::by_file(&path).used, last.map_or(0, |at| at as u64 + 1), "{name}");
        }
    }
}
