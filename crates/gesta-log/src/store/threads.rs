//! The threads behind an open log: its writer, segment manager and indexer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::env::Env;
use crate::error::OpenError;
use crate::operations::Background;
use crate::options::{Options, Scrub};
use crate::write::{Committer, Indexer, IndexerThread, SegmentManager, SegmentManagerThread, SharedManifest};

/// The writer, and its threads.
pub(crate) struct Commit {
    pub(crate) role: Arc<Committer>,
    pub(crate) manifest: Arc<SharedManifest>,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What does the work of a log besides its callers.
#[derive(Clone, Copy)]
pub(crate) enum Drive {
    Threads,
    /// The callers do all of it.
    #[cfg(feature = "sim")]
    Inline,
}

impl Drive {
    pub(crate) fn read_threads(self, options: &Options) -> usize {
        match self {
            Self::Threads => options.read_threads.max(1),
            #[cfg(feature = "sim")]
            Self::Inline => 0,
        }
    }

    pub(crate) fn background(
        self,
        env: &Arc<dyn Env>,
        root: &Path,
        store: [u8; 16],
        scrub: Scrub,
    ) -> std::io::Result<Background> {
        let (env, root) = (Arc::clone(env), root.to_owned());
        match self {
            Self::Threads => Background::start(env, root, store, scrub),
            #[cfg(feature = "sim")]
            Self::Inline => Ok(Background::none(env, root, store)),
        }
    }
}

/// The number of threads that this machine runs at once; 1 if unknown.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub(crate) fn spawning(source: std::io::Error) -> OpenError {
    OpenError::Io { what: "starting a thread".to_owned(), source }
}

impl Commit {
    pub(crate) fn spawn(
        role: Committer,
        (segment_manager, indexer): (Arc<SegmentManager>, Arc<Indexer>),
        manifest: Arc<SharedManifest>,
        keeping: SegmentManagerThread,
        indexing: IndexerThread,
    ) -> std::io::Result<Self> {
        let role = Arc::new(role);
        let writer = Arc::clone(&role);
        let spawn_all = || -> std::io::Result<_> {
            Ok(vec![
                spawn("gesta-write", move || writer.run())?,
                spawn("gesta-keep", move || keeping.run(&segment_manager))?,
                spawn("gesta-index", move || indexing.run(&indexer))?,
            ])
        };
        // Threads that were started end with the committer.
        let threads = spawn_all().inspect_err(|_| role.close())?;
        Ok(Self { role, manifest, threads: Mutex::new(threads) })
    }

    pub(crate) fn close(&self) {
        self.role.close();
        // Skipped if the log is dropped because its work panicked: the remaining work would panic again, and end the
        // process.
        #[cfg(feature = "sim")]
        if !std::thread::panicking() {
            self.finish_inline();
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log panicked: batches without an answer are in doubt");
            }
        }
        drop(threads);
        if !std::thread::panicking() {
            self.manifest.lock().record_synced();
        }
    }
}

pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}
