//! Proves on a log that the code reads what is stored: events decode and fit their schemas, streams fold.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use bytes::Bytes;
use gesta_core::{
    Category, Checkpoint, EventStore, EventType, Item, Limit, Listing, Place, Query, Read, ReadError,
    RecordedEvent, When,
};

use super::catalog::Catalog;
use super::files::{FileError, LockFiles};
use super::finding::Finding;
use super::lock::Lock;
use super::prove::{Unread, read};
use crate::app::App;
use crate::handle::Gesta;

/// Streams that are folded in each category, unless a sample says otherwise.
const STREAMS: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// How much of a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Every event of the types in the lock and in the code, and 100 streams of each category.
    All,
    /// The first event of each type, the last one, and this number in between, at even distances in the log; where neighbours
    /// among these have different versions, also the events at which the version changes. This number of streams of each category.
    ///
    /// A version whose events all lie between two neighbours of another one is missed: see [`StoredProof::unmet`].
    Sample(NonZeroU32),
}

impl Amount {
    const fn streams(self) -> NonZeroU32 {
        match self {
            Self::All => STREAMS,
            Self::Sample(count) => count,
        }
    }
}

/// A log with the code that is to read it.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The log.
    pub gesta: &'a Gesta,
    /// The application, whose deciders fold the streams of their categories.
    pub app: &'a App,
    /// The event enums.
    pub catalog: &'a Catalog,
    /// The released versions.
    pub lock: &'a Lock,
}

/// What was read of a log, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredProof {
    /// What is wrong: of each type and version the first event that is not read, and each stream that does not fold.
    pub findings: Vec<Finding>,
    /// The events that were decoded.
    pub events: u64,
    /// The types and versions that were met, each with the number of its events.
    pub met: BTreeMap<(String, u16), u64>,
    /// The versions of the lock that were not met. After a sample, the log may have events of them.
    pub unmet: Vec<(String, u16)>,
    /// The streams that were folded.
    pub streams: u64,
}

/// Reads a log with the code. Writes nothing.
///
/// # Errors
/// [`ReadError`] of the store. An event that the code does not read is a [`Finding`].
pub async fn prove_stored(stored: Stored<'_>, amount: Amount) -> Result<StoredProof, ReadError> {
    let mut proof = StoredProof::default();
    let store = &**stored.gesta.event_store();
    let mut types = stored.lock.versions().map(|(event_type, ..)| event_type).collect::<BTreeSet<&str>>();
    // A lock that was begun late does not have the names that were gone by then.
    for name in stored.catalog.names() {
        types.insert(name);
    }
    let types =
        types.into_iter().filter_map(|event_type| EventType::new(event_type).ok()).collect::<Vec<_>>();
    match amount {
        _ if types.is_empty() => {}
        Amount::All => {
            let (query, mut from) = (of_types(types), Place::Start);
            loop {
                let page = store.read(Read::log_from(query.clone(), from)).await?;
                page.events.iter().for_each(|event| proof.event(stored, event));
                if page.end {
                    break;
                }
                from = Place::At(page.scanned_to);
            }
        }
        Amount::Sample(count) => {
            for event_type in types {
                for event in sample(store, of_types(vec![event_type]), count).await?.values() {
                    proof.event(stored, event);
                }
            }
        }
    }
    let versions = stored.lock.versions().map(|(event_type, version, _)| (event_type.to_owned(), version));
    proof.unmet = versions.filter(|version| !proof.met.contains_key(version)).collect();
    for decider in stored.app.deciders() {
        proof.category(stored, decider.category, amount.streams()).await?;
    }
    Ok(proof)
}

impl StoredProof {
    fn event(&mut self, stored: Stored<'_>, event: &RecordedEvent) {
        let (event_type, version) = (event.event_type(), event.schema_version());
        self.events += 1;
        *self.met.entry((event_type.to_owned(), version)).or_default() += 1;
        let data = event.data_slice();
        if let Err(Unread { problem, remedy }) = read(stored.catalog, stored.lock, event_type, version, data)
        {
            let is_known = self
                .findings
                .iter()
                .any(|known| known.event_type == event_type && known.version == Some(version));
            if !is_known {
                self.findings.push(Finding::error(event_type, version, problem, remedy).at(event.position()));
            }
        }
    }

    async fn category(
        &mut self,
        stored: Stored<'_>,
        category: &str,
        limit: NonZeroU32,
    ) -> Result<(), ReadError> {
        let Ok(of_category) = Category::new(category) else { return Ok(()) };
        let listing = Listing { category: Some(of_category), after: None, limit };
        let page = stored.gesta.event_store().streams(listing).await?;
        for info in page.streams {
            let stream = info.name.as_str();
            let Some((_, id)) = stream.split_once('-') else { continue };
            self.streams += 1;
            if let Err(error) = stored.app.state(stored.gesta, category, id, None).await {
                let problem = format!("does not fold: {}", gesta_core::with_causes(&error));
                let remedy = "correct the state, or the event that it names";
                self.findings.push(Finding::error(&format!("stream {stream}"), None, problem, remedy));
            }
        }
        Ok(())
    }
}

fn of_types(types: Vec<EventType>) -> Query {
    Item { types, ..Item::default() }.into()
}

/// The first event of a query, the last one, and `count` in between, by partition and sequence.
async fn sample(
    store: &dyn EventStore,
    query: Query,
    count: NonZeroU32,
) -> Result<BTreeMap<(u16, u64), RecordedEvent>, ReadError> {
    let one = Limit::events(NonZeroU32::MIN);
    let mut found = BTreeMap::new();
    let place = |event: &RecordedEvent| (event.position().partition, event.position().sequence);
    let last = store.read(Read::log_from(query.clone(), Place::End).backward().limit(one)).await?;
    found.extend(last.events.into_iter().next().map(|event| (place(&event), event)));
    let head = store.locate(When::Head).await?;
    for part in 0..=count.get() {
        let from = Place::At(at_part(&head, part, count.get() + 1));
        // A page moves by whole batches, so it may hold more than one event.
        let page = store.read(Read::log_from(query.clone(), from).limit(one)).await?;
        found.extend(page.events.into_iter().next().map(|event| (place(&event), event)));
    }
    if store.capabilities().partitions == 1 {
        find_changes(store, &query, &head, &mut found).await?;
    }
    Ok(found)
}

/// Two events of different versions. No event that the query selects lies at `bound` or between it and the later one.
struct Change {
    low: (u64, u16),
    bound: u64,
    high_version: u16,
}

/// Adds the events at which the version changes between two that were found, by bisection.
async fn find_changes(
    store: &dyn EventStore,
    query: &Query,
    head: &Checkpoint,
    found: &mut BTreeMap<(u16, u64), RecordedEvent>,
) -> Result<(), ReadError> {
    let known = found.iter().map(|((_, sequence), event)| (*sequence, event.schema_version()));
    let known = known.collect::<Vec<_>>();
    let change = |low, (bound, high_version)| Change { low, bound, high_version };
    let mut changes = known.windows(2).map(|pair| change(pair[0], pair[1])).collect::<Vec<_>>();
    while let Some(Change { low, bound, high_version }) = changes.pop() {
        let middle = u64::midpoint(low.0, bound);
        if low.1 == high_version || bound - low.0 < 2 {
            continue;
        }
        let from = Place::At(Checkpoint::new(head.store(), [middle]));
        let read = Read::log_from(query.clone(), from).limit(Limit::events(NonZeroU32::MIN));
        let next = store.read(read).await?.events.into_iter().next();
        let Some(next) = next.filter(|next| next.position().sequence < bound) else {
            if middle > low.0 {
                changes.push(change(low, (middle + 1, high_version)));
            }
            continue;
        };
        let at = (next.position().sequence, next.schema_version());
        changes.push(change(low, at));
        changes.push(change(at, (bound, high_version)));
        found.insert((next.position().partition, at.0), next);
    }
    Ok(())
}

/// The place at `part` of `parts` of the way from the start to the head, in each partition.
fn at_part(head: &Checkpoint, part: u32, parts: u32) -> Checkpoint {
    let place = |sequence: u64| {
        let place = u128::from(sequence) * u128::from(part) / u128::from(parts);
        u64::try_from(place).unwrap_or(sequence)
    };
    Checkpoint::new(head.store(), head.sequences().map(place))
}

/// The first stored event of each version in the lock that has no sample: type, schema version and data.
///
/// # Errors
/// [`StoredSamplesError`].
pub async fn stored_samples(
    store: &dyn EventStore,
    lock: &Lock,
    files: &LockFiles,
) -> Result<Vec<(String, u16, Bytes)>, StoredSamplesError> {
    let mut wanted: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    for (event_type, version, _) in lock.versions() {
        if files.samples(event_type, version)?.is_empty() {
            wanted.entry(event_type).or_default().insert(version);
        }
    }
    let mut found = Vec::new();
    for (event_type, mut versions) in wanted {
        let Ok(query) = EventType::new(event_type).map(|event_type| of_types(vec![event_type])) else {
            continue;
        };
        let mut from = Place::Start;
        while !versions.is_empty() {
            let page = store.read(Read::log_from(query.clone(), from)).await?;
            for event in &page.events {
                if versions.remove(&event.schema_version()) {
                    found.push((event_type.to_owned(), event.schema_version(), event.data()));
                }
            }
            if page.end {
                break;
            }
            from = Place::At(page.scanned_to);
        }
    }
    Ok(found)
}

/// Stored events cannot be taken as samples.
#[derive(Debug, thiserror::Error)]
pub enum StoredSamplesError {
    /// The store does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The samples that are there cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}
