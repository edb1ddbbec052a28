//! A background worker: a thread with a queue of tasks. In a log without threads, the callers do the same work.
//!
//! *Invariants*
//! - Tasks are done one at a time, in the order in which they were sent.
//! - After a stop, a failure or a panic, no task is done. [`Shown::end`] tells which it was, and waiting callers are
//!   woken.
//! - A worker never waits for its callers.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::locks;

/// Who does the work of a log besides the appends and reads of its callers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drive {
    Threads,
    /// The callers do all of it, so that one seed decides everything.
    #[cfg_attr(
        not(any(feature = "sim", test)),
        expect(dead_code, reason = "only the simulation opens such a log")
    )]
    Inline,
}

/// The work of one worker, and everything that only this worker changes.
pub(super) trait Work: Send + 'static {
    type Task: Send;
    /// The part that callers see and wait for.
    type State: Send;
    /// The name of the thread.
    const THREAD: &'static str;
    /// The worker's name in messages, with its article.
    const NAME: &'static str;

    /// Before the first task.
    fn begin(&mut self) {}

    /// Does a task. Breaks with the reason if no task can follow.
    fn perform(&mut self, task: Self::Task, status: &Status<Self::State>) -> ControlFlow<String>;

    /// The longest wait for a task before [`Self::go_on`]: zero between two steps, `None` without work to go on with.
    fn pause(&self) -> Option<Duration> {
        None
    }

    /// Goes on, because no task came.
    fn go_on(&mut self, _status: &Status<Self::State>) {}

    /// After the last task, if the worker was stopped.
    fn finish(&mut self, _status: &Status<Self::State>) {}
}

/// The handle of a worker. Drop stops it and waits for its thread.
pub(super) struct Worker<W: Work> {
    mail: mpsc::Sender<Mail<W::Task>>,
    status: Arc<Status<W::State>>,
    hands: Hands<W>,
}

/// What a worker shows its callers.
pub(super) struct Status<S> {
    shown: Mutex<Shown<S>>,
    changed: Condvar,
}

pub(super) struct Shown<S> {
    pub(super) state: S,
    /// `None` while tasks are done.
    pub(super) end: Option<End>,
}

/// Why no more tasks are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Stopped,
    Failed(String),
}

enum Mail<T> {
    Task(T),
    Stop,
}

/// Who does the tasks.
enum Hands<W: Work> {
    Thread(Mutex<Option<JoinHandle<()>>>),
    Callers(Mutex<Desk<W>>),
}

/// A worker at its work.
struct Desk<W: Work> {
    work: W,
    mail: mpsc::Receiver<Mail<W::Task>>,
    status: Arc<Status<W::State>>,
    has_begun: bool,
}

impl End {
    /// The reason, for an error.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Stopped => "the log is closing",
            Self::Failed(reason) => reason,
        }
    }
}

impl<S> Status<S> {
    fn new(state: S) -> Self {
        Self { shown: Mutex::new(Shown { state, end: None }), changed: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shown<S>> {
        locks::lock(&self.shown)
    }

    /// Changes the state, and wakes the callers that wait for it.
    pub(super) fn change(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.lock().state);
        self.changed.notify_all();
    }

    fn end(&self, end: End) {
        self.lock().end = Some(end);
        self.changed.notify_all();
    }
}

impl<W: Work> Worker<W> {
    /// Starts a worker.
    pub(super) fn start(work: W, state: W::State, drive: Drive) -> io::Result<Self> {
        let (sender, mail) = mpsc::channel();
        let status = Arc::new(Status::new(state));
        let desk = Desk { work, mail, status: Arc::clone(&status), has_begun: false };
        let hands = match drive {
            Drive::Threads => {
                let thread = std::thread::Builder::new().name(W::THREAD.to_owned());
                Hands::Thread(Mutex::new(Some(thread.spawn(move || desk.run())?)))
            }
            Drive::Inline => Hands::Callers(Mutex::new(desk)),
        };
        Ok(Self { mail: sender, status, hands })
    }

    /// Queues a task. After the end it is dropped: callers that need its result look at [`Shown::end`].
    pub(super) fn send(&self, task: W::Task) {
        let _ = self.mail.send(Mail::Task(task));
    }

    /// Returns [`Self::send`] for code that must not keep the worker alive.
    pub(super) fn sender(&self) -> impl Fn(W::Task) + Send + Sync + use<W> {
        let mail = self.mail.clone();
        move |task| {
            let _ = mail.send(Mail::Task(task));
        }
    }

    /// Ends the worker after its queued tasks.
    pub(super) fn stop(&self) {
        let _ = self.mail.send(Mail::Stop);
    }

    /// Waits for the end of the worker's thread.
    pub(super) fn join(&self) {
        let Hands::Thread(thread) = &self.hands else { return };
        let thread = locks::lock(thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("{} panicked: batches without an answer are in doubt", W::NAME);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shown<W::State>> {
        self.status.lock()
    }

    /// Waits until the worker has changed its state, or for nothing: the caller checks what it waits for.
    pub(super) fn wait<'a>(
        &'a self,
        shown: MutexGuard<'a, Shown<W::State>>,
    ) -> MutexGuard<'a, Shown<W::State>> {
        match &self.hands {
            Hands::Thread(_) => locks::wait(&self.status.changed, shown),
            Hands::Callers(desk) => {
                drop(shown);
                locks::lock(desk).perform_waiting();
                self.lock()
            }
        }
    }

    /// Does the queued tasks, if no thread does. `false` if a thread does.
    pub(super) fn perform_waiting(&self) -> bool {
        let Hands::Callers(desk) = &self.hands else { return false };
        locks::lock(desk).perform_waiting();
        true
    }
}

impl<W: Work> Drop for Worker<W> {
    fn drop(&mut self) {
        self.stop();
        self.join();
    }
}

impl<W: Work> Desk<W> {
    /// The worker's thread.
    fn run(mut self) {
        let status = Arc::clone(&self.status);
        let _ends = EndOnPanic { status: &status, name: W::NAME };
        self.work.begin();
        loop {
            let mail = match self.work.pause() {
                None => self.mail.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(pause) => self.mail.recv_timeout(pause),
            };
            let goes_on = match mail {
                Ok(mail) => self.take(mail),
                Err(RecvTimeoutError::Disconnected) => self.take(Mail::Stop),
                Err(RecvTimeoutError::Timeout) => {
                    self.work.go_on(&self.status);
                    ControlFlow::Continue(())
                }
            };
            if goes_on.is_break() {
                return;
            }
        }
    }

    /// Does what a thread would have done by now: the queued tasks and the steps after them. If there are no tasks,
    /// every pause is over.
    fn perform_waiting(&mut self) {
        if self.status.lock().end.is_some() {
            return;
        }
        let status = Arc::clone(&self.status);
        let _ends = EndOnPanic { status: &status, name: W::NAME };
        if !std::mem::replace(&mut self.has_begun, true) {
            self.work.begin();
        }
        let mut has_mail = false;
        while let Ok(mail) = self.mail.try_recv() {
            has_mail = true;
            if self.take(mail).is_break() {
                return;
            }
        }
        if !has_mail {
            self.work.go_on(&self.status);
        }
        while self.work.pause() == Some(Duration::ZERO) {
            self.work.go_on(&self.status);
        }
    }

    fn take(&mut self, mail: Mail<W::Task>) -> ControlFlow<()> {
        let end = match mail {
            Mail::Task(task) => match self.work.perform(task, &self.status) {
                ControlFlow::Continue(()) => return ControlFlow::Continue(()),
                ControlFlow::Break(reason) => End::Failed(reason),
            },
            Mail::Stop => {
                self.work.finish(&self.status);
                End::Stopped
            }
        };
        self.status.end(end);
        ControlFlow::Break(())
    }
}

/// Records the end of a worker that panics.
struct EndOnPanic<'a, S> {
    status: &'a Status<S>,
    name: &'static str,
}

impl<S> Drop for EndOnPanic<'_, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.status.end(End::Failed(format!("{} panicked: open the log again", self.name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds numbers. Panics at 13, fails at 14, and takes the steps that it is told to take.
    #[derive(Default)]
    struct Adder {
        steps: u32,
    }

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Sum {
        sum: u32,
        steps: u32,
        is_finished: bool,
    }

    impl Work for Adder {
        type Task = u32;
        type State = Sum;
        const THREAD: &'static str = "gesta-add";
        const NAME: &'static str = "the adder";

        fn begin(&mut self) {
            self.steps = 1;
        }

        fn perform(&mut self, task: u32, status: &Status<Sum>) -> ControlFlow<String> {
            assert!(task != 13, "an unlucky number");
            if task == 14 {
                return ControlFlow::Break("14 is too much".to_owned());
            }
            self.steps += task;
            status.change(|own| own.sum += task);
            ControlFlow::Continue(())
        }

        fn pause(&self) -> Option<Duration> {
            (self.steps > 0).then_some(Duration::ZERO)
        }

        fn go_on(&mut self, status: &Status<Sum>) {
            if self.steps > 0 {
                self.steps -= 1;
                status.change(|own| own.steps += 1);
            }
        }

        fn finish(&mut self, status: &Status<Sum>) {
            status.change(|own| own.is_finished = true);
        }
    }

    /// Sends tasks, and waits until the worker shows what is expected.
    fn check(drive: Drive, tasks: &[u32], is_expected: impl Fn(&Shown<Sum>) -> bool) -> Worker<Adder> {
        let worker = Worker::start(Adder::default(), Sum::default(), drive).unwrap();
        tasks.iter().for_each(|task| worker.send(*task));
        let mut shown = worker.lock();
        while !is_expected(&shown) {
            shown = worker.wait(shown);
        }
        drop(shown);
        worker
    }

    #[test]
    fn tasks_and_their_steps_are_done_with_and_without_a_thread() {
        for drive in [Drive::Threads, Drive::Inline] {
            let worker = check(drive, &[2, 3], |shown| shown.state.steps == 6);
            assert_eq!(worker.lock().state.sum, 5);
            worker.stop();
            worker.perform_waiting();
            worker.join();
            let shown = worker.lock();
            assert_eq!((&shown.end, shown.state.is_finished), (&Some(End::Stopped), true));
        }
    }

    #[test]
    fn after_a_failure_or_the_stop_no_task_is_done_and_callers_learn_why() {
        for drive in [Drive::Threads, Drive::Inline] {
            let worker = check(drive, &[2, 14, 3], |shown| shown.end.is_some());
            assert_eq!(worker.lock().end.as_ref().unwrap().reason(), "14 is too much");
            worker.send(4);
            worker.perform_waiting();
            worker.join();
            let shown = worker.lock();
            assert_eq!((shown.state.sum, shown.state.is_finished), (2, false));
        }
    }

    #[test]
    fn a_panic_ends_the_worker_and_wakes_its_callers() {
        let worker = check(Drive::Threads, &[2, 13], |shown| shown.end.is_some());
        let reason = "the adder panicked: open the log again";
        assert_eq!(worker.lock().end.as_ref().unwrap().reason(), reason);

        let worker = Worker::start(Adder::default(), Sum::default(), Drive::Inline).unwrap();
        [2, 13, 3].into_iter().for_each(|task| worker.send(task));
        let caller = std::panic::AssertUnwindSafe(|| worker.perform_waiting());
        std::panic::catch_unwind(caller).unwrap_err();
        assert!(worker.perform_waiting(), "nothing is left to do");
        let shown = worker.lock();
        assert_eq!((shown.state.sum, shown.end.as_ref().unwrap().reason()), (2, reason));
    }
}
