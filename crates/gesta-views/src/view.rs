//! One view while it runs: what its thread tells and what others ask, under one lock.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use event_listener::{Event, Listener};
use gesta_core::{Checkpoint, EventStore, Limit};
use rusqlite::InterruptHandle;

use crate::database::{ViewFile, remove_version};
use crate::definition::Definition;
use crate::limits::IDLE_READERS_MAX;
use crate::race::Stop;
use crate::run_error::RunError;
use crate::sandbox::{QueryError, QueryLimits, Reader, Rows, SqlValue};
use crate::status::State;

/// A view and its run.
pub(crate) struct View {
    pub(crate) definition: Definition,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) folder: PathBuf,
    /// What one transaction takes from the log.
    pub(crate) page: Limit,
    run: Mutex<Run>,
    /// Notified whenever something in `run` has changed that somebody may wait for.
    pub(crate) changed: Event,
}

/// What is known of the current run, or of the last one.
struct Run {
    state: State,
    /// How far the wanted version got; `None` until its file is open.
    checkpoint: Option<Checkpoint>,
    serving: Option<Serving>,
    stop: Arc<Stop>,
    interrupt: Option<InterruptHandle>,
    thread: Option<JoinHandle<()>>,
}

/// The version whose rows are shown: an older one while the wanted one is built beside it.
#[derive(Clone)]
struct Serving {
    file: Arc<Served>,
    checkpoint: Checkpoint,
}

/// A view's file and the idle connections that read it.
struct Served {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
    /// A newer version took over: the file goes with the last query on it.
    retired: AtomicBool,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        if *self.retired.get_mut() {
            remove_version(&self.path);
        }
    }
}

/// What a view says about itself at one moment.
pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The place that queries show.
    pub(crate) served: Option<Checkpoint>,
    /// An older version is served.
    pub(crate) serves_predecessor: bool,
}

impl View {
    pub(crate) fn new(
        definition: Definition,
        store: Arc<dyn EventStore>,
        folder: PathBuf,
        page: Limit,
    ) -> Self {
        let run = Run {
            state: State::Stopped { error: Arc::new(RunError::ShutDown) },
            checkpoint: None,
            serving: None,
            stop: Arc::default(),
            interrupt: None,
            thread: None,
        };
        Self { definition, store, folder, page, run: Mutex::new(run), changed: Event::new() }
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Run) -> T) -> T {
        let changed = change(&mut self.run());
        self.changed.notify(usize::MAX);
        changed
    }

    /// Starts a run, unless one is going on. `body` becomes its thread.
    pub(crate) fn start(
        self: &Arc<Self>,
        body: impl FnOnce(&Self, &Stop) -> Result<(), RunError> + Send + 'static,
    ) -> std::io::Result<()> {
        let mut run = self.run();
        if !matches!(run.state, State::Stopped { .. }) {
            return Ok(());
        }
        // It has said its last word, and needs this lock no more.
        if let Some(ended) = run.thread.take() {
            ended.join().expect("a view's thread catches its panics");
        }
        let stop = Arc::new(Stop::default());
        let (view, its_stop) = (Arc::clone(self), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name(format!("view-{}", self.definition.name()));
        // The thread waits for this lock before it can say anything, so it finds the run set up.
        run.thread = Some(thread.spawn(move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&view, &its_stop)));
            let error = match ended {
                // What fails while a run is ending, an interrupted statement above all, is not worth a word.
                Ok(Err(error)) if !its_stop.is_requested() => error,
                Ok(_) => RunError::ShutDown,
                Err(panic) => RunError::Panicked { message: panic_message(&*panic) },
            };
            view.ended(error);
        })?);
        run.state = State::CatchingUp;
        run.stop = stop;
        drop(run);
        self.changed.notify(usize::MAX);
        Ok(())
    }

    fn ended(&self, error: RunError) {
        if !matches!(error, RunError::ShutDown) {
            tracing::error!(view = self.definition.name(), %error, "the view has stopped");
        }
        self.change(|run| {
            run.state = State::Stopped { error: Arc::new(error) };
            run.interrupt = None;
        });
    }

    /// Asks the run to end. Its last transaction is whole or not there.
    pub(crate) fn request_stop(&self) {
        let run = self.run();
        run.stop.request();
        if let Some(interrupt) = &run.interrupt {
            interrupt.interrupt();
        }
    }

    /// Waits for the thread of a run that was asked to end.
    pub(crate) fn join(&self) {
        let thread = self.run().thread.take();
        if let Some(thread) = thread {
            thread.join().expect("a view's thread catches its panics");
        }
    }

    /// The database is about to be opened, and may be made anew: nothing is served meanwhile.
    pub(crate) fn opening(&self) {
        self.change(|run| {
            run.serving = None;
            run.checkpoint = None;
        });
    }

    /// The database is open. With a predecessor, that one is served until this one has caught up.
    pub(crate) fn opened(&self, file: &ViewFile, predecessor: Option<(PathBuf, Checkpoint)>) {
        let (path, checkpoint) = predecessor.unwrap_or_else(|| (file.path.clone(), file.checkpoint.clone()));
        self.change(|run| {
            run.interrupt = Some(file.connection.get_interrupt_handle());
            run.checkpoint = Some(file.checkpoint.clone());
            run.serving = Some(Serving { file: Arc::new(Served::new(path)), checkpoint });
        });
    }

    /// A page was committed.
    pub(crate) fn advanced(&self, path: &Path, at: &Checkpoint, is_at_head: bool) {
        self.change(|run| {
            run.checkpoint = Some(at.clone());
            if let Some(serving) = run.serving.as_mut().filter(|serving| serving.file.path == path) {
                serving.checkpoint = at.clone();
            }
            run.state = if is_at_head { State::Live } else { State::CatchingUp };
        });
    }

    /// The wanted version has caught up: from now on it is served. Queries that have begun end on the old one, whose
    /// file goes with the last of them; `None` if there was no old one.
    pub(crate) fn switch_to(&self, path: &Path, at: &Checkpoint) -> Option<PathBuf> {
        let old = self.change(|run| {
            run.state = State::Live;
            run.serving.as_ref().filter(|serving| serving.file.path != path)?;
            let file = Arc::new(Served::new(path.to_owned()));
            run.serving.replace(Serving { file, checkpoint: at.clone() })
        })?;
        old.file.retired.store(true, Ordering::SeqCst);
        Some(old.file.path.clone())
    }

    /// Shows an error that may pass while `pause` waits before the next try.
    pub(crate) fn while_retrying(&self, error: RunError, pause: impl FnOnce()) {
        tracing::warn!(view = self.definition.name(), %error, "the view tries again");
        let mut before = State::Retrying { error: Arc::new(error) };
        self.change(|run| std::mem::swap(&mut run.state, &mut before));
        pause();
        self.change(|run| run.state = before);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let run = self.run();
        let wanted = run.serving.as_ref().map(|serving| serving.file.path.clone());
        let own = self.folder.join(self.definition.file_name());
        Snapshot {
            state: run.state.clone(),
            checkpoint: run.checkpoint.clone(),
            served: run.serving.as_ref().map(|serving| serving.checkpoint.clone()),
            serves_predecessor: wanted.is_some_and(|path| path != own),
        }
    }

    /// Answers a query from the version that is served, waiting for one within the time limit.
    pub(crate) fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
    ) -> Result<Rows, QueryError> {
        let deadline = Instant::now() + limits.time;
        let file = self.served_within(deadline)?;
        let mut reader =
            file.take_reader().map_err(|error| QueryError::Sql { message: error.to_string() })?;
        let rows = reader.query(sql, parameters, limits, deadline)?;
        file.give_back(reader);
        Ok(rows)
    }

    fn served_within(&self, deadline: Instant) -> Result<Arc<Served>, QueryError> {
        let name = || self.definition.name().to_owned();
        loop {
            // Listen first, look second: a change in between is then not missed.
            let listener = self.changed.listen();
            let run = self.run();
            match (&run.serving, &run.state) {
                (Some(serving), _) => return Ok(Arc::clone(&serving.file)),
                (None, State::Stopped { error }) => {
                    return Err(QueryError::Stopped { name: name(), error: Arc::clone(error) });
                }
                _ => drop(run),
            }
            if listener.wait_deadline(deadline).is_none() {
                return Err(QueryError::NotReady { name: name() });
            }
        }
    }
}

impl Served {
    fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), retired: AtomicBool::new(false) }
    }

    fn take_reader(&self) -> rusqlite::Result<Reader> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Reader::open(&self.path), Ok)
    }

    fn give_back(&self, reader: Reader) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS_MAX {
            idle.push(reader);
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
