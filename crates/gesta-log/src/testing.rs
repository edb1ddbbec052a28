//! Events and logs that the tests of several modules share.

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::Batch;

use crate::options::Options;
#[cfg(feature = "sim")]
pub(crate) use inline::{LOG, append, open};

/// Options with small segments: a dozen events fill one.
pub(crate) fn options() -> Options {
    Options { segment_size_bytes: 64 << 10, ..Options::default() }
}

/// One event of 5,000 bytes, always in the same stream.
pub(crate) fn batch(number: u64) -> Batch {
    batch_of(number, vec![b'1'; 5_000])
}

/// The same with other data.
pub(crate) fn batch_of(number: u64, data: Vec<u8>) -> Batch {
    Batch::new([sample::event("account-42", number).with_data(data)])
}

/// A log without threads, on a simulated machine.
#[cfg(feature = "sim")]
mod inline {
    use super::Batch;
    use super::options;
    use crate::env::Machine;
    use crate::sim;
    pub(crate) use crate::sim::ROOT as LOG;
    use crate::store::LogStore;

    pub(crate) fn open(machine: &Machine) -> LogStore {
        sim::open(machine, &options()).unwrap()
    }

    /// Appends batches, each as a separate group.
    pub(crate) fn append(log: &LogStore, batches: impl IntoIterator<Item = Batch>) {
        for batch in batches {
            let pending = log.enqueue_inline(batch);
            log.commit_inline();
            log.keep_inline();
            pending.answer().unwrap();
        }
    }
}
