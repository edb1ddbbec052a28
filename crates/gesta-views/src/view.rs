//! One view while it runs: what its thread reports and what callers ask, under one lock.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use event_listener::{Event, Listener};
use gesta_core::{Checkpoint, EventStore, Limit};
use rusqlite::InterruptHandle;

use crate::database::ViewFile;
use crate::definition::Definition;
use crate::options::Options;
use crate::pool::Pool;
use crate::run_error::RunError;
use crate::sandbox::{QueryError, QueryLimits, Rows, SqlValue};
use crate::signal::Signal;
use crate::status::State;

/// A view and its run.
pub(crate) struct View {
    pub(crate) definition: Definition,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) folder: PathBuf,
    /// What one transaction takes from the log.
    pub(crate) page: Limit,
    /// Bytes of the write-ahead log before it is emptied.
    pub(crate) wal_bytes_max: u64,
    run: Mutex<Run>,
    /// Notified whenever `run` changes in a way that a caller may wait for.
    pub(crate) changed: Event,
}

/// The current run, or the last one.
struct Run {
    state: State,
    /// How far the wanted version got; `None` until its file is open.
    checkpoint: Option<Checkpoint>,
    serving: Option<Serving>,
    /// Why the file was last rebuilt.
    rebuilt: Option<String>,
    signal: Arc<Signal>,
    interrupt: Option<InterruptHandle>,
    thread: Option<JoinHandle<()>>,
}

/// The version whose rows are shown: an older one while the wanted one is built beside it.
#[derive(Clone)]
struct Serving {
    pool: Arc<Pool>,
    checkpoint: Checkpoint,
}

/// A view at one moment.
pub(crate) struct Snapshot {
    pub(crate) state: State,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The place that queries show.
    pub(crate) served: Option<Checkpoint>,
    /// An older version is served.
    pub(crate) serves_predecessor: bool,
    pub(crate) rebuilt: Option<String>,
}

impl View {
    pub(crate) fn new(
        definition: Definition,
        store: Arc<dyn EventStore>,
        folder: PathBuf,
        options: &Options,
    ) -> Self {
        let run = Run {
            state: State::Stopped { error: Arc::new(RunError::ShutDown) },
            checkpoint: None,
            serving: None,
            rebuilt: None,
            signal: Arc::default(),
            interrupt: None,
            thread: None,
        };
        let Options { page, wal_bytes_max } = *options;
        Self { definition, store, folder, page, wal_bytes_max, run: Mutex::new(run), changed: Event::new() }
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
        body: impl FnOnce(&Self, &Arc<Signal>) -> Result<(), RunError> + Send + 'static,
    ) -> std::io::Result<()> {
        let mut run = self.run();
        if !matches!(run.state, State::Stopped { .. }) {
            return Ok(());
        }
        // It has reported its end, and does not take this lock again.
        if let Some(ended) = run.thread.take() {
            ended.join().expect("a view's thread catches its panics");
        }
        let signal = Arc::new(Signal::default());
        let (view, its_signal) = (Arc::clone(self), Arc::clone(&signal));
        let thread = std::thread::Builder::new().name(format!("view-{}", self.definition.name()));
        // The thread takes this lock before it reports anything, so it finds the run set up.
        run.thread = Some(thread.spawn(move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&view, &its_signal)));
            let error = match ended {
                // An error while a run is stopped, such as an interrupted statement, is expected.
                Ok(Err(error)) if !its_signal.is_stopping() => error,
                Ok(_) => RunError::ShutDown,
                Err(panic) => RunError::Panicked { message: panic_message(&*panic) },
            };
            view.ended(error);
        })?);
        run.state = State::CatchingUp;
        run.signal = signal;
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

    /// Asks the run to stop. Its last transaction is committed whole or not at all.
    pub(crate) fn request_stop(&self) {
        let run = self.run();
        run.signal.stop();
        if let Some(interrupt) = &run.interrupt {
            interrupt.interrupt();
        }
        if let Some(serving) = &run.serving {
            serving.pool.release();
        }
    }

    /// Waits for the thread of a run that was asked to stop.
    pub(crate) fn join(&self) {
        let thread = self.run().thread.take();
        if let Some(thread) = thread {
            thread.join().expect("a view's thread catches its panics");
        }
    }

    /// The database is thrown away and built anew. Nothing is served until it is open.
    pub(crate) fn rebuilding(&self, reason: &str) {
        tracing::warn!(view = self.definition.name(), reason, "the view is rebuilt from the log");
        self.change(|run| {
            run.state = State::CatchingUp;
            run.serving = None;
            run.checkpoint = None;
            run.rebuilt = Some(reason.to_owned());
        });
    }

    /// The database is open. A predecessor is served until this version has caught up.
    pub(crate) fn opened(&self, file: &ViewFile, predecessor: Option<(PathBuf, Checkpoint)>) {
        let (path, checkpoint) = predecessor.unwrap_or_else(|| (file.path.clone(), file.checkpoint.clone()));
        self.change(|run| {
            run.interrupt = Some(file.connection.get_interrupt_handle());
            run.checkpoint = Some(file.checkpoint.clone());
            run.serving = Some(Serving { pool: Arc::new(Pool::new(path)), checkpoint });
        });
    }

    /// A page was committed.
    pub(crate) fn advanced(&self, path: &Path, at: &Checkpoint, is_at_head: bool) {
        self.change(|run| {
            run.checkpoint = Some(at.clone());
            if let Some(serving) = run.serving.as_mut().filter(|serving| serving.pool.path() == path) {
                serving.checkpoint = at.clone();
            }
            run.state = if is_at_head { State::Live } else { State::CatchingUp };
        });
    }

    /// The wanted version has caught up and is served from now on. Queries that have begun end on the old one, whose file
    /// is removed after the last of them. Gives the path of the old one, if there was one.
    pub(crate) fn switch_to(&self, path: &Path, at: &Checkpoint) -> Option<PathBuf> {
        let old = self.change(|run| {
            run.state = State::Live;
            run.serving.as_ref().filter(|serving| serving.pool.path() != path)?;
            let pool = Arc::new(Pool::new(path.to_owned()));
            run.serving.replace(Serving { pool, checkpoint: at.clone() })
        })?;
        old.pool.retire();
        Some(old.pool.path().to_owned())
    }

    /// The view tries again after a pause. It shows the error until a page is committed, and logs it once.
    pub(crate) fn retrying(&self, error: RunError) {
        let error = Arc::new(error);
        let is_new = self.change(|run| {
            let is_new = run.state.error().is_none_or(|before| before.to_string() != error.to_string());
            run.state = State::Retrying { error: Arc::clone(&error) };
            run.interrupt = None;
            is_new
        });
        if is_new {
            tracing::warn!(view = self.definition.name(), %error, "the view tries again until this has passed");
        }
    }

    /// Shows an error of the store while `pause` waits before the next try.
    pub(crate) fn while_retrying(&self, error: RunError, pause: impl FnOnce()) {
        tracing::warn!(view = self.definition.name(), %error, "the view tries again");
        let mut before = State::Retrying { error: Arc::new(error) };
        self.change(|run| std::mem::swap(&mut run.state, &mut before));
        pause();
        self.change(|run| run.state = before);
    }

    /// The run is about to close its database: closes the idle readers, and lets nobody interrupt what follows.
    pub(crate) fn closing(&self) {
        let mut run = self.run();
        run.interrupt = None;
        if let Some(serving) = &run.serving {
            serving.pool.close_idle();
        }
    }

    /// The connections that read the view's file; `None` while another file is served.
    pub(crate) fn readers_of(&self, path: &Path) -> Option<Arc<Pool>> {
        let run = self.run();
        let serving = run.serving.as_ref().filter(|serving| serving.pool.path() == path);
        serving.map(|serving| Arc::clone(&serving.pool))
    }

    pub(crate) fn state(&self) -> State {
        self.run().state.clone()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let run = self.run();
        let wanted = self.folder.join(self.definition.file_name());
        Snapshot {
            state: run.state.clone(),
            checkpoint: run.checkpoint.clone(),
            served: run.serving.as_ref().map(|serving| serving.checkpoint.clone()),
            serves_predecessor: run.serving.as_ref().is_some_and(|serving| serving.pool.path() != wanted),
            rebuilt: run.rebuilt.clone(),
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
        let pool = self.served_within(deadline)?;
        let answer = pool.query(sql, parameters, limits, deadline);
        if let Err(QueryError::Damaged { message }) = &answer {
            self.found_damaged(&pool, message);
        }
        answer
    }

    /// A query met damage: the view is rebuilt, or its older version is no longer served.
    fn found_damaged(&self, pool: &Arc<Pool>, message: &str) {
        let wanted = self.folder.join(self.definition.file_name());
        self.change(|run| {
            let is_served = run.serving.as_ref().is_some_and(|serving| Arc::ptr_eq(&serving.pool, pool));
            match (is_served, &run.checkpoint) {
                // It was replaced meanwhile.
                (false, _) => {}
                (true, _) if pool.path() == wanted => run.signal.report_damage(message),
                (true, checkpoint) => {
                    tracing::warn!(path = %pool.path().display(), message, "an old version of a view is damaged");
                    run.serving = checkpoint.clone().map(|checkpoint| Serving {
                        pool: Arc::new(Pool::new(wanted)),
                        checkpoint,
                    });
                }
            }
        });
    }

    fn served_within(&self, deadline: Instant) -> Result<Arc<Pool>, QueryError> {
        let name = || self.definition.name().to_owned();
        loop {
            // Listen first, look second: a change in between is not missed.
            let listener = self.changed.listen();
            let run = self.run();
            match (&run.serving, &run.state) {
                (Some(serving), _) => return Ok(Arc::clone(&serving.pool)),
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

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
