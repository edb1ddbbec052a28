//! The thread `gesta-groups`: it steps all dealers of a process, and carries out what they ask for as futures.

mod group;
mod listing;
mod operations;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::AbortHandle;
use futures_util::stream::{FuturesUnordered, Stream};
use gesta_core::{BoxFuture, EventStore, KeyValueStore};

use self::group::Group;
use self::listing::Loading;
use self::operations::Done;
use super::queue::{Known, Message, Queue, refuse_unknown};
use crate::clock::Clock;
use crate::group::dealer::{Bounds, CallId, Config, Dealer, Ended, Input, Output};
use crate::group::error::{ChangeError, PutError, TakeError};
use crate::group::limits::{MESSAGES_MAX, WINDOW_BYTES_MAX, WINDOWS_BYTES_MAX};
use crate::group::name::GroupName;
use crate::group::take::Taken;

/// What the thread works with.
pub(super) struct Engine {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) values: Arc<dyn KeyValueStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) queue: Arc<Queue>,
    pub(super) boot_epoch: u64,
    groups: BTreeMap<GroupName, Group>,
    on_way: FuturesUnordered<BoxFuture<'static, Done>>,
    /// The last number of a call or of a dealer.
    number: u64,
    words_on_way: usize,
    loading: Loading,
    is_closing: bool,
}

impl Engine {
    pub(super) fn new(
        store: Arc<dyn EventStore>,
        values: Arc<dyn KeyValueStore>,
        clock: Arc<dyn Clock>,
        queue: Arc<Queue>,
        boot_epoch: u64,
    ) -> Self {
        Self {
            store,
            values,
            clock,
            queue,
            boot_epoch,
            groups: BTreeMap::new(),
            on_way: FuturesUnordered::new(),
            number: 0,
            words_on_way: 0,
            loading: Loading::Under(Vec::new()),
            is_closing: false,
        }
    }

    /// The body of the thread.
    pub(super) async fn run(mut self) {
        self.list();
        loop {
            // What waits in the queue comes before a deadline that has passed by now: a settlement before an expiry.
            let now = self.clock.elapsed();
            let messages = self.queue.take();
            let mut is_idle = messages.is_empty();
            messages.into_iter().for_each(|message| self.message(message));
            while let Some(done) = self.arrived() {
                is_idle = false;
                self.done(done);
            }
            is_idle &= !self.tick(now);
            if self.is_closing && self.is_quiet() {
                break;
            }
            if is_idle {
                self.rest().await;
            }
        }
        for message in self.queue.close() {
            self.refuse(message, "groups are closing");
        }
    }

    /// Takes something that has arrived.
    fn arrived(&mut self) -> Option<Done> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.on_way).poll_next(&mut context) {
            Poll::Ready(done) => done,
            Poll::Pending => None,
        }
    }

    /// Waits for a request, for something to arrive, or for a deadline.
    async fn rest(&mut self) {
        let mut listener = self.queue.listen();
        if !self.queue.is_empty() {
            return;
        }
        let mut deadline = self.next_step().map(|at| self.clock.wait(at));
        let mut arrived = None;
        std::future::poll_fn(|context| {
            if pin!(&mut listener).poll(context).is_ready() {
                return Poll::Ready(());
            }
            if deadline.as_mut().is_some_and(|wait| wait.as_mut().poll(context).is_ready()) {
                return Poll::Ready(());
            }
            match Pin::new(&mut self.on_way).poll_next(context) {
                Poll::Ready(Some(done)) => {
                    arrived = Some(done);
                    Poll::Ready(())
                }
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        })
        .await;
        if let Some(done) = arrived {
            self.done(done);
        }
    }

    fn next_step(&self) -> Option<Duration> {
        let dealers = self.groups.values().filter_map(|group| group.dealer.as_ref().ok());
        dealers.filter_map(Dealer::next_step).min()
    }

    /// Ticks every dealer that is due by `now`. Returns true if one was.
    fn tick(&mut self, now: Duration) -> bool {
        let is_due = |group: &Group| {
            group.dealer.as_ref().is_ok_and(|dealer| dealer.next_step().is_some_and(|at| at <= now))
        };
        let due = self.groups.iter().filter(|(_, group)| is_due(group));
        let due = due.map(|(name, _)| name.clone()).collect::<Vec<_>>();
        for name in &due {
            self.step(name, Input::Tick);
        }
        !due.is_empty()
    }

    fn message(&mut self, message: Message) {
        match (&mut self.loading, message) {
            (_, Message::Close) => self.close(),
            // All groups start once the list is read.
            (Loading::Under(_) | Loading::Failed { .. }, Message::TakeBack) => {}
            (Loading::Under(waiting), Message::Cancel { group, number }) => {
                waiting.retain(|message| !message.is_take(&group, number));
            }
            (Loading::Under(waiting), message) if waiting.len() < MESSAGES_MAX => waiting.push(message),
            (Loading::Under(_), message) => self.refuse(message, "the list of groups is being read"),
            (Loading::Failed { reason, .. }, message) => {
                let reason = format!("the list of groups cannot be read: {reason}");
                self.refuse(message, &reason);
            }
            (Loading::Done, message) => self.request(message),
        }
    }

    fn request(&mut self, message: Message) {
        let group = message.group().cloned();
        if let Some(group) = group.filter(|group| !self.groups.contains_key(group)) {
            if matches!(message, Message::Created { .. }) {
                return self.start(group);
            }
            return refuse_unknown(message, &group);
        }
        match message {
            Message::Take { group, number, take, reply } => {
                let call = self.next_number();
                let entry = self.groups.get_mut(&group).expect("the group is known");
                entry.takes.insert(call, (number, reply));
                self.step(&group, Input::Take(call, take));
            }
            Message::Cancel { group, number } => {
                let takes = &self.groups[&group].takes;
                let call = takes.iter().find(|(_, (other, _))| *other == number).map(|(call, _)| *call);
                if let Some(call) = call {
                    self.groups.get_mut(&group).expect("the group is known").takes.remove(&call);
                    self.step(&group, Input::Cancel(call));
                }
            }
            Message::Unwritten { group, ids } => self.step(&group, Input::Unwritten(ids)),
            Message::Change { group, change, reply } => {
                let call = self.next_number();
                self.groups.get_mut(&group).expect("the group is known").changes.insert(call, reply);
                self.step(&group, Input::Change(call, change));
            }
            Message::Settings { group, change, reply } => {
                let call = self.next_number();
                self.groups.get_mut(&group).expect("the group is known").settings.insert(call, reply);
                self.step(&group, Input::Change(call, change));
            }
            Message::Status { group, reply } => {
                let _ = reply.give(self.groups[&group].known());
            }
            Message::List { reply } => {
                let _ = reply.give(Ok(self.groups.keys().cloned().collect()));
            }
            // It was found in the list meanwhile, or by another caller.
            Message::Created { group } if self.groups[&group].ended.is_some() => self.start(group),
            Message::TakeBack => self.take_back(),
            Message::Created { .. } | Message::Close => {}
        }
    }

    /// Starts the dealers again that ended because another one took over.
    fn take_back(&mut self) {
        let is_lost = |group: &Group| group.ended == Some(Ended::TakenOver);
        let lost = self.groups.iter().filter(|(_, group)| is_lost(group)).map(|(name, _)| name.clone());
        for name in lost.collect::<Vec<_>>() {
            tracing::warn!(group = %name, "a consumer group is dealt here again");
            self.start(name);
        }
    }

    const fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Starts the dealer of a group whose row is there.
    fn start(&mut self, name: GroupName) {
        if self.is_closing {
            return;
        }
        let number = self.next_number();
        let config = Config { name: name.clone(), boot_epoch: self.boot_epoch, bounds: Bounds::default() };
        let (dealer, out) = Dealer::new(config, self.clock.elapsed());
        self.groups.insert(name.clone(), Group::new(dealer, number));
        self.carry_out(&name, out);
        self.share_windows();
    }

    /// Gives every group its share of the memory.
    fn share_windows(&mut self) {
        let share = WINDOWS_BYTES_MAX / (self.groups.len().max(1) as u64);
        let names = self.groups.keys().cloned().collect::<Vec<_>>();
        for name in names {
            self.step(&name, Input::Window(share.min(WINDOW_BYTES_MAX)));
        }
    }

    /// Steps the dealer of a group, and does what it says. A dealer that panics is not stepped again.
    fn step(&mut self, name: &GroupName, input: Input) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let elapsed = self.clock.elapsed();
        let Ok(dealer) = &mut group.dealer else { return group.refuse_all() };
        match catch_unwind(AssertUnwindSafe(|| dealer.step(input, elapsed))) {
            Ok(out) => self.carry_out(name, out),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                tracing::error!(group = %name, "the dealer of a consumer group failed: {text}");
                group.dealer = Err(format!("the dealer of group `{name}` failed: {text}"));
                group.refuse_all();
            }
        }
    }

    fn carry_out(&mut self, name: &GroupName, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Taken(call, answer) => self.answer_take(name, call, answer),
                Output::Changed(call, answer) => {
                    let group = self.groups.get_mut(name).expect("a dealer's group is known");
                    group.changes.remove(&call).map(|reply| reply.give(answer));
                }
                Output::SettingsPut(call, answer) => {
                    let group = self.groups.get_mut(name).expect("a dealer's group is known");
                    group.settings.remove(&call).map(|reply| reply.give(answer));
                }
                Output::Words(said) => self.keep_words(name, said),
                Output::Ended(ended) => self.ended(name, ended),
                operation => self.begin(name, operation),
            }
        }
    }

    fn answer_take(&mut self, name: &GroupName, call: CallId, answer: Result<Taken, TakeError>) {
        let group = self.groups.get_mut(name).expect("a dealer's group is known");
        let Some((_, reply)) = group.takes.remove(&call) else { return };
        if let Err(Ok(taken)) = reply.give(answer) {
            // The caller is gone: somebody else gets the deliveries.
            let ids = taken.deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>();
            if !ids.is_empty() {
                let _ = self.queue.push(Message::Unwritten { group: name.clone(), ids });
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Input { group: name, number, is_operation, input } => {
                let Some(group) = self.groups.get_mut(&name).filter(|group| group.number == number) else {
                    return;
                };
                group.operations -= usize::from(is_operation);
                group.note_fault(&name, &input);
                self.step(&name, *input);
            }
            Done::Words => self.words_on_way -= 1,
            Done::Listed(listed) => self.listed(listed),
            Done::ListAgain => self.list(),
            Done::Nothing => {}
        }
    }

    /// A dealer has ended. Everybody who waited was answered.
    fn ended(&mut self, name: &GroupName, ended: Ended) {
        let group = self.groups.get_mut(name).expect("a dealer's group is known");
        group.wait.take().iter().for_each(AbortHandle::abort);
        match ended {
            Ended::Removed => {
                self.groups.remove(name);
                self.share_windows();
            }
            Ended::TakenOver | Ended::Stopped => {
                if ended == Ended::TakenOver {
                    tracing::warn!(group = %name, "another server has taken over a consumer group");
                }
                self.groups.get_mut(name).expect("a dealer's group is known").ended = Some(ended);
            }
        }
    }

    fn close(&mut self) {
        self.is_closing = true;
        let before = std::mem::replace(&mut self.loading, Loading::Done);
        if let Loading::Under(waiting) = before {
            waiting.into_iter().for_each(|message| self.refuse(message, "groups are closing"));
        }
        let names = self.groups.keys().cloned().collect::<Vec<_>>();
        names.iter().for_each(|name| self.step(name, Input::Stop));
    }

    /// Returns true if nothing is on its way that a dealer that ends waits for. One whose last put failed is not waited for.
    fn is_quiet(&self) -> bool {
        self.groups.values().all(|group| {
            group.operations == 0
                || group.dealer.as_ref().is_ok_and(Dealer::has_ended)
                || group.dealer.is_err()
        })
    }

    fn refuse(&self, message: Message, reason: &str) {
        let reason = reason.to_owned();
        match message {
            Message::Take { reply, .. } if self.is_closing => drop(reply.give(Err(TakeError::Closed))),
            Message::Take { reply, .. } => drop(reply.give(Err(TakeError::Unavailable { reason }))),
            Message::Change { reply, .. } if self.is_closing => drop(reply.give(Err(ChangeError::Closed))),
            Message::Change { reply, .. } => drop(reply.give(Err(ChangeError::Unavailable { reason }))),
            Message::Settings { reply, .. } if self.is_closing => drop(reply.give(Err(PutError::Closed))),
            Message::Settings { reply, .. } => drop(reply.give(Err(PutError::Unavailable { reason }))),
            Message::Status { reply, .. } => drop(reply.give(Known::Failed(reason))),
            // Without an answer the caller reports that groups are closed.
            Message::List { reply } if self.is_closing => drop(reply),
            Message::List { reply } => drop(reply.give(Err(reason))),
            Message::Cancel { .. }
            | Message::Unwritten { .. }
            | Message::Created { .. }
            | Message::TakeBack
            | Message::Close => {}
        }
    }
}
