//! Runs the groups and processes of a host, and publishers: their workers, and the timers of processes.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gesta::process::{HostedProcess, TimerSettings, Timers};
use gesta::{Gesta, GroupName, GroupSettings, HostedGroup};
use gesta_consumer::group::{Groups, PutError};
use gesta_consumer::{AnyConsumer, Handle, Spawn, SystemClock, Workers, kept_pause, work};
use gesta_core::{BoxFuture, KeyValueStore, When};
use gesta_publish::{Publisher, Running};
use tokio::runtime;

use crate::failure::{Failure, Outcome};
use crate::store::Opened;

/// How long the start of a host waits for groups that are not available. A take-over after a process died takes 10 to 12 s.
const TAKE_OVER_TIME_MAX: Duration = Duration::from_secs(30);
/// The pause before groups that are not available are asked again.
const HOST_PAUSE: Duration = Duration::from_millis(500);

/// The groups, processes and publishers of a host while they run.
#[derive(Default)]
pub(crate) struct Hosting {
    workers: Vec<Workers>,
    publishers: Vec<Running>,
    timers: Vec<Arc<Timers>>,
}

impl Hosting {
    /// Creates the groups that do not exist, widens the others, and starts workers and timers. Each group and each process gets
    /// that many threads. All send commands with the same handle, which must be on the opened store.
    pub(crate) fn start(
        groups: &[HostedGroup],
        processes: &[Arc<HostedProcess>],
        threads: NonZeroUsize,
        opened: &Opened,
        gesta: &Gesta,
        runtime: &runtime::Handle,
    ) -> Outcome<Self> {
        let mut hosting = Self::default();
        let start = |name: &GroupName, settings: GroupSettings, handler: Arc<dyn Handle>| {
            runtime.block_on(host(&*opened.groups, name, settings))?;
            let (groups, spawn) = (Arc::clone(&opened.groups), RuntimeThreads(runtime.clone()));
            let workers = work(groups, name.clone(), threads.get(), handler, &spawn, Arc::new(SystemClock));
            workers.map_err(|error| no_thread(&error))
        };
        for process in processes {
            // The timers first: an input that comes before them could set one that is never read.
            hosting.timers.push(Arc::new(start_timers(process, gesta, &opened.values)?));
            let handler = process.handler(gesta.clone());
            hosting.workers.push(start(process.group(), process.settings(), handler)?);
        }
        for group in groups {
            let handler = group.handler(gesta.clone());
            hosting.workers.push(start(group.name(), group.settings().clone(), handler)?);
        }
        Ok(hosting)
    }

    /// Creates the groups of publishers that do not exist, and starts to publish.
    pub(crate) fn publish(&mut self, publishers: Vec<Publisher>, opened: &Opened) -> Outcome {
        if publishers.is_empty() {
            return Ok(());
        }
        let store = pollster::block_on(opened.store.locate(When::Start))?.store();
        for publisher in publishers {
            pollster::block_on(host(&*opened.groups, publisher.group(), publisher.settings().clone()))?;
            let running = publisher.start(store, Arc::clone(&opened.groups));
            self.publishers.push(running.map_err(|error| no_thread(&error))?);
        }
        Ok(())
    }

    pub(crate) fn timers(&self) -> &[Arc<Timers>] {
        &self.timers
    }

    /// The timers as consumers, for operators.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = Arc<dyn AnyConsumer>> {
        self.timers.iter().map(|timers| Arc::clone(timers.consumer()) as _)
    }

    /// Stops everything and waits: what has begun may end within 5 s, the rest is given back.
    pub(crate) fn stop(self) {
        self.workers.iter().for_each(Workers::request_stop);
        self.publishers.iter().for_each(Running::request_stop);
        self.timers.iter().for_each(|timers| timers.request_stop());
        self.workers.iter().for_each(|workers| pollster::block_on(workers.ended()));
        self.publishers.into_iter().for_each(Running::join);
        self.timers.iter().for_each(|timers| timers.join());
    }
}

/// Creates a group, or adds the items that its query lacks. Another process that shares the store may be about to take over the
/// groups: that is waited for.
async fn host(groups: &dyn Groups, name: &GroupName, settings: GroupSettings) -> Outcome {
    let begin = Instant::now();
    loop {
        match groups.host(name.clone(), settings.clone()).await {
            // To host a group twice changes nothing.
            Err(PutError::Unavailable { reason } | PutError::InDoubt { reason })
                if groups.is_shared() && begin.elapsed() < TAKE_OVER_TIME_MAX =>
            {
                tracing::info!("waiting to host the group `{name}`: {reason}");
                thread::sleep(HOST_PAUSE);
            }
            hosted => {
                let failed = |error| Failure::new(format!("cannot host the group `{name}`")).because(&error);
                return hosted.map(drop).map_err(failed);
            }
        }
    }
}

fn start_timers(process: &HostedProcess, gesta: &Gesta, values: &Arc<dyn KeyValueStore>) -> Outcome<Timers> {
    let name = process.timers();
    let paused = pollster::block_on(kept_pause(&**values, &name)).unwrap_or_else(|error| {
        tracing::warn!(consumer = name, %error, "it is not known if the timers were paused: they start");
        None
    });
    let mut settings = TimerSettings::default();
    settings.values = Some(Arc::clone(values));
    settings.paused = paused;
    process.start_timers(gesta.clone(), settings).map_err(|error| no_thread(&error))
}

fn no_thread(error: &io::Error) -> Failure {
    Failure::new("the system has no thread for a group").because(error)
}

/// Threads within the runtime of the host: handlers may block, and may use what needs the runtime.
struct RuntimeThreads(runtime::Handle);

impl Spawn for RuntimeThreads {
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> io::Result<()> {
        let runtime = self.0.clone();
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(move || runtime.block_on(future)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use gesta::{
        Batch, EffectContext, Event, EventId, GroupContext, Key, NewEvent, Perform, Process, Reaction,
        Recorded, State, Timestamp, Trigger,
    };
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::Host;
    use crate::store::{OpenOptions, open};

    #[derive(Debug, Clone, Key)]
    #[key("invoice")]
    struct InvoiceId(String);

    #[derive(Debug, Event)]
    #[event(prefix = "invoice")]
    enum InvoiceEvent {
        Sent,
    }

    #[derive(Debug, Event)]
    #[event(prefix = "reminder")]
    enum ReminderEvent {
        Began,
    }

    #[derive(Debug, Serialize, Deserialize)]
    enum Letter {
        Second,
    }

    #[derive(Debug, Default)]
    struct Reminder;

    impl State for Reminder {
        type Event = ReminderEvent;
        fn evolve(&mut self, _: ReminderEvent) {}
    }

    impl Process for Reminder {
        const NAME: &'static str = "reminder";
        type Id = InvoiceId;
        type Input = InvoiceEvent;
        type Effect = Letter;
        type Outcome = ();
        type Timer = Letter;

        fn correlate(input: &Recorded<InvoiceEvent>) -> Option<InvoiceId> {
            input.key()
        }

        fn react(&self, _: &InvoiceId, trigger: Trigger<Self>) -> Reaction<Self> {
            match trigger {
                Trigger::Event(InvoiceEvent::Sent) => {
                    Reaction::record(ReminderEvent::Began).timer(Letter::Second, Duration::from_millis(1))
                }
                Trigger::Timer(letter) => Reaction::perform(letter),
                Trigger::Outcome(()) => Reaction::none(),
            }
        }
    }

    /// Tells the test what was performed.
    struct Post(Sender<String>);

    impl Perform<Reminder> for Post {
        async fn perform(&self, cx: &EffectContext<'_>, letter: Letter) -> Result<(), gesta::Failure> {
            let id = cx.id::<InvoiceId>()?;
            self.0.send(format!("{letter:?} letter for {}", id.0)).expect("the test waits");
            Ok(())
        }
    }

    fn append(opened: &Opened, id: u128) {
        let (stream, kind) = ("invoice-7".parse().unwrap(), "invoice.sent".parse().unwrap());
        let event = NewEvent::json(EventId::from_u128(id), stream, kind, Timestamp::from_nanos(0), "{}");
        pollster::block_on(opened.store.append(Batch::new([event]))).unwrap();
    }

    #[test]
    fn groups_and_processes_run_with_their_timers_until_they_are_stopped() {
        let (letters, posted) = channel();
        let told = letters.clone();
        let tell = move |event: Recorded<InvoiceEvent>, context: GroupContext| {
            let told = told.clone();
            async move {
                // What tokio has is there.
                tokio::task::spawn(async {}).await.expect("it runs");
                let text = format!("{} told, attempt {}", event.stream(), context.attempt());
                told.send(text).expect("the test waits");
                Ok(())
            }
        };
        let settings = GroupSettings::new(gesta::query::<InvoiceEvent>());
        let host = Host::default().group("tell", settings, tell).process::<Reminder>(Post(letters));
        let opened = open(&"memory:".parse().unwrap(), &OpenOptions::default()).unwrap();
        let runtime = runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        append(&opened, 1);
        let gesta = opened.gesta();
        let (groups, processes, threads) = (&host.groups, &host.processes, host.threads_of_a_group());
        let hosting = Hosting::start(groups, processes, threads, &opened, &gesta, runtime.handle()).unwrap();
        let consumers = hosting.consumers().map(|consumer| (consumer.name().to_owned(), consumer.kind()));
        assert_eq!(consumers.collect::<Vec<_>>(), [("timers-reminder".to_owned(), "timers")]);
        let mut seen = [(); 2].map(|()| posted.recv_timeout(Duration::from_secs(120)).unwrap());
        seen.sort();
        assert_eq!(seen, ["Second letter for 7", "invoice-7 told, attempt 1"]);
        let names = pollster::block_on(opened.groups.list()).unwrap();
        let names = names.iter().map(|status| status.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["process-reminder", "tell"]);
        hosting.stop();
        append(&opened, 2);
        assert!(posted.recv_timeout(Duration::from_millis(50)).is_err(), "nothing runs after a stop");
        opened.close();
    }

    #[test]
    #[should_panic(expected = "two groups of the host are named `tell`")]
    fn two_groups_of_one_name_are_a_mistake_of_the_program() {
        let tell = |_: Recorded<InvoiceEvent>, _| async { Ok(()) };
        let settings = GroupSettings::new(gesta::query::<InvoiceEvent>());
        drop(Host::default().group("tell", settings.clone(), tell).group("tell", settings, tell));
    }

    #[test]
    #[should_panic(expected = "`a b` cannot be a group")]
    fn a_group_with_a_name_that_no_group_can_have_is_a_mistake_of_the_program() {
        let tell = |_: Recorded<InvoiceEvent>, _| async { Ok(()) };
        drop(Host::default().group("a b", GroupSettings::new(gesta::query::<InvoiceEvent>()), tell));
    }
}
