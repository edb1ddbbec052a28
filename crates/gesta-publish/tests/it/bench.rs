//! A store, its groups, and one publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gesta_consumer::SystemClock;
use gesta_consumer::group::{
    BackOff, GroupName, GroupState, GroupStatus, Groups, LocalGroups, LocalGroupsOptions, Parked, To,
};
use gesta_core::{
    Batch, EventId, EventStore, MemoryKeyValueStore, MemoryStore, NewEvent, StoreId, Timestamp, When,
};
use gesta_publish::{Running, read_text};
use pollster::block_on;
use tempfile::TempDir;

/// How long anything may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a wait lasts until it looks again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The store of the tests.
pub(crate) const STORE: StoreId = StoreId::from_bytes([7; 16]);

pub(crate) struct Bench {
    store: Arc<dyn EventStore>,
    groups: Arc<LocalGroups>,
    group: GroupName,
    running: Option<Running>,
    next_id: AtomicU64,
}

/// A target that a test harms and mends.
pub(crate) trait Target {
    /// Makes it take nothing any more, or not for now.
    fn harm(&mut self, fault: usize);
    /// Makes it take messages again.
    fn mend(&mut self, fault: usize);
}

/// A folder with a file `secret` of that text.
pub(crate) fn secret(text: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("secret"), text).unwrap();
    folder
}

impl Bench {
    /// Starts the publisher `test` from all that is appended. `keys` are the other keys of it; a secret that is not empty is in the file `secret`.
    pub(crate) fn start(keys: &str, secret_text: &str) -> Self {
        Self::start_on(Arc::new(MemoryStore::new(STORE, 1, || Timestamp::from_nanos(1))), keys, secret_text)
    }

    /// The same on a store that has no groups yet.
    pub(crate) fn start_on(store: Arc<dyn EventStore>, keys: &str, secret_text: &str) -> Self {
        let values = Arc::new(MemoryKeyValueStore::default());
        let options = LocalGroupsOptions { boot_epoch: 0, is_alone: true, ..LocalGroupsOptions::default() };
        let groups = LocalGroups::start(Arc::clone(&store), values, Arc::new(SystemClock), options);
        let groups = Arc::new(groups.unwrap());
        let group = "publish-test".parse().unwrap();
        let mut bench = Self { store, groups, group, running: None, next_id: AtomicU64::new(1) };
        bench.publish(keys, secret_text);
        bench
    }

    /// Starts the publisher again with other keys.
    pub(crate) fn restart(&mut self, keys: &str, secret_text: &str) {
        self.running.take().unwrap().join_after_stop();
        self.publish(keys, secret_text);
    }

    fn publish(&mut self, keys: &str, secret_text: &str) {
        let folder = secret(secret_text);
        let secret_file = if secret_text.is_empty() { "" } else { "secret_file = \"secret\"" };
        let text = format!("[publisher.test]\nfrom = \"start\"\n{secret_file}\n{keys}\n");
        let mut publishers = read_text(&text, &folder.path().join("publish.toml")).unwrap();
        let publisher = publishers.remove(0);
        let mut settings = publisher.settings().clone();
        // What is released comes again soon: the test waits for it.
        settings.back_off = BackOff { first: Duration::from_millis(50), max: Duration::from_millis(400) };
        block_on(self.groups.host(publisher.group().clone(), settings)).unwrap();
        let store = block_on(self.store.locate(When::Start)).unwrap().store();
        self.running = Some(publisher.start(store, Arc::clone(&self.groups) as _).unwrap());
    }

    /// Appends one event to each of the streams.
    pub(crate) fn append<'s>(&self, streams: impl IntoIterator<Item = &'s str>) {
        self.append_data(streams, "{\"amount\":1}");
    }

    /// Appends an event of that id to each of the streams.
    pub(crate) fn append_with_id<'s>(&self, id: EventId, streams: impl IntoIterator<Item = &'s str>) {
        self.append_events(streams.into_iter().map(|stream| event(id, stream, "{}")));
    }

    pub(crate) fn append_data<'s>(&self, streams: impl IntoIterator<Item = &'s str>, data: &str) {
        let next_id = || EventId::from_u128(self.next_id.fetch_add(1, Ordering::Relaxed).into());
        self.append_events(streams.into_iter().map(|stream| event(next_id(), stream, data)));
    }

    fn append_events(&self, events: impl Iterator<Item = NewEvent>) {
        block_on(self.store.append(Batch::new(events.collect::<Vec<_>>()))).unwrap();
    }

    /// Harms a target under load, again and again, until it has everything. Returns how many events were appended.
    #[track_caller]
    pub(crate) fn under_faults(&self, faults: usize, target: &mut impl Target) -> usize {
        let streams = (0..12).map(|stream| format!("order-{stream}")).collect::<Vec<_>>();
        let mut appended = 0;
        let mut load = || {
            for _ in 0..5 {
                self.append(streams.iter().map(String::as_str));
                appended += streams.len();
            }
        };
        for fault in 0..faults {
            let before = self.status().settled.handled;
            load();
            self.until(|status| status.settled.handled > before);
            target.harm(fault);
            load();
            self.until(|status| status.waiting > 0);
            target.mend(fault);
        }
        self.until_done();
        appended
    }

    /// The tries to publish that failed: each can be the cause of one repeat, since a publisher sends the events of a stream one by one.
    pub(crate) fn failed_tries(&self) -> u64 {
        let settled = self.status().settled;
        settled.retry + settled.release + settled.expired + settled.again
    }

    pub(crate) fn status(&self) -> GroupStatus {
        block_on(self.groups.get(self.group.clone())).unwrap()
    }

    /// Asks until the status is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, is_wanted: impl Fn(&GroupStatus) -> bool) -> GroupStatus {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if is_wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {status:?}");
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Waits until the group has stopped, with nothing in flight that could stop it once more, and returns why.
    #[track_caller]
    pub(crate) fn until_stopped(&self) -> String {
        let is_stopped = |status: &GroupStatus| matches!(status.state, GroupState::Stopped { .. });
        let status = self.until(|status| is_stopped(status) && status.in_flight_events == 0);
        let GroupState::Stopped { reason } = status.state else { unreachable!() };
        reason
    }

    /// Waits until streams are parked, and returns them.
    #[track_caller]
    pub(crate) fn until_parked(&self, count: u32) -> Vec<Parked> {
        self.until(|status| status.parked == count);
        block_on(self.groups.parked(self.group.clone(), None, 100.try_into().unwrap())).unwrap()
    }

    /// Waits until every event was confirmed.
    #[track_caller]
    pub(crate) fn until_done(&self) {
        self.until(|status| {
            status.lag_events == Some(0) && status.in_flight_events == 0 && status.waiting == 0
        });
    }

    pub(crate) fn pause(&self) {
        block_on(self.groups.pause(self.group.clone(), "test".to_owned())).unwrap();
    }

    pub(crate) fn resume(&self) {
        block_on(self.groups.resume(self.group.clone())).unwrap();
    }

    pub(crate) fn replay(&self, stream: &str) {
        let streams = vec![stream.parse().unwrap()];
        assert_eq!(block_on(self.groups.replay(self.group.clone(), streams)), Ok(1));
    }

    /// Publishes everything once more.
    pub(crate) fn repeat_all(&self) {
        self.pause();
        block_on(self.groups.reset(self.group.clone(), To::Start)).unwrap();
        self.resume();
    }
}

fn event(id: EventId, stream: &str, data: &str) -> NewEvent {
    let (stream, kind) = (stream.parse().unwrap(), "order.placed".parse().unwrap());
    NewEvent::json(id, stream, kind, Timestamp::from_nanos(1), data.to_owned())
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.join_after_stop();
        }
        self.groups.close();
    }
}

trait JoinAfterStop {
    fn join_after_stop(self);
}

impl JoinAfterStop for Running {
    fn join_after_stop(self) {
        self.request_stop();
        self.join();
    }
}
