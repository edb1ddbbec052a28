//! Groups in their simplest form, in memory: every call looks at everything, under one lock. The laws of groups, and
//! servers of groups, are tried on them.
//!
//! They keep their state when they restart, as rows in a key-value store would. With a [`GroupBug`] they break a promise.

mod calls;
mod group;
mod stream;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use event_listener::Event;
use gesta_consumer::group::{
    ChangeError, GroupName, GroupSettings, GroupStatus, Groups, Held, LookError, Parked, PutError, Reset,
    SettingsVersion, Take, TakeError, Taken, To,
};
use gesta_consumer::{Clock as _, TestClock};
use gesta_core::{
    BoxFuture, Checkpoint, EventStore, MemoryStore, Read, ReadError, StoreId, StreamName, Timestamp, Version,
    When,
};
use pollster::block_on;

use super::{GroupHarness, Served};
use group::Group;

/// A promise that [`SimpleGroups`] can break, so that each law is seen to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the name of a bug states it")]
pub enum GroupBug {
    CreatesTwice,
    ChangesBlindly,
    KeepsIdsAfterRemoval,
    IgnoresFrom,
    AddsItemsForThePast,
    TakesItemsAwayAtOnce,
    DealsStreamsTwice,
    IgnoresRunMax,
    IgnoresMax,
    IgnoresInFlightMax,
    TakesAnyCount,
    LeavesOlderCallsOpen,
    NeverGivesAgain,
    NeverExpires,
    ExpiresWhatIsHeld,
    DropsLateSettlements,
    TakesIdsOfOthers,
    RetriesAtOnce,
    CountsNoAttempts,
    CountsReleases,
    KeepsRunsAfterAFailure,
    GoesOnPastParked,
    ForgetsErrors,
    ReplaysFromTheNextEvent,
    SkipsOnlyInMemory,
    StopsForNobody,
    DealsWhilePaused,
    RefusesSettlementsWhilePaused,
    ResetsWhileBusy,
    KeepsParkedOverAReset,
    IgnoresTheOrderOfTheLog,
    DealsAPartitionToAnyMember,
    AcceptsForeignPlaces,
    ParksDespiteStop,
    ListsAllParkedAtOnce,
    ForgetsHandledAtRestart,
    ForgetsPausesAtRestart,
    ForgetsParkedAtRestart,
    KeepsIdsOverARestart,
    ParksDuringAnOutage,
    ReplaysOthersToo,
    SettlesMalformedCalls,
}

/// The groups of a store.
struct Simple {
    store: Arc<dyn EventStore>,
    clock: TestClock,
    bug: Option<GroupBug>,
    state: Mutex<State>,
    changed: Event,
}

#[derive(Clone, Default)]
struct State {
    groups: BTreeMap<GroupName, Group>,
    /// The number of the next delivery, over all groups.
    next: u64,
}

impl Simple {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no call has panicked")
    }

    fn has(&self, bug: GroupBug) -> bool {
        self.bug == Some(bug)
    }

    fn head(&self) -> Checkpoint {
        block_on(self.store.locate(When::Head)).expect("the head")
    }

    /// Runs a call on a group that has read everything, and wakes the members.
    fn on<T, E>(
        &self,
        name: &GroupName,
        missing: impl FnOnce(GroupName) -> E,
        run: impl FnOnce(&mut Group, &mut u64) -> Result<T, E>,
    ) -> Result<T, E> {
        let answer = self.on_quietly(name, missing, run);
        self.changed.notify(usize::MAX);
        answer
    }

    /// Runs a call that changes nothing for other members.
    fn on_quietly<T, E>(
        &self,
        name: &GroupName,
        missing: impl FnOnce(GroupName) -> E,
        run: impl FnOnce(&mut Group, &mut u64) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.lock();
        let State { groups, next } = &mut *state;
        let group = groups.get_mut(name).ok_or_else(|| missing(name.clone()))?;
        group.scan(&*self.store);
        group.expire(self.clock.elapsed());
        run(group, next)
    }

    fn change<T>(
        &self,
        name: &GroupName,
        run: impl FnOnce(&mut Group) -> Result<T, ChangeError>,
    ) -> Result<T, ChangeError> {
        self.on(name, |group| ChangeError::NoGroup { group }, |group, _| run(group))
    }

    fn look<T>(&self, name: &GroupName, run: impl FnOnce(&Group) -> T) -> Result<T, LookError> {
        self.on_quietly(name, |group| LookError::NoGroup { group }, |group, _| Ok(run(group)))
    }

    fn place(&self, to: To) -> Result<Checkpoint, ReadError> {
        match to {
            To::Start => block_on(self.store.locate(When::Start)),
            To::Now => Ok(self.head()),
            To::At(checkpoint) => Ok(checkpoint),
            To::Time(time) => block_on(self.store.locate(When::RecordedUpTo(time))),
        }
    }

    fn put_now(
        &self,
        name: GroupName,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> Result<SettingsVersion, PutError> {
        settings.check()?;
        let head = self.head();
        let checked = gesta_core::check_query(&settings.query, self.store.capabilities());
        checked.map_err(|error| PutError::Query(error.into()))?;
        if !self.has(GroupBug::AcceptsForeignPlaces) {
            let read = Read::log_from(settings.query.clone(), settings.from.clone());
            block_on(self.store.read(read)).map_err(PutError::Place)?;
        }
        let mut state = self.lock();
        let Some(group) = state.groups.get_mut(&name) else {
            return match expect {
                Some(_) => Err(PutError::NoGroup { group: name }),
                None => {
                    let start = block_on(self.store.locate(When::Start)).expect("the start");
                    let group = Group::new(name.clone(), settings, start, head, self.bug);
                    state.groups.insert(name, group);
                    Ok(SettingsVersion::FIRST)
                }
            };
        };
        group.scan(&*self.store);
        group.put(settings, expect, &head)
    }

    async fn take_later(&self, name: GroupName, take: Take) -> Result<Taken, TakeError> {
        if !self.has(GroupBug::SettlesMalformedCalls) {
            take.check()?;
        }
        let until = self.clock.elapsed() + take.wait;
        let missing = |group| TakeError::NoGroup { group };
        let call = self.on(&name, missing, |group, _| Ok(group.begin(&take, self.clock.elapsed())))?;
        let mut open = Open { simple: self, name: &name, member: take.member.clone(), call: call.number };
        let mut refused = Some(call.refused);
        loop {
            let listener = self.changed.listen();
            let now = self.clock.elapsed();
            let (answer, at, scanned) = self.on_quietly(&name, missing, |group, next| {
                let answer = group.deal(&take, call.number, now, next)?;
                Ok((answer, group.next_moment(now), group.scanned.clone()))
            })?;
            let is_over = take.max == 0 || now >= until;
            if let Some(deliveries) = answer.or_else(|| is_over.then(Vec::new)) {
                open.call = u64::MAX;
                return Ok(Taken { deliveries, refused: refused.take().unwrap_or_default() });
            }
            let grown = self.store.wait_past(scanned);
            let moment = self.clock.wait(at.map_or(until, |at| at.min(until)));
            first([Box::pin(async { drop(grown.await) }), moment, Box::pin(listener)]).await;
        }
    }
}

/// Ends with the first future that ends.
async fn first(mut futures: [BoxFuture<'_, ()>; 3]) {
    std::future::poll_fn(|context| {
        let is_over = futures.iter_mut().any(|future| future.as_mut().poll(context).is_ready());
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// An open call. The member is no longer there when it is dropped.
struct Open<'a> {
    simple: &'a Simple,
    name: &'a GroupName,
    member: gesta_consumer::group::MemberName,
    call: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.simple.lock();
        if let Some(group) = state.groups.get_mut(self.name) {
            group.close(&self.member, self.call);
        }
    }
}

type Answer<'a, T, E> = BoxFuture<'a, Result<T, E>>;

impl Groups for Simple {
    fn put(
        &self,
        group: GroupName,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> Answer<'_, SettingsVersion, PutError> {
        Box::pin(async move { self.put_now(group, settings, expect) })
    }

    fn narrow(&self, group: GroupName) -> Answer<'_, SettingsVersion, ChangeError> {
        Box::pin(async move { self.change(&group, |_| Err(ChangeError::NotHosted { group: group.clone() })) })
    }

    fn remove(&self, group: GroupName) -> Answer<'_, (), ChangeError> {
        Box::pin(async move {
            let mut state = self.lock();
            let removed = state.groups.remove(&group).ok_or(ChangeError::NoGroup { group })?;
            if self.has(GroupBug::KeepsIdsAfterRemoval) {
                state.next = removed.first_id();
            }
            Ok(())
        })
    }

    fn get(&self, group: GroupName) -> Answer<'_, GroupStatus, LookError> {
        Box::pin(async move { self.look(&group, |group| group.status(&self.head(), self.clock.elapsed())) })
    }

    fn list(&self) -> Answer<'_, Vec<GroupStatus>, LookError> {
        Box::pin(async move {
            let names = self.lock().groups.keys().cloned().collect::<Vec<_>>();
            let status = |name| self.look(name, |group| group.status(&self.head(), self.clock.elapsed()));
            names.iter().map(status).collect()
        })
    }

    fn take(&self, group: GroupName, take: Take) -> Answer<'_, Taken, TakeError> {
        Box::pin(self.take_later(group, take))
    }

    fn parked(
        &self,
        group: GroupName,
        after: Option<StreamName>,
        limit: NonZeroU32,
    ) -> Answer<'_, Vec<Parked>, LookError> {
        Box::pin(async move { self.look(&group, |group| group.parked(after.as_ref(), limit)) })
    }

    fn held(
        &self,
        group: GroupName,
        stream: StreamName,
        limit: NonZeroU32,
    ) -> Answer<'_, Option<Held>, LookError> {
        Box::pin(async move { self.look(&group, |group| group.held(&stream, limit)) })
    }

    fn replay(&self, group: GroupName, streams: Vec<StreamName>) -> Answer<'_, u32, ChangeError> {
        Box::pin(async move { self.change(&group, |group| group.replay(&streams)) })
    }

    fn skip(
        &self,
        group: GroupName,
        stream: StreamName,
        through: Version,
        _: String,
        _: String,
    ) -> Answer<'_, (), ChangeError> {
        Box::pin(async move { self.change(&group, |group| group.skip(&stream, through)) })
    }

    fn pause(&self, group: GroupName, by: String) -> Answer<'_, (), ChangeError> {
        let since = self.clock.now();
        Box::pin(async move { self.change(&group, |group| group.pause(by, since)) })
    }

    fn resume(&self, group: GroupName) -> Answer<'_, (), ChangeError> {
        Box::pin(async move { self.change(&group, Group::resume) })
    }

    fn reset(&self, group: GroupName, to: To) -> Answer<'_, Reset, ChangeError> {
        Box::pin(async move {
            let at = self.place(to).map_err(ChangeError::Place)?;
            self.change(&group, |group| group.reset(at))
        })
    }
}

/// The harness of groups in their simplest form, on the in-memory store.
pub struct SimpleGroups {
    partitions: u16,
    bug: Option<GroupBug>,
    clock: TestClock,
}

impl SimpleGroups {
    /// Creates a harness for groups on stores with `partitions` partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        Self { partitions, bug: None, clock: TestClock::default() }
    }

    /// Plants a bug.
    #[must_use]
    pub fn with(self, bug: GroupBug) -> Self {
        Self { bug: Some(bug), ..self }
    }

    fn served(&self, store: Arc<dyn EventStore>, state: State) -> Served {
        let groups = Arc::new(Simple {
            store: Arc::clone(&store),
            clock: self.clock.clone(),
            bug: self.bug,
            state: Mutex::new(state),
            changed: Event::new(),
        });
        Served { groups: groups.clone(), store, owner: Box::new(groups) }
    }
}

impl GroupHarness for SimpleGroups {
    fn serve(&self) -> Served {
        let clock = self.clock.clone();
        let store = MemoryStore::new(StoreId::from_bytes([7; 16]), self.partitions, move || clock.now());
        self.served(Arc::new(store), State::default())
    }

    fn restart(&self, served: Served) -> Served {
        let simple = served.owner.downcast::<Arc<Simple>>().expect("the groups are of this harness");
        let mut state = simple.lock().clone();
        state.groups.values_mut().for_each(Group::restart);
        if self.bug == Some(GroupBug::KeepsIdsOverARestart) {
            state.next = 0;
        }
        self.served(served.store, state)
    }

    fn crash(&self, served: Served) -> Served {
        self.restart(served)
    }

    fn advance(&self, _: &Served, by: Duration) {
        self.clock.advance(by);
    }
}

/// The wall time at which nothing is parked by a rule.
pub(super) const LONG_AGO: Timestamp = Timestamp::from_nanos(0);
/// The failed streams without a success between that make an outage.
pub(super) const OUTAGE: usize = 16;
