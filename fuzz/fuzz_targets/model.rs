//! The log on a simulated machine compared with the in-memory store: the bytes choose appends, repeats, reads and
//! restarts.
#![no_main]

use std::sync::Arc;

use gesta_conformance::{Clock, Harness, Restarting, compare_by_choices};
use gesta_core::{AppendError, Appended, Batch, BoxFuture, EventStore, StoreLayer};
use gesta_log::sim::{self, Machine};
use gesta_log::{LogStore, Options, SEGMENT_SIZE_BYTES_MIN};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [manner, every, choices @ ..] = bytes else { return };
    let harness = Simulated { machine: Machine::new(1), clock: Clock::default(), manner: *manner };
    compare_by_choices(&Restarting::every(1 + u32::from(*every), harness), choices);
});

/// A log on a machine. `manner` selects how its process ends.
struct Simulated {
    machine: Machine,
    clock: Clock,
    manner: u8,
}

impl Harness for Simulated {
    fn store(&self) -> Arc<dyn EventStore> {
        let clock = self.clock.clone();
        let options = Options {
            segment_size_bytes: SEGMENT_SIZE_BYTES_MIN,
            // Either almost all of the index is on the disk, or none of it.
            index_run_bytes: if self.manner & 4 == 0 { 1 << 10 } else { 1 << 20 },
            index_cache_bytes: 1 << 20,
            clock: Some(Arc::new(move || clock.now())),
            ..Options::default()
        };
        let log = sim::open(&self.machine, &options).expect("an unharmed log opens");
        assert!(log.read_only().is_none(), "an unharmed log takes writes");
        Arc::new(Driven(log))
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        match self.manner & 3 {
            0 | 1 => {}
            2 => self.machine.kill(),
            _ => self.machine.cut_power(),
        }
        drop(store);
        self.store()
    }
}

/// A log without threads: the caller of an append does all the work.
struct Driven(LogStore);

impl StoreLayer for Driven {
    fn inner(&self) -> &dyn EventStore {
        &self.0
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Appended, AppendError>> {
        Box::pin(async move {
            let appended = self.0.append_blocking(batch);
            self.0.keep_inline();
            appended
        })
    }
}
