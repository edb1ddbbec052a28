//! Durable appends in process, of events with 256 bytes of data.

use std::sync::atomic::{AtomicU64, Ordering};

use gesta_core::{Batch, EventId, NewEvent, Timestamp};
use gesta_log::{LogStore, Options};

use crate::bare;
use crate::figure::{Round, compare};

/// What one figure appends.
pub struct Load {
    pub name: &'static str,
    pub tasks: u64,
    pub batch: u64,
    pub events: u64,
}

pub const LOADS: [Load; 5] = [
    Load { name: "append: 1 caller, 1 event", tasks: 1, batch: 1, events: 2_000 },
    Load { name: "append: 8 callers, 1 event", tasks: 8, batch: 1, events: 16_000 },
    Load { name: "append: 64 callers, 1 event", tasks: 64, batch: 1, events: 128_000 },
    Load { name: "append: 8 callers, batches of 100", tasks: 8, batch: 100, events: 400_000 },
    Load { name: "append: 8 callers, batches of 1,000", tasks: 8, batch: 1_000, events: 800_000 },
];

pub fn run() {
    for load in LOADS {
        let ours = || {
            let folder = tempfile::tempdir().expect("a folder");
            let log = LogStore::open(folder.path(), &Options::default()).expect("a log");
            warm_up(&log);
            Round::time(|| append(&log, &load))
        };
        // The bare work: as many bytes as one batch of each caller, written and synced together.
        let bytes = usize::try_from(load.batch * load.tasks * 340).expect("small");
        let pieces = (load.events / (load.batch * load.tasks)).min(400);
        let folder = tempfile::tempdir().expect("a folder");
        compare(load.name, "events/s", ours, || {
            bare::write_synced(folder.path(), pieces, bytes, load.batch * load.tasks)
        });
    }
}

/// Fills the small first segment, so that the full-sized one is measured.
pub fn warm_up(log: &LogStore) {
    let next = AtomicU64::new(1 << 40);
    for _ in 0..60 {
        log.append_blocking(batch(&next, 1_000, 0)).expect("an append");
    }
}

pub fn append(log: &LogStore, load: &Load) -> u64 {
    let next = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for task in 0..load.tasks {
            let next = &next;
            scope.spawn(move || {
                for _ in 0..load.events / load.tasks / load.batch {
                    log.append_blocking(batch(next, load.batch, task)).expect("an append");
                }
            });
        }
    });
    load.events / load.tasks / load.batch * load.tasks * load.batch
}

fn batch(next: &AtomicU64, events: u64, task: u64) -> Batch {
    let first = next.fetch_add(events, Ordering::Relaxed);
    let stream = format!("bench-{task}").parse::<gesta_core::StreamName>().expect("a name");
    let kind = "bench.happened".parse::<gesta_core::EventType>().expect("a type");
    let data = gesta::Bytes::from_static(&[b'x'; 256]);
    Batch::new((first..first + events).map(|number| {
        let id = EventId::from_u128(u128::from(number));
        NewEvent::json(id, stream.clone(), kind.clone(), Timestamp::from_nanos(1), data.clone())
    }))
}
