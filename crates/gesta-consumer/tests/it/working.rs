//! Workers on a group that answers as a test says.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_listener::{Event, Listener};
use gesta_consumer::group::*;
use gesta_consumer::*;
use gesta_core::*;
use pollster::block_on;

use crate::support::*;

/// Answers polls as listed, and reports with nothing. Keeps every call.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Result<Taken, TakeError>>>,
    refuse: Mutex<Vec<DeliveryId>>,
    calls: Mutex<Vec<Take>>,
    changed: Event,
}

impl Scripted {
    fn answer(&self, answer: Result<Taken, TakeError>) {
        self.answers.lock().unwrap().push_back(answer);
        self.changed.notify(usize::MAX);
    }

    fn deliver(&self, deliveries: impl IntoIterator<Item = Delivery>) {
        let deliveries = deliveries.into_iter().collect();
        self.answer(Ok(Taken { deliveries, refused: Vec::new() }));
    }

    /// Waits until the calls have settled `count` deliveries, and returns the settlements.
    fn settlements(&self, count: usize) -> Vec<Settlement> {
        loop {
            let listener = self.changed.listen();
            let calls = self.calls.lock().unwrap();
            let settled = calls.iter().flat_map(|take| take.settle.iter().cloned()).collect::<Vec<_>>();
            drop(calls);
            if settled.len() >= count {
                return settled;
            }
            assert!(listener.wait_timeout(PATIENCE).is_some(), "only {settled:?}");
        }
    }

    async fn take_now(&self, take: Take) -> Result<Taken, TakeError> {
        take.check().unwrap();
        let max = take.max;
        self.calls.lock().unwrap().push(take);
        self.changed.notify(usize::MAX);
        if max == 0 {
            let refused = std::mem::take(&mut *self.refuse.lock().unwrap()).into_iter();
            let refused = refused.map(|id| Refused { id, why: RefusedWhy::Stale }).collect();
            return Ok(Taken { deliveries: Vec::new(), refused });
        }
        loop {
            let listener = self.changed.listen();
            let answer = self.answers.lock().unwrap().pop_front();
            match answer {
                Some(answer) => return answer,
                None => listener.await,
            }
        }
    }
}

impl Groups for Scripted {
    fn put(
        &self,
        _: GroupName,
        _: GroupSettings,
        _: Option<SettingsVersion>,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        panic!("workers only take")
    }
    fn narrow(&self, _: GroupName) -> BoxFuture<'_, Result<SettingsVersion, ChangeError>> {
        panic!("workers only take")
    }
    fn remove(&self, _: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        panic!("workers only take")
    }
    fn get(&self, _: GroupName) -> BoxFuture<'_, Result<GroupStatus, LookError>> {
        panic!("workers only take")
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<GroupStatus>, LookError>> {
        panic!("workers only take")
    }
    fn take(&self, _: GroupName, take: Take) -> BoxFuture<'_, Result<Taken, TakeError>> {
        Box::pin(self.take_now(take))
    }
    fn parked(
        &self,
        _: GroupName,
        _: Option<StreamName>,
        _: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<Parked>, LookError>> {
        panic!("workers only take")
    }
    fn held(
        &self,
        _: GroupName,
        _: StreamName,
        _: NonZeroU32,
    ) -> BoxFuture<'_, Result<Option<Held>, LookError>> {
        panic!("workers only take")
    }
    fn replay(&self, _: GroupName, _: Vec<StreamName>) -> BoxFuture<'_, Result<u32, ChangeError>> {
        panic!("workers only take")
    }
    fn skip(
        &self,
        _: GroupName,
        _: StreamName,
        _: Version,
        _: String,
        _: String,
    ) -> BoxFuture<'_, Result<(), ChangeError>> {
        panic!("workers only take")
    }
    fn pause(&self, _: GroupName, _: String) -> BoxFuture<'_, Result<(), ChangeError>> {
        panic!("workers only take")
    }
    fn resume(&self, _: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        panic!("workers only take")
    }
    fn reset(&self, _: GroupName, _: To) -> BoxFuture<'_, Result<Reset, ChangeError>> {
        panic!("workers only take")
    }
}

const ACK_TIME: Duration = Duration::from_secs(30);

/// A delivery of events with these data, of a stream of its own.
fn delivery(number: u64, data: &[&str]) -> Delivery {
    let record = |(version, data): (u64, &&str)| {
        let position = Position { partition: 0, sequence: 100 * number + version + 1 };
        let bytes = event(&format!("s-{number}"), data).to_bytes();
        RecordedEvent::new(position, Version::new(version), Timestamp::from_nanos(0), bytes)
    };
    let events = (0..).zip(data).map(record).collect();
    Delivery { id: id(number), attempt: 1, ack_time: ACK_TIME, events }
}

fn id(number: u64) -> DeliveryId {
    DeliveryId::new(StoreId::from_bytes([7; 16]), 1, number)
}

/// Handles by the data: `fail`, `panic`, `block`; everything else is fine.
#[derive(Default)]
struct ByData {
    handled: Mutex<Vec<String>>,
    let_go: Event,
    blocked: AtomicUsize,
    dropped: AtomicUsize,
}

/// Counts a handling that was dropped in the middle.
struct Counted<'h>(&'h AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl ByData {
    async fn handle_all(&self, delivery: &Delivery) -> Result<(), Failed> {
        for (handled, event) in delivery.events.iter().enumerate() {
            match &*event.data() {
                b"fail" => return Err(Failed::park(handled, "it failed")),
                b"panic" => panic!("it panicked"),
                b"block" => {
                    let counted = Counted(&self.dropped);
                    let listener = self.let_go.listen();
                    self.blocked.fetch_add(1, Ordering::SeqCst);
                    listener.await;
                    std::mem::forget(counted);
                }
                _ => {}
            }
            self.handled.lock().unwrap().push(format!("{} {}", event.stream(), event.version()));
        }
        Ok(())
    }
}

impl Handle for ByData {
    fn handle<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failed>> {
        Box::pin(self.handle_all(delivery))
    }
}

fn start(groups: &Arc<Scripted>, handler: &Arc<ByData>, concurrency: usize, clock: &TestClock) -> Workers {
    let (groups, handler): (Arc<dyn Groups>, Arc<dyn Handle>) = (groups.clone(), handler.clone());
    let group = GroupName::new("mail").unwrap();
    work(groups, group, concurrency, handler, &Threads, Arc::new(clock.clone())).unwrap()
}

fn wait_until_blocked(handler: &ByData, count: usize) {
    while handler.blocked.load(Ordering::SeqCst) < count {
        std::thread::yield_now();
    }
}

#[test]
fn deliveries_are_handled_and_settled_by_how_they_end() {
    let (groups, handler, clock) = (Arc::<Scripted>::default(), Arc::<ByData>::default(), clock());
    let workers = start(&groups, &handler, 2, &clock);
    groups.deliver([delivery(1, &["1", "2"]), delivery(2, &["1", "fail", "3"]), delivery(3, &["panic"])]);
    let mut settled = groups.settlements(3);
    settled.sort_by_key(|settlement| settlement.id);
    assert_eq!(settled[0], Settlement::handled(id(1)));
    let failed = Settlement::then(id(2), 1, Then::Park);
    assert_eq!(settled[1], Settlement { error: Some("it failed".to_owned()), ..failed });
    let failed = Settlement::then(id(3), 0, Then::Retry { after: None });
    let error = Some("the handler panicked: it panicked".to_owned());
    assert_eq!(settled[2], Settlement { error, ..failed });
    let mut handled = handler.handled.lock().unwrap().clone();
    handled.sort();
    assert_eq!(handled, ["s-1 0", "s-1 1", "s-2 0"]);
    let name = groups.calls.lock().unwrap()[0].member.clone();
    assert_eq!((&name, name.as_str().matches('-').count() >= 2), (workers.member(), true));
}

#[test]
fn no_more_deliveries_run_than_there_are_workers() {
    let (groups, handler, clock) = (Arc::<Scripted>::default(), Arc::<ByData>::default(), clock());
    let _workers = start(&groups, &handler, 2, &clock);
    groups.deliver((1..=4).map(|number| delivery(number, &["block"])));
    wait_until_blocked(&handler, 2);
    // Two run, two wait: nothing more is asked for.
    assert_eq!(groups.calls.lock().unwrap().len(), 1);
    handler.let_go.notify(usize::MAX);
    wait_until_blocked(&handler, 4);
    handler.let_go.notify(usize::MAX);
    groups.settlements(4);
}

#[test]
fn what_is_in_hand_is_renewed_every_third_of_its_time() {
    let (groups, handler, clock) = (Arc::<Scripted>::default(), Arc::<ByData>::default(), clock());
    let _workers = start(&groups, &handler, 1, &clock);
    groups.deliver([delivery(1, &["block"])]);
    wait_until_blocked(&handler, 1);
    for round in 1..=5 {
        let renewals = || {
            let calls = groups.calls.lock().unwrap();
            calls.iter().filter(|take| take.max == 0 && take.holds.is_none()).count()
        };
        // The loop waits for the time of the renewal before the clock moves.
        while clock.next_deadline().is_none_or(|at| at != ACK_TIME / 3 * round) {
            std::thread::yield_now();
        }
        assert_eq!(renewals(), round as usize - 1);
        clock.advance(ACK_TIME / 3);
        while renewals() < round as usize {
            std::thread::yield_now();
        }
    }
    handler.let_go.notify(usize::MAX);
    groups.settlements(1);
}

#[test]
fn a_delivery_that_the_group_took_away_is_left_in_the_middle() {
    let (groups, handler, clock) = (Arc::<Scripted>::default(), Arc::<ByData>::default(), clock());
    let _workers = start(&groups, &handler, 2, &clock);
    groups.deliver([delivery(1, &["block"]), delivery(2, &["block"])]);
    wait_until_blocked(&handler, 2);
    groups.refuse.lock().unwrap().push(id(1));
    while clock.next_deadline() != Some(ACK_TIME / 3) {
        std::thread::yield_now();
    }
    clock.advance(ACK_TIME / 3);
    while handler.dropped.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    handler.let_go.notify(usize::MAX);
    assert_eq!(groups.settlements(1), [Settlement::handled(id(2))]);
    assert_eq!(handler.dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn a_stop_gives_back_what_is_not_begun_and_waits_for_the_rest() {
    let (groups, handler, clock) = (Arc::<Scripted>::default(), Arc::<ByData>::default(), clock());
    let workers = start(&groups, &handler, 1, &clock);
    groups.deliver([delivery(1, &["block"]), delivery(2, &["1"])]);
    wait_until_blocked(&handler, 1);
    workers.request_stop();
    let release = |number| Settlement::then(id(number), 0, Then::Release { after: Some(Duration::ZERO) });
    assert_eq!(groups.settlements(1), [release(2)]);
    handler.let_go.notify(usize::MAX);
    block_on(workers.ended());
    assert_eq!(groups.settlements(2)[1], Settlement::handled(id(1)));
    wait_until_alone(&handler);
}

/// Waits until the threads of the workers have ended, which hold the handler.
fn wait_until_alone(handler: &Arc<ByData>) {
    while Arc::strong_count(handler) > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn a_stop_leaves_a_handler_that_takes_too_long() {
    let (groups, handler, clock) = (Arc::<Scripted>::default(), Arc::<ByData>::default(), clock());
    let workers = start(&groups, &handler, 1, &clock);
    groups.deliver([delivery(1, &["block"])]);
    wait_until_blocked(&handler, 1);
    drop(workers);
    while clock.next_deadline() != Some(Duration::from_secs(5)) {
        std::thread::yield_now();
    }
    clock.advance(Duration::from_secs(5));
    let release = Settlement::then(id(1), 0, Then::Release { after: Some(Duration::ZERO) });
    assert_eq!(groups.settlements(1), [release]);
    wait_until_alone(&handler);
    assert_eq!(handler.dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn workers_wait_for_a_group_that_is_away_and_end_when_groups_are_closed() {
    let (groups, handler, clock) = (Arc::<Scripted>::default(), Arc::<ByData>::default(), clock());
    let group = GroupName::new("mail").unwrap();
    groups.answer(Err(TakeError::NoGroup { group: group.clone() }));
    groups.answer(Err(TakeError::Unavailable { reason: "away".to_owned() }));
    groups.answer(Err(TakeError::Stopped { group, reason: "the target is wrong".to_owned() }));
    let workers = start(&groups, &handler, 1, &clock);
    for _ in 0..3 {
        let before = groups.calls.lock().unwrap().len();
        while clock.next_deadline().is_none() {
            std::thread::yield_now();
        }
        clock.advance(Duration::from_secs(6));
        while groups.calls.lock().unwrap().len() == before {
            std::thread::yield_now();
        }
    }
    groups.deliver([delivery(1, &["1"])]);
    groups.settlements(1);
    groups.answer(Err(TakeError::Closed));
    block_on(workers.ended());
}

/// A system that has room for some futures only.
struct Full(AtomicUsize);

impl Spawn for Full {
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> std::io::Result<()> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| std::io::Error::other("full"))?;
        Threads.spawn(name, future)
    }
}

#[test]
fn workers_that_do_not_fit_are_not_left_behind() {
    for room in 0..3 {
        let (groups, handler) = (Arc::<Scripted>::default(), Arc::<ByData>::default());
        let group = GroupName::new("mail").unwrap();
        let spawn = Full(AtomicUsize::new(room));
        let refused = work(groups.clone(), group, 2, handler.clone(), &spawn, Arc::new(clock()));
        assert!(refused.is_err());
        wait_until_alone(&handler);
        assert_eq!(groups.calls.lock().unwrap().len(), 0);
    }
}
