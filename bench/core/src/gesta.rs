//! Gesta in process, with each kind of call.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use gesta_core::{
    Batch, Checkpoint, Direction, EventId, EventStore, EventType, Limit, NewEvent, Page, Place, Query, Read,
    RecordedEvent, Select, StreamName, Tag, Timestamp, Version,
};
use gesta_log::{LogStore, Options};

use crate::event::{DATA, Event};
use crate::rival::{BoxFuture, Client, Drive, Guard, Rival, ready};

/// The kind of call that clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The blocking call, on a thread for each client.
    Blocking,
    /// The asynchronous call, on a thread for each client that waits for it.
    OnThreads,
    /// The asynchronous call, in a task of a runtime.
    InTasks,
}

/// The embedded log under load.
pub struct Gesta {
    log: Arc<LogStore>,
    call: Call,
    direction: Direction,
}

impl Gesta {
    /// Opens a log in a folder with default options.
    ///
    /// # Panics
    /// If it cannot be opened.
    #[must_use]
    pub fn open(folder: &Path, call: Call) -> Self {
        Self::open_with(folder, call, &Options::default())
    }

    /// Opens a log in a folder with the given options.
    ///
    /// # Panics
    /// If it cannot be opened.
    #[must_use]
    pub fn open_with(folder: &Path, call: Call, options: &Options) -> Self {
        let log = LogStore::open(folder, options).expect("a log");
        Self { log: Arc::new(log), call, direction: Direction::Forward }
    }

    /// The same log with clients that read the newest events first.
    #[must_use]
    pub fn newest_first(self) -> Self {
        Self { direction: Direction::Backward, ..self }
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &Arc<LogStore> {
        &self.log
    }
}

impl Rival for Gesta {
    fn drive(&self) -> Drive {
        match self.call {
            Call::Blocking | Call::OnThreads => Drive::Threads,
            Call::InTasks => Drive::Tasks,
        }
    }

    fn takes(&self, _guard: Guard) -> bool {
        true
    }

    fn client(&self, number: u64) -> Box<dyn Client> {
        let (log, call, direction) = (Arc::clone(&self.log), self.call, self.direction);
        Box::new(GestaClient { log, call, direction, number, seen: None })
    }
}

struct GestaClient {
    log: Arc<LogStore>,
    call: Call,
    direction: Direction,
    number: u64,
    /// The end of its last append.
    seen: Option<Checkpoint>,
}

impl Client for GestaClient {
    fn append<'a>(&'a mut self, events: &'a [Event], guard: Guard) -> BoxFuture<'a, ()> {
        let mut batch = batch_of(events);
        if guard == Guard::OwnTag {
            batch = batch.fail_if(Query::tags([tag_name(self.number)]), self.seen.clone());
        }
        match self.call {
            Call::Blocking => {
                self.seen = Some(self.log.append_blocking(batch).expect("an append").checkpoint);
                ready(())
            }
            Call::OnThreads | Call::InTasks => Box::pin(async move {
                self.seen = Some(self.log.append(batch).await.expect("an append").checkpoint);
            }),
        }
    }

    fn read_all(&mut self) -> BoxFuture<'_, u64> {
        let first = match self.direction {
            Direction::Forward => Place::Start,
            Direction::Backward => Place::End,
        };
        Box::pin(self.read(Read::log_from(Query::All, first), |page| {
            Read::log_from(Query::All, Place::At(page.scanned_to.clone()))
        }))
    }

    fn read_stream(&mut self, stream: u64) -> BoxFuture<'_, u64> {
        let name = stream_name(stream);
        let next = {
            let (direction, name) = (self.direction, name.clone());
            move |page: &Page| {
                let last = page.events.last().map(RecordedEvent::version);
                let from = last.map(|last| match direction {
                    Direction::Forward => last.next(),
                    Direction::Backward => Version::new(last.get().saturating_sub(1)),
                });
                Select::Stream { name: name.clone(), from }.into()
            }
        };
        Box::pin(self.read(Read::stream(name), next))
    }
}

impl GestaClient {
    /// Reads page after page.
    async fn read(&self, first: Read, next: impl Fn(&Page) -> Read) -> u64 {
        let limit = Limit::events(10_000.try_into().expect("not zero"));
        let direction = self.direction;
        let (mut read, mut count) = (Read { direction, ..first.limit(limit) }, 0);
        loop {
            let page = match self.call {
                Call::Blocking => self.log.read_blocking(&read),
                Call::OnThreads | Call::InTasks => self.log.read(read).await,
            };
            let page = page.expect("a page");
            assert!(
                page.events.iter().all(|event| event.data_slice().len() == DATA.len()),
                "events are whole"
            );
            count += page.events.len() as u64;
            if page.end {
                return count;
            }
            read = Read { direction, ..next(&page).limit(limit) };
        }
    }
}

/// Converts events to a batch for Gesta.
#[must_use]
pub fn batch_of(events: &[Event]) -> Batch {
    static KIND: LazyLock<EventType> = LazyLock::new(|| "bench.happened".parse().expect("a type"));
    // Real clients keep their names: only a change of stream makes a new name.
    let mut stream: Option<(u64, StreamName)> = None;
    Batch::new(events.iter().map(|event| {
        let (_, name) = match &mut stream {
            Some(last) if last.0 == event.stream => last,
            last => last.insert((event.stream, stream_name(event.stream))),
        };
        let data = Bytes::from_static(&DATA);
        let (id, time) = (EventId::from_u128(event.id), Timestamp::from_nanos(1));
        NewEvent::json(id, name.clone(), KIND.clone(), time, data).with_tags(event.tag.map(tag_name))
    }))
}

/// The name of a stream of the load.
///
/// # Panics
/// Never: every number makes a name.
#[must_use]
pub fn stream_name(number: u64) -> StreamName {
    format!("bench-{number}").parse().expect("a name")
}

/// A tag of the load.
///
/// # Panics
/// Never: every number makes a tag.
#[must_use]
pub fn tag_name(number: u64) -> Tag {
    format!("bench:{number}").parse().expect("a tag")
}
