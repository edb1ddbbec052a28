//! The threads behind an open log.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::env::Env;
use crate::error::OpenError;
use crate::locks;
use crate::operations::Background;
use crate::options::{Options, Scrub};
use crate::write::{Committer, Drive, SharedManifest};

/// The writer of an open log, and its thread.
pub(crate) struct Commit {
    pub(crate) role: Arc<Committer>,
    manifest: Arc<SharedManifest>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drive {
    pub(crate) fn read_threads(self, options: &Options) -> usize {
        match self {
            Self::Threads => options.read_threads.max(1),
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
    pub(crate) fn start(
        role: Committer,
        manifest: Arc<SharedManifest>,
        drive: Drive,
    ) -> std::io::Result<Self> {
        let role = Arc::new(role);
        let (writer, looked_after) = (Arc::clone(&role), Arc::clone(&manifest));
        let thread = match drive {
            Drive::Threads => Some(spawn("gesta-write", move || writer.run(&looked_after))?),
            Drive::Inline => None,
        };
        Ok(Self { role, manifest, thread: Mutex::new(thread) })
    }

    pub(crate) fn close(&self) {
        // Batches that wait are not written to a folder that nobody finds.
        self.manifest.look();
        self.role.close();
        // Skipped if the log is dropped because its work panicked: the remaining work would panic again, and end the
        // process.
        if !std::thread::panicking() {
            self.role.finish_inline();
        }
        let thread = locks::lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of the log panicked: batches without an answer are in doubt");
        }
        self.role.join_helpers();
        if !std::thread::panicking() {
            self.manifest.lock().record_synced();
        }
    }
}

pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}
