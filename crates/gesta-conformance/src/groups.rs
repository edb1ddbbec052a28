//! The laws of consumer groups: their harness, and the subject of a law.
//!
//! A law waits for what must happen. It finds out that something does not happen in two ways: by the status, which tells that
//! the group has read everything, and by a marker, an event behind everything else in every partition.

pub(crate) mod delivering;
pub(crate) mod failing;
mod harness;
pub(crate) mod holding;
pub(crate) mod log_order;
pub(crate) mod managing;
mod member;
pub(crate) mod operating;
pub(crate) mod parking;
pub(crate) mod restarting;
mod simple;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use gesta_consumer::group::{
    BackOff, ChangeError, GroupName, GroupSettings, GroupState, GroupStatus, Groups, Parked, PutError, Reset,
    SettingsVersion, To,
};
use gesta_core::{Batch, BoxFuture, EventStore, Item, Lane, Query, RecordedEvent, StreamName, Version};
use pollster::block_on;

use crate::given::{event_type, name, typed};
pub use harness::{GroupHarness, LocalHarness, Served};
pub(crate) use member::{Member, retry};
pub use simple::{GroupBug, SimpleGroups};

/// A second.
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// The group of a law that needs only one.
pub(crate) const GROUP: &str = "mail";
/// Two streams with one partition key.
pub(crate) const ONE: &str = "order-1{k}";
pub(crate) const TWO: &str = "order-2{k}";
/// The type of every event that is appended without another one, and the one that the groups of the laws select.
const TYPE: &str = "placed";
/// The category of the markers.
const MARKER: &str = "marker";
/// More real time than any call takes. A call that takes longer never ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// The query for events of these types, one item for each.
pub(crate) fn types(types: &[&str]) -> Query {
    let item = |text: &&str| Item { types: vec![event_type(text)], ..Item::default() };
    Query::Any(types.iter().map(item).collect())
}

/// Settings for the laws: their events from the start, with short times.
pub(crate) fn settings() -> GroupSettings {
    GroupSettings {
        ack_time: 10 * SECOND,
        back_off: BackOff { first: 2 * SECOND, max: 4 * SECOND },
        ..GroupSettings::new(types(&[TYPE]))
    }
}

/// Longer than any pause of the laws' settings.
pub(crate) fn pause() -> Duration {
    settings().back_off.max + SECOND
}

pub(crate) fn group(text: &str) -> GroupName {
    text.parse().expect("a name of a group")
}

pub(crate) fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("above 0")
}

/// The streams and versions of events, such as `order-1{k}@0`.
pub(crate) fn texts(events: &[RecordedEvent]) -> Vec<String> {
    events.iter().map(|event| format!("{}@{}", event.stream(), event.version())).collect()
}

/// The versions of the events of each stream, in their order.
pub(crate) fn by_stream<'e>(
    events: impl IntoIterator<Item = &'e RecordedEvent>,
) -> BTreeMap<String, Vec<u64>> {
    let mut streams = BTreeMap::<_, Vec<_>>::new();
    for event in events {
        streams.entry(event.stream().to_owned()).or_default().push(event.version().get());
    }
    streams
}

/// A stream in another partition than [`ONE`] and [`TWO`], if the store has several.
pub(crate) fn far(partitions: u16) -> String {
    let near = Lane::of(StreamName::partition_key_of(ONE)).partition(partitions);
    let is_far = |stream: &String| {
        partitions == 1 || Lane::of(StreamName::partition_key_of(stream)).partition(partitions) != near
    };
    (0..).map(|number| format!("far-{number}")).find(is_far).expect("some stream is in another partition")
}

/// A store with its groups and their clock, and the common calls.
pub(crate) struct World<'a> {
    harness: &'a dyn GroupHarness,
    /// Absent only during a restart.
    served: RwLock<Option<Served>>,
    /// The number of the next event.
    next: AtomicU32,
}

impl<'a> World<'a> {
    pub(crate) fn new(harness: &'a dyn GroupHarness) -> Self {
        Self { harness, served: RwLock::new(Some(harness.serve())), next: AtomicU32::new(1) }
    }

    fn served<T>(&self, look: impl FnOnce(&Served) -> T) -> T {
        let served = self.served.read().expect("no restart panicked");
        look(served.as_ref().expect("groups between restarts"))
    }

    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        self.served(|served| Arc::clone(&served.store))
    }

    pub(crate) fn groups(&self) -> Arc<dyn Groups> {
        self.served(|served| Arc::clone(&served.groups))
    }

    /// Closes the groups and serves them again, on the same stores.
    pub(crate) fn restart(&self) {
        self.serve_again(|served| self.harness.restart(served));
    }

    /// Ends the groups as a crash does, and serves them again.
    pub(crate) fn crash(&self) {
        self.serve_again(|served| self.harness.crash(served));
    }

    fn serve_again(&self, serve: impl FnOnce(Served) -> Served) {
        {
            let mut served = self.served.write().expect("no restart panicked");
            let ended = served.take().expect("groups between restarts");
            *served = Some(serve(ended));
        }
        self.wait_for_starts();
    }

    /// Waits until every group has been taken over. Until then, some calls are refused as `Unavailable`.
    fn wait_for_starts(&self) {
        let begin = Instant::now();
        while self.list().iter().any(|status| status.state == GroupState::Starting) {
            assert!(begin.elapsed() < PATIENCE, "the groups start: {:?}", self.list());
            std::thread::yield_now();
        }
    }

    /// Runs a call of the groups to its end, or fails the law if it has none.
    pub(crate) fn within<T: Send + 'static>(
        &self,
        what: &str,
        call: impl FnOnce(Arc<dyn Groups>) -> BoxFuture<'static, T> + Send + 'static,
    ) -> T {
        let (sender, receiver) = channel();
        let groups = self.groups();
        std::thread::spawn(move || sender.send(block_on(call(groups))));
        match receiver.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => panic!("{what}: no answer within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("{what}: the call panicked"),
        }
    }

    // Events.

    /// Appends one event to each of these streams, in this order. Returns the numbers of the events.
    pub(crate) fn append(&self, streams: &[&str]) -> Vec<u32> {
        streams.iter().map(|stream| self.append_typed(stream, TYPE)).collect()
    }

    /// Appends an event of this type. Returns its number.
    pub(crate) fn append_typed(&self, stream: &str, text: &str) -> u32 {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let batch = Batch::new([typed(stream, number, text)]);
        block_on(self.store().append(batch)).unwrap_or_else(|error| panic!("append: {error}"));
        number
    }

    /// The streams of markers, one in each partition.
    fn markers(&self) -> Vec<String> {
        let partitions = self.store().capabilities().partitions;
        let in_partition = |partition: u16| {
            let mut names = (0..).map(|number| format!("{MARKER}-{{{number}}}"));
            names.find(|name| Lane::of(StreamName::partition_key_of(name)).partition(partitions) == partition)
        };
        (0..partitions).map(|partition| in_partition(partition).expect("names without end")).collect()
    }

    // Time.

    /// Lets time pass for the groups.
    pub(crate) fn pass(&self, time: Duration) {
        self.served(|served| self.harness.advance(served, time));
    }

    // Groups.

    /// Creates the group of the law, and waits until it deals.
    pub(crate) fn create(&self, settings: GroupSettings) -> SettingsVersion {
        let version = self.put(GROUP, settings, None).unwrap_or_else(|error| panic!("created: {error}"));
        self.wait_for_starts();
        version
    }

    pub(crate) fn put(
        &self,
        name: &str,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> Result<SettingsVersion, PutError> {
        let name = group(name);
        self.within("put", move |groups| Box::pin(async move { groups.put(name, settings, expect).await }))
    }

    pub(crate) fn remove(&self) -> Result<(), ChangeError> {
        self.within("remove", |groups| Box::pin(async move { groups.remove(group(GROUP)).await }))
    }

    pub(crate) fn list(&self) -> Vec<GroupStatus> {
        let listed = self.within("list", |groups| Box::pin(async move { groups.list().await }));
        listed.unwrap_or_else(|error| panic!("listed: {error}"))
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let status = self.within("get", |groups| Box::pin(async move { groups.get(group(GROUP)).await }));
        status.unwrap_or_else(|error| panic!("the status: {error}"))
    }

    /// Waits until the status is as a law needs it. Every look lets the groups go on.
    pub(crate) fn status_when(&self, what: &str, is_so: impl Fn(&GroupStatus) -> bool) -> GroupStatus {
        let begin = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "{what}: {status:?}");
            std::thread::yield_now();
        }
    }

    /// Waits until the group has read everything that was appended, if it reads at all.
    pub(crate) fn wait_until_read(&self) {
        self.status_when("everything is read", |status| {
            let is_read = status.scanned == status.head || status.is_window_full;
            is_read || matches!(status.state, GroupState::Paused { .. } | GroupState::Stopped { .. })
        });
    }

    pub(crate) fn pause(&self) {
        self.operate("pause", |groups| {
            Box::pin(async move { groups.pause(group(GROUP), "ops".to_owned()).await })
        });
    }

    pub(crate) fn resume(&self) {
        self.operate("resume", |groups| Box::pin(async move { groups.resume(group(GROUP)).await }));
    }

    /// Replays streams; all if none is named.
    pub(crate) fn replay(&self, streams: &[&str]) -> Result<u32, ChangeError> {
        let streams = streams.iter().map(|stream| name(stream)).collect();
        self.within("replay", |groups| Box::pin(async move { groups.replay(group(GROUP), streams).await }))
    }

    pub(crate) fn skip(&self, stream: &str, through: u64) -> Result<(), ChangeError> {
        let (stream, through) = (name(stream), Version::new(through));
        self.within("skip", move |groups| {
            let (by, reason) = ("ops".to_owned(), "a law".to_owned());
            Box::pin(async move { groups.skip(group(GROUP), stream, through, by, reason).await })
        })
    }

    pub(crate) fn reset(&self, to: To) -> Result<Reset, ChangeError> {
        self.within("reset", |groups| Box::pin(async move { groups.reset(group(GROUP), to).await }))
    }

    pub(crate) fn parked(&self) -> Vec<Parked> {
        let parked = self.within("parked", |groups| {
            Box::pin(async move { groups.parked(group(GROUP), None, count(100)).await })
        });
        parked.unwrap_or_else(|error| panic!("parked: {error}"))
    }

    /// Runs a change that must succeed.
    fn operate<T: Send + 'static>(
        &self,
        what: &str,
        call: impl FnOnce(Arc<dyn Groups>) -> BoxFuture<'static, Result<T, ChangeError>> + Send + 'static,
    ) -> T {
        self.within(what, call).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// A member that holds nothing.
    pub(crate) fn member(&self, name: &str) -> Member<'_> {
        Member::new(self, name)
    }
}
