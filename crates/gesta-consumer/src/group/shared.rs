//! Groups of a store that several processes have open: one deals, the others pass calls on to it.
//!
//! `holder` decides who deals. A thread, `gesta-holder`, does what it says, and starts and closes the groups that are dealt here.

mod calls;
mod claims;
mod holder;
mod row;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use event_listener::{Event, EventListener};
use gesta_core::{BoxFuture, EventStore, KeyValueError, KeyValueStore, Revision};

use self::claims::Claims;
use self::holder::{Holder, Put, Role, Row, Step, Times};
use super::groups::{Dealer, Groups};
use super::local::{LocalGroups, LocalGroupsOptions, StartError};
use crate::clock::Clock;

/// How long a call waits until it is known who deals, before it is refused as `Unavailable`.
const SETTLE_TIME: Duration = Duration::from_secs(5);
/// How long the end of a process waits for an answer of the store, before others must wait for the time of a silent process.
const END_TIME: Duration = Duration::from_secs(2);

/// Connects to the groups of another process. It does not block.
pub type Connect = Box<dyn Fn(&Peer<'_>) -> Result<Arc<dyn Groups>, String> + Send + Sync>;

/// The process that deals, as its row names it.
#[derive(Clone, Copy)]
pub struct Peer<'r> {
    /// Its address for other processes.
    pub address: &'r str,
    /// Its id. Calls to it name the id, so that a process that began at the same address later refuses them.
    pub id: &'r str,
    /// The login of calls to it: see [`Groups::trusts`].
    pub secret: &'r str,
}

/// Groups of a store that several processes have open. One of them deals all groups; calls to the others are passed on to it.
///
/// - **Take-over.** If the process that deals ends, another one deals at once. If it dies or falls silent, another one deals 10 to 12 s
///   later. Calls are `Unavailable` meanwhile, and a call that waits for a silent process ends. Deliveries in flight are delivered again.
/// - **Address.** Others reach this process at the address of [`Self::announce`]. Without one, calls to them are `Unavailable` while
///   this process deals. Of two processes with one address the later one deals, and calls to the other one are `Unavailable`.
/// - **Hosts.** A group belongs to its host at the process that deals, whichever that is. A host adds to the query of its group when it
///   starts, as on a store of one process. A take-over adds nothing: the process before may still deal beyond the place from which a new
///   item counts. For the same reason, additions are `Unavailable` for 10 s after a process has replaced another one at its address.
/// - **Nothing begins before it is asked for.** A process that only reads the store never deals.
///
/// Dropped, they are closed.
pub struct SharedGroups {
    inner: Arc<Inner>,
    threads: Mutex<Threads>,
}

/// The threads, once they are needed.
#[derive(Default)]
struct Threads {
    holder: Option<JoinHandle<()>>,
    claims: Option<JoinHandle<()>>,
}

struct Inner {
    id: String,
    store: Arc<dyn EventStore>,
    values: Arc<dyn KeyValueStore>,
    clock: Arc<dyn Clock>,
    connect: Connect,
    state: Mutex<State>,
    /// The state has changed: for calls, and for the thread.
    changed: Event,
}

struct State {
    holder: Holder,
    /// The groups that are dealt here.
    local: Option<Arc<LocalGroups>>,
    /// The groups of the process that deals, with its id and address.
    remote: Option<(Named, Arc<dyn Groups>)>,
    /// The id of the process that deals, as the log of this program told it last.
    told: Option<String>,
    /// What hosts of this process named.
    claims: Claims,
    is_closed: bool,
}

/// Another process: its id and address.
type Named = (String, String);

/// The process that answers a call.
struct Route {
    groups: Arc<dyn Groups>,
    /// The process that deals, if it is another one.
    remote: Option<Named>,
}

/// Why a call goes nowhere.
enum NoRoute {
    /// It is not known yet who takes it.
    NotYet(String),
    /// The process that deals cannot take it.
    Unavailable(String),
    Closed,
}

impl SharedGroups {
    /// Creates groups. `id` names this process among all; no other may ever have it. `secret` cannot be guessed; processes that can read
    /// the key-value store know it.
    #[must_use]
    pub fn new(
        id: String,
        secret: String,
        store: Arc<dyn EventStore>,
        values: Arc<dyn KeyValueStore>,
        clock: Arc<dyn Clock>,
        connect: Connect,
    ) -> Self {
        let holder = Holder::new(id.clone(), secret, Times::USUAL);
        let claims = Claims::default();
        let state =
            Mutex::new(State { holder, local: None, remote: None, told: None, claims, is_closed: false });
        let inner = Inner { id, store, values, clock, connect, state, changed: Event::new() };
        Self { inner: Arc::new(inner), threads: Mutex::default() }
    }

    /// Says where other processes reach this one, such as `http://10.0.0.7:2114`, and begins to compete for the role of the one that
    /// deals.
    ///
    /// # Errors
    /// [`StartError`] if the system has no thread left.
    pub fn announce(&self, address: String) -> Result<(), StartError> {
        self.inner.lock().holder.announce(address);
        self.start()
    }

    /// Starts the thread that competes for the role, once.
    fn start(&self) -> Result<(), StartError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        self.start_one(&mut threads.holder, "gesta-holder", Inner::run)
    }

    /// Starts the thread that tells new dealers what hosts of this process named, once.
    fn start_claims(&self) -> Result<(), StartError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        self.start_one(&mut threads.claims, "gesta-claims", |inner| pollster::block_on(inner.claim()))
    }

    fn start_one(
        &self,
        thread: &mut Option<JoinHandle<()>>,
        name: &str,
        body: impl FnOnce(&Inner) + Send + 'static,
    ) -> Result<(), StartError> {
        if thread.is_some() || self.inner.lock().is_closed {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        let builder = std::thread::Builder::new().name(name.to_owned());
        *thread = Some(builder.spawn(move || body(&inner)).map_err(StartError)?);
        Ok(())
    }

    /// Closes the groups that are dealt here, and lets another process deal at once. It blocks until then.
    pub fn close(&self) {
        self.inner.lock().is_closed = true;
        self.inner.changed.notify(usize::MAX);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in [threads.claims, threads.holder].into_iter().flatten() {
            if thread.join().is_err() {
                tracing::error!("a thread of the shared consumer groups has panicked");
            }
        }
    }

    /// The groups that are dealt here, if this process is the one of that id.
    fn local_as(&self, holder: &str) -> Option<Arc<dyn Groups>> {
        let state = self.inner.lock();
        let deals = state.holder.role(self.inner.clock.elapsed()) == Role::Holder;
        let local = state.local.as_ref().filter(|_| deals && self.inner.id == holder)?;
        Some(Arc::clone(local) as _)
    }

    /// The process that deals, as far as it is known.
    fn known_dealer(&self) -> Option<Dealer> {
        let state = self.inner.lock();
        match state.holder.role(self.inner.clock.elapsed()) {
            Role::Holder => state.local.as_ref().map(|_| {
                let address = state.holder.address().map(ToOwned::to_owned);
                Dealer { id: self.inner.id.clone(), address, is_here: true }
            }),
            Role::Follower(Row { holder, address, .. }) | Role::Contested(Row { holder, address, .. }) => {
                Some(Dealer { id: holder, address, is_here: false })
            }
            Role::Nobody => None,
        }
    }
}

impl Drop for SharedGroups {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for an answer, a change or a time. `None` if the answer is not there.
async fn first<T>(
    answer: &mut BoxFuture<'_, T>,
    changed: EventListener,
    mut due: Option<&mut BoxFuture<'static, ()>>,
) -> Option<T> {
    let mut changed = std::pin::pin!(changed);
    std::future::poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        let is_due = due.as_mut().is_some_and(|due| due.as_mut().poll(context).is_ready());
        if is_due || changed.as_mut().poll(context).is_ready() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// Waits for the first of two.
async fn either(changed: EventListener, late: &mut BoxFuture<'static, ()>) {
    first(late, changed, None).await;
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Finds the process that answers a call. Waits a while until one is known.
    async fn route(&self) -> Result<Route, NoRoute> {
        let deadline = self.clock.elapsed() + SETTLE_TIME;
        let mut late = self.clock.wait(deadline);
        loop {
            // Listen first and look second: a change between the two would be missed otherwise.
            let changed = self.changed.listen();
            match self.look() {
                Err(NoRoute::NotYet(_)) if self.clock.elapsed() < deadline => {}
                found => return found,
            }
            either(changed, &mut late).await;
        }
    }

    /// The groups of the process that deals now.
    fn look(&self) -> Result<Route, NoRoute> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(NoRoute::Closed);
        }
        let unavailable = |reason: &str| Err(NoRoute::Unavailable(reason.to_owned()));
        match state.holder.role(self.clock.elapsed()) {
            Role::Holder => match &state.local {
                Some(local) => Ok(Route { groups: Arc::clone(local) as _, remote: None }),
                None => Err(NoRoute::NotYet("this process is about to deal the groups".to_owned())),
            },
            Role::Nobody => {
                Err(NoRoute::NotYet("it is not known yet which process deals the groups".to_owned()))
            }
            Role::Follower(Row { holder, address: Some(address), secret, .. }) => {
                self.connected(&mut state, (holder, address), &secret)
            }
            Role::Follower(Row { holder, address: None, .. }) => unavailable(&format!(
                "the process `{holder}` deals the groups, and advertises no address at which others reach it"
            )),
            Role::Contested(row) => unavailable(&contested(&row)),
        }
    }

    /// The groups of another process.
    fn connected(&self, state: &mut State, named: Named, secret: &str) -> Result<Route, NoRoute> {
        if let Some((_, groups)) = state.remote.as_ref().filter(|(known, _)| *known == named) {
            return Ok(Route { groups: Arc::clone(groups), remote: Some(named) });
        }
        let (id, address) = &named;
        let groups = (self.connect)(&Peer { address, id, secret }).map_err(|error| {
            NoRoute::Unavailable(format!(
                "the groups are dealt at `{address}`, which cannot be used: {error}"
            ))
        })?;
        state.remote = Some((named.clone(), Arc::clone(&groups)));
        Ok(Route { groups, remote: Some(named) })
    }

    /// Forgets the connection to another process. The next call makes a new one.
    fn disconnect(&self, named: &Named) {
        self.lock().remote.take_if(|(known, _)| known == named);
    }

    /// True if a call on its way to another process may still be answered: no other one is known to deal.
    fn may_answer(&self, named: &Named) -> bool {
        let state = self.lock();
        let is_replaced = match state.holder.role(self.clock.elapsed()) {
            Role::Holder => true,
            Role::Follower(row) | Role::Contested(row) => row.holder != named.0,
            Role::Nobody => false,
        };
        !is_replaced && !state.is_closed
    }

    /// Does what the holder's decisions say, until the groups are closed.
    fn run(&self) {
        while !self.lock().is_closed {
            let now = self.clock.elapsed();
            let step = self.lock().holder.step(now);
            match step {
                Step::Wait(until) => self.wait(until),
                Step::Get => self.get(),
                Step::Put(row, expect) => self.put(&row, expect),
            }
            self.take_role();
        }
        self.release();
    }

    fn get(&self) {
        let Some(got) = self.attend(self.values.get(row::key())) else { return };
        let now = self.clock.elapsed();
        match got {
            Ok(entry) => {
                let row = entry.map(|entry| (row::read(&entry.value), entry.revision));
                self.lock().holder.got(now, row);
            }
            Err(error) => {
                tracing::debug!(%error, "the holder of the groups is not known");
                self.lock().holder.get_failed(now);
            }
        }
    }

    fn put(&self, row: &Row, expect: Option<Revision>) {
        let put = match self.attend(self.values.put(row::key(), row::write(row), expect)) {
            None => Put::InDoubt,
            Some(Ok(revision)) => Put::Accepted(revision),
            Some(Err(KeyValueError::Changed { .. })) => Put::Refused,
            Some(Err(error)) => {
                tracing::debug!(%error, "the row of the holder may not have been put");
                Put::InDoubt
            }
        };
        let now = self.clock.elapsed();
        self.lock().holder.put(now, put);
    }

    /// Waits for an answer of the store, which may be away. If the time in which this process deals ends before that, its groups are
    /// closed meanwhile. `None` if the process ends.
    fn attend<T>(&self, mut asked: BoxFuture<'_, T>) -> Option<T> {
        let mut ends_at = None;
        loop {
            // Listen first and look second: a change between the two would be missed otherwise.
            let changed = self.changed.listen();
            let now = self.clock.elapsed();
            let (deals_until, is_closed) = {
                let state = self.lock();
                let deals_until = state.local.as_ref().and_then(|_| state.holder.deals_until());
                (deals_until, state.is_closed)
            };
            if is_closed && ends_at.is_none() {
                ends_at = Some(now + END_TIME);
            }
            if ends_at.is_some_and(|at| at <= now) {
                return None;
            }
            if deals_until.is_some_and(|until| until <= now) {
                self.take_role();
                continue;
            }
            let mut due = deals_until.into_iter().chain(ends_at).min().map(|at| self.clock.wait(at));
            let answer = pollster::block_on(first(&mut asked, changed, due.as_mut()));
            if answer.is_some() {
                return answer;
            }
        }
    }

    /// Waits for a time, or until the groups are closed.
    fn wait(&self, until: Duration) {
        let changed = self.changed.listen();
        if self.lock().is_closed {
            return;
        }
        let mut due = self.clock.wait(until);
        pollster::block_on(either(changed, &mut due));
    }

    /// Starts or closes the groups that are dealt here, and tells calls.
    fn take_role(&self) {
        let (role, local) = {
            let state = self.lock();
            (state.holder.role(self.clock.elapsed()), state.local.clone())
        };
        match (role, local) {
            (Role::Holder, None) => self.deal(),
            (Role::Holder, Some(local)) => local.take_back(),
            (Role::Follower(_) | Role::Contested(_) | Role::Nobody, Some(local)) => {
                {
                    let mut state = self.lock();
                    state.local = None;
                    state.claims.dealer_changes();
                }
                tracing::warn!("another process may deal the consumer groups: this one stops");
                local.close();
            }
            (role, _) => self.tell(&role),
        }
        self.changed.notify(usize::MAX);
    }

    /// Tells the log of this program once which other process deals.
    fn tell(&self, role: &Role) {
        let (Role::Follower(row) | Role::Contested(row)) = role else { return };
        {
            let mut state = self.lock();
            let told = state.told.replace(row.holder.clone());
            if told.as_ref() == Some(&row.holder) {
                return;
            }
            state.claims.dealer_changes();
        }
        match (role, &row.address) {
            (Role::Contested(_), _) => tracing::error!("{}", contested(row)),
            (_, Some(address)) => tracing::info!("the consumer groups are dealt at `{address}`"),
            (_, None) => tracing::warn!("the process that deals the consumer groups advertises no address"),
        }
    }

    /// Starts to deal.
    fn deal(&self) {
        let alone_from = self.lock().holder.alone_from();
        let options = LocalGroupsOptions { boot_epoch: 0, is_alone: true, alone_from };
        let (store, values) = (Arc::clone(&self.store), Arc::clone(&self.values));
        let local = match LocalGroups::start(store, values, Arc::clone(&self.clock), options) {
            Ok(local) => Arc::new(local),
            Err(error) => {
                tracing::error!(%error, "this process cannot deal the consumer groups: another one may");
                self.release();
                self.lock().holder.resign(self.clock.elapsed());
                return;
            }
        };
        tracing::info!("this process deals the consumer groups");
        let mut state = self.lock();
        state.local = Some(local);
        (state.remote, state.told) = (None, None);
        state.claims.dealer_changes();
    }

    /// Closes the groups, then takes the row away.
    fn release(&self) {
        let (local, revision) = {
            let mut state = self.lock();
            (state.local.take(), state.holder.release())
        };
        local.iter().for_each(|local| local.close());
        if let Some(revision) = revision {
            // Without it, others wait for the time of a silent holder.
            let _ = self.attend(self.values.delete(row::key(), revision));
        }
    }
}

/// Why a process with the address of another one takes no calls.
fn contested(row: &Row) -> String {
    let address = row.address.as_deref().unwrap_or_default();
    format!(
        "another process deals the groups and advertises the address of this one, `{address}`: give each process an address of \
         its own with `--advertise`"
    )
}
