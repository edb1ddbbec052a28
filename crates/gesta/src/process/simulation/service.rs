//! A timer service: it scans the log a few events at a time, and its steps can be stopped at any point.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gesta_core::{BoxFuture, Checkpoint, Limit, MemoryStore, Place, Read};

use crate::handle::Gesta;
use crate::process::timers::{Schedule, Step, entry_of, lock, step, timer_sets};

/// How near the horizon may come.
const AHEAD: Duration = Duration::from_secs(50);

pub(super) struct Service {
    pub(super) schedule: Arc<Mutex<Schedule>>,
    task: Option<BoxFuture<'static, Step>>,
}

impl Service {
    pub(super) fn new(at: Checkpoint, kept_max: usize) -> Self {
        Self { schedule: Arc::new(Mutex::new(Schedule::new(at, kept_max))), task: None }
    }

    pub(super) fn place(&self) -> Checkpoint {
        lock(&self.schedule).place()
    }

    /// Scans one page.
    pub(super) fn scan(&self, memory: &MemoryStore, events_max: u32) {
        let mut schedule = lock(&self.schedule);
        let from = Place::At(schedule.scanned_to().clone());
        let limit = Limit {
            events: NonZeroU32::new(events_max).expect("it is not 0"),
            examined: NonZeroU32::new(events_max).expect("it is not 0").into(),
            ..Limit::default()
        };
        let read = Read::log_from(timer_sets("sim"), from).limit(limit);
        let page = memory.read_now(&read).expect("it is in memory");
        for event in &page.events {
            schedule.note(entry_of(event).expect("it decodes").expect("the query selects no other type"));
        }
        schedule.scanned(page.scanned_to);
    }

    /// Goes on with the step under way, or begins one.
    pub(super) fn poll(&mut self, gesta: &Gesta) -> Poll<Step> {
        let task = self.task.get_or_insert_with(|| {
            let (gesta, schedule) = (gesta.clone(), self.schedule.clone());
            Box::pin(async move { step(&gesta, "sim", &schedule, AHEAD).await })
        });
        let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            self.task = None;
        }
        polled
    }

    /// The step under way is dropped where it is.
    pub(super) fn stop(&mut self) {
        self.task = None;
    }
}
