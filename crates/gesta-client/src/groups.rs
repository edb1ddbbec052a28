//! The consumer groups of a server.

mod answer;
mod request;

use std::num::NonZeroU32;
use std::sync::Arc;

use gesta_consumer::group::{
    ChangeError, DeliveryId, GroupName, GroupSettings, GroupStatus, Groups, Held, LookError, MemberName,
    Parked, Peer, PutError, Reset, SettingsVersion, Take, TakeError, Taken, To, host_by_puts,
};
use gesta_core::{BoxFuture, StoreId, StreamName, Version};
use gesta_wire::{HOLDER_HEADER, PEER_SCHEME, read_parked_page, read_put_group, read_replayed, read_reset};
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::ask::AskError;
use crate::call::{CallError, Line};
use crate::connect::{ConnectError, start};
use crate::exchange::Answer;
use crate::options::ClientOptions;
use crate::request::Request;
use crate::thread::Thread;

/// The consumer groups of a server of Gesta, with every promise of local ones.
///
/// Make it with [`RemoteStore::groups`](crate::RemoteStore::groups). It shares the thread and the connections of that store; each
/// call of a member that waits has a connection of its own. The futures need no runtime.
///
/// - **Nothing is sent twice.** A call of a member whose answer was lost is `Unavailable`: send it again, with the same settlements.
///   Those that counted before are then refused as stale, which is harmless. A change whose answer was lost is `InDoubt`.
/// - **Dropped calls.** A dropped future closes its connection. What the server had for it is given to others, without an attempt, also
///   if it was on its way already.
/// - **Times** are sent in whole milliseconds, rounded up. The name of an operator is sent in ASCII; other characters become `?`.
pub struct RemoteGroups {
    thread: Arc<Thread>,
    store: StoreId,
    /// The process that every call is for, if it is one of several that share the store.
    holder: Option<Holder>,
}

const HOLDER: HeaderName = HeaderName::from_static(HOLDER_HEADER);

/// The process that deals, in headers.
#[derive(Clone)]
struct Holder {
    id: HeaderValue,
    login: HeaderValue,
}

impl RemoteGroups {
    pub(crate) fn new(thread: Arc<Thread>, store: StoreId) -> Self {
        Self { thread, store, holder: None }
    }

    /// The groups that another process of the same store deals, for [`SharedGroups`](gesta_consumer::group::SharedGroups). It does not
    /// block: it connects with the first call.
    ///
    /// Every call names the store and the process. A server of another store, or another process at the address, refuses it. The secret
    /// of the process is its login: the caller was checked here. Groups are hosted at that process.
    ///
    /// # Errors
    /// [`ConnectError::Address`] or [`ConnectError::Thread`].
    pub fn of_holder(peer: &Peer<'_>, store: StoreId, options: &ClientOptions) -> Result<Self, ConnectError> {
        let header = |text: String| {
            let reason = "the process there has an id or a secret that no header can carry";
            HeaderValue::try_from(text)
                .map_err(|_| ConnectError::Address { url: peer.address.to_owned(), reason })
        };
        let mut login = header(format!("{PEER_SCHEME} {}", peer.secret))?;
        login.set_sensitive(true);
        let holder = Holder { id: header(peer.id.to_owned())?, login };
        let (thread, shared) = start(peer.address, options)?;
        shared.identity.expect(store);
        Ok(Self { thread: Arc::new(thread), store, holder: Some(holder) })
    }

    /// Returns the id of the store that these are the groups of.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.store
    }

    /// A request for the process that deals.
    fn to(&self, request: Request) -> Request {
        to(self.holder.as_ref(), request)
    }

    async fn call(&self, request: Request) -> Result<Answer, CallError> {
        self.thread.call(self.to(request)).await
    }

    async fn ask(&self, request: Request) -> Result<Answer, AskError> {
        self.thread.ask(self.to(request)).await
    }

    async fn change<T>(
        &self,
        group: GroupName,
        request: Request,
        read: impl FnOnce(&[u8]) -> Result<T, gesta_wire::AnswerError>,
    ) -> Result<T, ChangeError> {
        let answer = self.call(request).await;
        answer::change(&group, answer, read)
    }

    /// Makes a change whose answer has no content.
    async fn order(&self, group: GroupName, request: Request) -> Result<(), ChangeError> {
        self.change(group, request, |_| Ok(())).await
    }
}

impl std::fmt::Debug for RemoteGroups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteGroups(of {})", self.store)
    }
}

impl Groups for RemoteGroups {
    fn is_shared(&self) -> bool {
        true
    }

    fn put(
        &self,
        group: GroupName,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(async move {
            settings.check()?;
            let request = Request::put_group(&group, &settings, expect);
            let answer = self.call(request).await;
            answer::put(&group, answer, read_put_group)
        })
    }

    fn host(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        if self.holder.is_none() {
            return Box::pin(host_by_puts(self, group, settings));
        }
        Box::pin(async move {
            settings.check()?;
            let answer = self.call(Request::host_group(&group, &settings)).await;
            answer::put(&group, answer, read_put_group)
        })
    }

    fn host_again(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        Box::pin(async move {
            let answer = self.call(Request::host_group_again(&group, &settings)).await;
            answer::put(&group, answer, read_put_group)
        })
    }

    fn narrow(&self, group: GroupName) -> BoxFuture<'_, Result<SettingsVersion, ChangeError>> {
        let request = Request::narrow_group(&group);
        Box::pin(self.change(group, request, read_put_group))
    }

    fn remove(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        let request = Request::remove_group(&group);
        Box::pin(self.order(group, request))
    }

    fn get(&self, group: GroupName) -> BoxFuture<'_, Result<GroupStatus, LookError>> {
        Box::pin(async move {
            let answer = self.ask(Request::group(&group)).await;
            answer::look(Some(&group), answer, |body| gesta_wire::read_group(body))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<GroupStatus>, LookError>> {
        Box::pin(async move {
            let answer = self.ask(Request::groups()).await;
            answer::look(None, answer, |body| gesta_wire::read_groups(body))
        })
    }

    fn take(&self, group: GroupName, take: Take) -> BoxFuture<'_, Result<Taken, TakeError>> {
        Box::pin(async move {
            take.check()?;
            let request = self.to(Request::take(&group, &take));
            // A call that waits may not hold up the short ones.
            let line = if take.max > 0 && !take.wait.is_zero() { Line::Taking } else { Line::Shared };
            let Take { member, wait, .. } = take;
            let unclaimed = {
                let (group, holder) = (group.clone(), self.holder.clone());
                Arc::new(move |answer: &Answer| {
                    Some(to(holder.as_ref(), Request::give_back_answer(&group, &member, answer)?))
                })
            };
            answer::taken(&group, self.thread.call_claimed(request, line, wait, unclaimed).await)
        })
    }

    fn unwritten(&self, group: &GroupName, member: &MemberName, ids: &[DeliveryId]) {
        let request = Request::give_back(group, member, ids.iter().copied());
        request.into_iter().for_each(|request| self.thread.tell(self.to(request)));
    }

    fn parked(
        &self,
        group: GroupName,
        after: Option<StreamName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<Parked>, LookError>> {
        Box::pin(async move {
            let answer = self.ask(Request::parked(&group, after.as_ref(), limit)).await;
            answer::look(Some(&group), answer, |body| read_parked_page(body))
        })
    }

    fn held(
        &self,
        group: GroupName,
        stream: StreamName,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Option<Held>, LookError>> {
        Box::pin(async move {
            let answer = self.ask(Request::held(&group, &stream, limit)).await;
            answer::held(&group, answer)
        })
    }

    fn replay(&self, group: GroupName, streams: Vec<StreamName>) -> BoxFuture<'_, Result<u32, ChangeError>> {
        let request = Request::replay(&group, &streams);
        Box::pin(self.change(group, request, read_replayed))
    }

    fn skip(
        &self,
        group: GroupName,
        stream: StreamName,
        through: Version,
        by: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ChangeError>> {
        let request = Request::skip(&group, &stream, through, &reason).by(&by);
        Box::pin(self.order(group, request))
    }

    fn pause(&self, group: GroupName, by: String) -> BoxFuture<'_, Result<(), ChangeError>> {
        let request = Request::pause_group(&group).by(&by);
        Box::pin(self.order(group, request))
    }

    fn resume(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        let request = Request::resume_group(&group);
        Box::pin(self.order(group, request))
    }

    fn reset(&self, group: GroupName, to: To) -> BoxFuture<'_, Result<Reset, ChangeError>> {
        let request = Request::reset_group(&group, &to);
        Box::pin(self.change(group, request, read_reset))
    }
}

/// A request for the process that deals, if there is a choice.
fn to(holder: Option<&Holder>, request: Request) -> Request {
    match holder {
        Some(Holder { id, login }) => request.with(HOLDER, id.clone()).with(AUTHORIZATION, login.clone()),
        None => request,
    }
}
