//! Groups that answer as a test says, and note every call: for what the routes do with them.

use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use gesta_consumer::group::{
    ChangeError, Dealer, DeliveryId, GroupName, GroupSettings, GroupStatus, Groups, Held, LookError,
    MemberName, Parked, PutError, Reset, SettingsVersion, Take, TakeError, Taken, To,
};
use gesta_core::{BoxFuture, Checkpoint, StoreId, StreamName, Version};

/// The next answers, and the calls so far.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) put: Result<SettingsVersion, PutError>,
    pub(crate) look: Result<GroupStatus, LookError>,
    /// The answer to `take`; none waits for ever.
    pub(crate) taken: Option<Result<Taken, TakeError>>,
    pub(crate) change: Result<(), ChangeError>,
    pub(crate) parked: Vec<Parked>,
    pub(crate) held: Option<Held>,
    /// Whether other processes may deal them. None of them does then, and they are dealt here otherwise.
    pub(crate) is_shared: bool,
    calls: Sender<String>,
}

impl Scripted {
    /// Groups that answer `status`, with the calls that arrive.
    pub(crate) fn new(status: GroupStatus) -> (Self, Receiver<String>) {
        let (calls, noted) = channel();
        let scripted = Self {
            put: Ok(status.settings_version),
            look: Ok(status),
            taken: Some(Ok(Taken::default())),
            change: Ok(()),
            parked: Vec::new(),
            held: None,
            is_shared: false,
            calls,
        };
        (scripted, noted)
    }

    fn note(&self, call: String) {
        // A test that has seen enough is gone.
        let _ = self.calls.send(call);
    }
}

/// The id under which the groups deal.
pub(crate) const HOLDER: &str = "process-1";

/// Notes that a waiting call was dropped.
struct Dropped(Mutex<Sender<String>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.lock().unwrap().send("dropped".to_owned());
    }
}

fn ready<T: Send + 'static>(answer: T) -> BoxFuture<'static, T> {
    Box::pin(std::future::ready(answer))
}

impl Groups for Scripted {
    fn put(
        &self,
        group: GroupName,
        settings: GroupSettings,
        expect: Option<SettingsVersion>,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        self.note(format!("put {group} {expect:?} {}", settings.run_max));
        ready(self.put.clone())
    }

    fn host(
        &self,
        group: GroupName,
        settings: GroupSettings,
    ) -> BoxFuture<'_, Result<SettingsVersion, PutError>> {
        self.note(format!("host {group} {}", settings.run_max));
        ready(self.put.clone())
    }

    fn dealt_as(&self, holder: &str) -> Option<Arc<dyn Groups>> {
        (holder == HOLDER).then(|| Arc::new(self.clone()) as _)
    }

    fn dealer(&self) -> Option<Dealer> {
        let address = Some("http://10.0.0.7:2114".to_owned());
        (!self.is_shared).then(|| Dealer { id: HOLDER.to_owned(), address, is_here: true })
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn narrow(&self, group: GroupName) -> BoxFuture<'_, Result<SettingsVersion, ChangeError>> {
        self.note(format!("narrow {group}"));
        ready(self.change.clone().map(|()| SettingsVersion::new(9)))
    }

    fn remove(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        self.note(format!("remove {group}"));
        ready(self.change.clone())
    }

    fn get(&self, group: GroupName) -> BoxFuture<'_, Result<GroupStatus, LookError>> {
        self.note(format!("get {group}"));
        ready(self.look.clone())
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<GroupStatus>, LookError>> {
        self.note("list".to_owned());
        ready(self.look.clone().map(|status| vec![status]))
    }

    fn take(&self, group: GroupName, take: Take) -> BoxFuture<'_, Result<Taken, TakeError>> {
        Box::pin(async move {
            let Take { member, max, wait, holds, settle } = take;
            let holds = holds.map(|holds| holds.len());
            self.note(format!(
                "take {group} {member} {max} {wait:?} holds {holds:?} settles {}",
                settle.len()
            ));
            match self.taken.clone() {
                Some(answer) => answer,
                None => {
                    let _dropped = Dropped(Mutex::new(self.calls.clone()));
                    std::future::pending().await
                }
            }
        })
    }

    fn unwritten(&self, group: &GroupName, _: &MemberName, ids: &[DeliveryId]) {
        self.note(format!("unwritten {group} {ids:?}"));
    }

    fn parked(
        &self,
        group: GroupName,
        after: Option<StreamName>,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Vec<Parked>, LookError>> {
        self.note(format!("parked {group} {after:?} {limit}"));
        ready(Ok(self.parked.iter().take(limit.get() as usize).cloned().collect()))
    }

    fn held(
        &self,
        group: GroupName,
        stream: StreamName,
        limit: NonZeroU32,
    ) -> BoxFuture<'_, Result<Option<Held>, LookError>> {
        self.note(format!("held {group} {stream} {limit}"));
        ready(Ok(self.held.clone()))
    }

    fn replay(&self, group: GroupName, streams: Vec<StreamName>) -> BoxFuture<'_, Result<u32, ChangeError>> {
        self.note(format!("replay {group} {streams:?}"));
        ready(self.change.clone().map(|()| 3))
    }

    fn skip(
        &self,
        group: GroupName,
        stream: StreamName,
        through: Version,
        by: String,
        reason: String,
    ) -> BoxFuture<'_, Result<(), ChangeError>> {
        self.note(format!("skip {group} {stream} {through} by {by}: {reason}"));
        ready(self.change.clone())
    }

    fn pause(&self, group: GroupName, by: String) -> BoxFuture<'_, Result<(), ChangeError>> {
        self.note(format!("pause {group} by {by}"));
        ready(self.change.clone())
    }

    fn resume(&self, group: GroupName) -> BoxFuture<'_, Result<(), ChangeError>> {
        self.note(format!("resume {group}"));
        ready(self.change.clone())
    }

    fn reset(&self, group: GroupName, to: To) -> BoxFuture<'_, Result<Reset, ChangeError>> {
        self.note(format!("reset {group} {to:?}"));
        let at = Checkpoint::start(StoreId::from_bytes([7; 16]), 1);
        ready(self.change.clone().map(|()| Reset { at, were_parked: 2 }))
    }
}

/// Shares scripted groups with a server.
pub(crate) fn shared(scripted: Scripted) -> Arc<dyn Groups> {
    Arc::new(scripted)
}
