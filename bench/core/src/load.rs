//! The work of a store, the number of clients, and the run that measures it.

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::event::Events;
use crate::latency::Latencies;
use crate::quiet;
use crate::rival::{Client, Drive, Guard, Rival, runtime};
use crate::usage::{Meter, Used};

/// The work of a store during a run.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Concurrent clients, each with one call at a time.
    pub clients: u64,
    /// The work of each call.
    pub work: Work,
    /// The time during which new calls begin. Fast stores do more work in it than slow ones.
    pub lasts: Duration,
    /// True if the load first waits until the store and the disk are at rest.
    pub rests: bool,
}

/// The work of each call of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Appends a batch.
    Append {
        /// Events in a batch.
        batch: u64,
        /// The requirement of each append.
        guard: Guard,
    },
    /// Reads the whole log.
    ReadAll,
    /// Reads whole streams, one after the other.
    ReadStream {
        /// The number of streams.
        streams: u64,
    },
}

impl Work {
    /// The requirement of its appends.
    #[must_use]
    pub const fn guard(self) -> Guard {
        match self {
            Self::Append { guard, .. } => guard,
            Self::ReadAll | Self::ReadStream { .. } => Guard::None,
        }
    }
}

/// The results of a store under a load.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Events appended or read.
    pub events: u64,
    /// The time from the start of the first call to the end of the last.
    pub took: Duration,
    /// The durations of the calls.
    pub calls: Latencies,
    /// The resources that the store's process used.
    pub used: Used,
    /// True if the disk right after the run was as fast as at rest. If not, its host may have slowed it down during
    /// the run.
    pub disk_at_rest: bool,
}

impl Measured {
    /// Events per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64()
    }
}

/// Puts a store under a load. `folder` is the folder of its files.
///
/// # Panics
/// If a call of the store fails.
pub fn measure(rival: &dyn Rival, folder: &Path, load: &Load, events: &Arc<Events>) -> Measured {
    let workers = (0..load.clients).map(|number| Worker {
        client: rival.client(number),
        number,
        load: *load,
        events: Arc::clone(events),
    });
    let workers: Vec<_> = workers.collect();
    if load.rests {
        quiet::wait(rival.process(), folder);
    }
    let meter = Meter::start(rival.process(), folder);
    let start = Instant::now();
    let done = match rival.drive() {
        Drive::Threads => on_threads(workers),
        Drive::Tasks => on_tasks(workers),
    };
    let took = start.elapsed();
    let used = meter.stop();
    let events = done.iter().map(|(count, _)| count).sum();
    let calls = Latencies::merge(done.into_iter().map(|(_, calls)| calls));
    let disk_at_rest = !load.rests || quiet::disk_is_at_rest(folder);
    Measured { events, took, calls, used, disk_at_rest }
}

type Done = (u64, Latencies);

fn on_threads(workers: Vec<Worker>) -> Vec<Done> {
    let barrier = Barrier::new(workers.len());
    std::thread::scope(|scope| {
        let begin = |worker: Worker| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                pollster::block_on(worker.run())
            })
        };
        let threads: Vec<_> = workers.into_iter().map(begin).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client does not fail")).collect()
    })
}

fn on_tasks(workers: Vec<Worker>) -> Vec<Done> {
    runtime().block_on(async {
        let tasks: Vec<_> = workers.into_iter().map(|worker| tokio::spawn(worker.run())).collect();
        let mut done = Vec::with_capacity(tasks.len());
        for task in tasks {
            done.push(task.await.expect("a client does not fail"));
        }
        done
    })
}

/// A client during a run.
struct Worker {
    client: Box<dyn Client>,
    number: u64,
    load: Load,
    events: Arc<Events>,
}

impl Worker {
    async fn run(mut self) -> Done {
        let (mut count, mut calls) = (0, Latencies::default());
        let begun = Instant::now();
        let mut turn = self.number;
        while begun.elapsed() < self.load.lasts {
            let start;
            count += match self.load.work {
                Work::Append { batch, guard } => {
                    let events = self.events.take(self.number, batch);
                    start = Instant::now();
                    self.client.append(&events, guard).await;
                    batch
                }
                Work::ReadAll => {
                    start = Instant::now();
                    self.client.read_all().await
                }
                Work::ReadStream { streams } => {
                    start = Instant::now();
                    self.client.read_stream(turn % streams).await
                }
            };
            calls.note(start.elapsed());
            turn += self.load.clients;
        }
        (count, calls)
    }
}
