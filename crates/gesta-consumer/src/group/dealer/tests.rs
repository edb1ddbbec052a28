//! A dealer on a log in memory, stepped by hand: one rule a test.

mod dealing;
mod failing;
mod operators;
mod putting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use gesta_core::{
    Batch, Checkpoint, EventId, KeyValueError, MemoryStore, NewEvent, Place, Query, Read, Revision, StoreId,
    Timestamp,
};

use super::{Bounds, Change, Changed, Config, Dealer, DealerStatus, Input, Output, Row};
use crate::group::error::{ChangeError, PutError, TakeError};
use crate::group::settings::{GroupSettings, SettingsVersion};
use crate::group::take::{Settlement, Take, Taken, Then};
use crate::group::{Delivery, DeliveryId};

/// A second.
const SECOND: Duration = Duration::from_secs(1);

/// A dealer whose reads and puts are done at once.
struct Bench {
    store: Arc<MemoryStore>,
    dealer: Dealer,
    elapsed: Duration,
    row: Option<(bytes::Bytes, u64)>,
    revision: u64,
    /// The answer to every operation on the row, if it fails.
    fails: Option<KeyValueError>,
    /// True while puts are held back, and the put that is.
    holds_puts: bool,
    held_put: Option<(bytes::Bytes, Revision)>,
    waits: Vec<(u64, Checkpoint)>,
    calls: u64,
    taken: BTreeMap<u64, Result<Taken, TakeError>>,
    changed: BTreeMap<u64, Result<Changed, ChangeError>>,
    settings_put: BTreeMap<u64, Result<SettingsVersion, PutError>>,
    ids: u128,
}

/// Settings for everything, with short pauses.
fn settings() -> GroupSettings {
    GroupSettings::new(Query::All)
}

fn memory(partitions: u16, number: u8) -> Arc<MemoryStore> {
    let time = AtomicI64::new(0);
    let clock = move || Timestamp::from_nanos(time.fetch_add(1, Ordering::Relaxed));
    Arc::new(MemoryStore::new(StoreId::from_bytes([number; 16]), partitions, clock))
}

fn name(text: &str) -> crate::group::MemberName {
    text.parse().unwrap()
}

impl Bench {
    fn new(settings: GroupSettings) -> Self {
        Self::with(settings, Bounds::default(), memory(1, 1))
    }

    fn with(settings: GroupSettings, bounds: Bounds, store: Arc<MemoryStore>) -> Self {
        let row = Row::new(settings, &head(&store));
        let row = Row { scanned: start_of(&store), ..row };
        Self::from_row(&row, bounds, store)
    }

    fn from_row(row: &Row, bounds: Bounds, store: Arc<MemoryStore>) -> Self {
        let config = Config { name: "g".parse().unwrap(), boot_epoch: 0, bounds };
        let (dealer, out) = Dealer::new(config, SECOND);
        let mut bench = Self {
            store,
            dealer,
            elapsed: SECOND,
            row: Some((row.encode(), 1)),
            revision: 1,
            fails: None,
            holds_puts: false,
            held_put: None,
            waits: Vec::new(),
            calls: 0,
            taken: BTreeMap::new(),
            changed: BTreeMap::new(),
            settings_put: BTreeMap::new(),
            ids: 0,
        };
        bench.carry_out(out);
        bench
    }

    /// Starts another dealer on the row, as after a crash.
    fn crashed(self) -> Self {
        let row = self.row();
        Self::from_row(&row, Bounds::default(), self.store)
    }

    fn row(&self) -> Row {
        Row::decode(&self.row.as_ref().unwrap().0).unwrap()
    }

    fn status(&self) -> DealerStatus {
        self.dealer.status().unwrap()
    }

    /// Appends one event to each stream, in one batch.
    fn append(&mut self, streams: &[&str]) {
        self.append_bytes(streams, 2);
    }

    fn append_bytes(&mut self, streams: &[&str], bytes: usize) {
        let events = streams.iter().map(|stream| {
            self.ids += 1;
            let (stream, kind) = (stream.parse().unwrap(), "a".parse().unwrap());
            NewEvent::json(
                EventId::from_u128(self.ids),
                stream,
                kind,
                Timestamp::from_nanos(0),
                vec![b'1'; bytes],
            )
        });
        self.store.append_now(Batch::new(events.collect::<Vec<_>>())).unwrap();
        let grown = std::mem::take(&mut self.waits);
        grown.into_iter().for_each(|(number, _)| self.step(Input::Grown(number, Ok(()))));
    }

    fn step(&mut self, input: Input) {
        let out = self.dealer.step(input, self.elapsed);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Get => {
                    let entry = self.row.clone().map(|(value, revision)| gesta_core::Entry {
                        value,
                        revision: Revision::new(revision),
                    });
                    let answer = self.fails.clone().map_or(Ok(entry), Err);
                    self.step(Input::Got(answer));
                }
                Output::Put { value, expect } if self.holds_puts => {
                    assert!(self.held_put.replace((value, expect)).is_none(), "one put is on its way");
                }
                Output::Put { value, expect } => {
                    let answer = self.write(Some(value), expect);
                    self.step(Input::Put(answer));
                }
                Output::Delete { expect } => {
                    let answer = self.write(None, expect).map(|_| ());
                    self.step(Input::Deleted(answer));
                }
                Output::Read(number, read) => {
                    let page = self.store.read_now(&read);
                    self.step(Input::Page(number, page));
                }
                Output::Refill(number, read) => {
                    let page = self.store.read_now(&read);
                    self.step(Input::Refilled(number, page));
                }
                Output::Wait(number, after) => match after.at_least(&head(&self.store)) {
                    true => self.waits.push((number, after)),
                    false => self.step(Input::Grown(number, Ok(()))),
                },
                Output::Taken(call, answer) => assert!(self.taken.insert(call, answer).is_none()),
                Output::Changed(call, answer) => assert!(self.changed.insert(call, answer).is_none()),
                Output::SettingsPut(call, answer) => {
                    assert!(self.settings_put.insert(call, answer).is_none());
                }
                Output::Words(_) | Output::Ended(_) => {}
            }
        }
    }

    fn write(&mut self, value: Option<bytes::Bytes>, expect: Revision) -> Result<Revision, KeyValueError> {
        if let Some(error) = &self.fails {
            return Err(error.clone());
        }
        let actual = self.row.as_ref().map(|(_, revision)| Revision::new(*revision));
        if actual != Some(expect) {
            return Err(KeyValueError::Changed { actual });
        }
        self.revision += 1;
        self.row = value.map(|value| (value, self.revision));
        Ok(Revision::new(self.revision))
    }

    /// Lets the put that is held back arrive, and all later ones.
    fn release_puts(&mut self) {
        self.holds_puts = false;
        let (value, expect) = self.held_put.take().expect("a put is held back");
        let answer = self.write(Some(value), expect);
        self.step(Input::Put(answer));
    }

    /// Lets time pass, with a tick whenever the dealer asks for one.
    fn advance(&mut self, by: Duration) {
        let until = self.elapsed + by;
        while self.elapsed < until {
            let next = self.dealer.next_step().unwrap_or(until);
            self.elapsed = next.max(self.elapsed + Duration::from_nanos(1)).min(until);
            self.step(Input::Tick);
        }
    }

    /// Calls for a member. Returns the number of the call.
    fn call(&mut self, take: Take) -> u64 {
        take.check().unwrap();
        self.calls += 1;
        self.step(Input::Take(self.calls, take));
        self.calls
    }

    /// Takes at most `max` events for a member that holds nothing, without a wait.
    fn take(&mut self, member: &str, max: u32) -> Vec<Delivery> {
        self.settle(member, max, Vec::new(), Vec::new()).unwrap().deliveries
    }

    fn settle(
        &mut self,
        member: &str,
        max: u32,
        holds: Vec<DeliveryId>,
        settle: Vec<Settlement>,
    ) -> Result<Taken, TakeError> {
        let take = Take { holds: Some(holds), settle, ..Take::new(name(member), max, Duration::ZERO) };
        let call = self.call(take);
        self.taken.remove(&call).unwrap()
    }

    /// Takes one delivery of at most `max` events and ends it.
    fn end(&mut self, member: &str, max: u32, handled: usize, then: Then) {
        let deliveries = self.take(member, max);
        let [delivery] = &deliveries[..] else { panic!("one delivery, not {deliveries:?}") };
        let taken = self.settle(member, 0, Vec::new(), vec![Settlement::then(delivery.id, handled, then)]);
        assert_eq!(taken.unwrap(), Taken::default());
    }

    fn change(&mut self, change: Change) -> Result<Changed, ChangeError> {
        self.calls += 1;
        let call = self.calls;
        self.step(Input::Change(call, change));
        self.changed.remove(&call).expect("the change was answered")
    }

    fn pause(&mut self) {
        self.change(Change::Pause { by: "ops".into(), at: Timestamp::from_nanos(7) }).unwrap();
    }
}

fn head(store: &MemoryStore) -> Checkpoint {
    store.read_now(&Read::log_from(Query::All, Place::End)).unwrap().head
}

fn start_of(store: &MemoryStore) -> Checkpoint {
    let head = head(store);
    Checkpoint::new(head.store(), head.sequences().map(|_| 0))
}

/// Each delivery as `stream: versions`, with the attempt if it is not the first.
fn shown(deliveries: &[Delivery]) -> Vec<String> {
    let one = |delivery: &Delivery| {
        let versions = delivery.events.iter().map(|event| event.version().to_string()).collect::<Vec<_>>();
        let attempt = match delivery.attempt {
            1 => String::new(),
            attempt => format!(" (attempt {attempt})"),
        };
        format!("{}: {}{attempt}", delivery.events[0].stream(), versions.join(" "))
    };
    deliveries.iter().map(one).collect()
}
