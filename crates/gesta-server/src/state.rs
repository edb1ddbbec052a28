//! The state that all requests share: the store, views, application, limits and budgets.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gesta::process::Timers;
use gesta::schema::EventSchema;
use gesta::{App, Gesta};
use gesta_consumer::group::Groups;
use gesta_consumer::{Consumers, SystemClock};
use gesta_core::{EventStore, MemoryKeyValueStore};
use gesta_views::{LoadError, Reloaded, Views};
use tokio::sync::{Semaphore, watch};

use crate::closed::Closed;
use crate::evaluations::Evaluations;
use crate::identity::Identity;
use crate::limits::{EVALUATIONS_MAX, Limits, QUERIES_MAX};
use crate::principal::Authenticate;

/// Reads the definitions of views again. Blocks its thread.
pub(crate) type Reload = dyn Fn() -> Result<Reloaded, LoadError> + Send + Sync;

/// Why the server must not get requests, if that is so.
pub(crate) type Unready = dyn Fn() -> Option<String> + Send + Sync;

/// What a host puts into a server.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) views: Option<Arc<Views>>,
    /// What operators see; the views if the host names nothing.
    pub(crate) consumers: Option<Arc<Consumers>>,
    pub(crate) timers: Vec<Arc<Timers>>,
    pub(crate) app: Option<Arc<App>>,
    pub(crate) groups: Option<Arc<dyn Groups>>,
    /// The handle that commands are sent with; one on the store if there is none.
    pub(crate) gesta: Option<Gesta>,
    pub(crate) closed: Closed,
    pub(crate) authenticate: Option<Box<Authenticate>>,
    pub(crate) limits: Limits,
    pub(crate) hides_raw_routes: bool,
    /// The event types that the host knows; those of the application if it names none.
    pub(crate) events: Option<Vec<EventSchema>>,
    pub(crate) reload: Option<Box<Reload>>,
    pub(crate) unready: Option<Box<Unready>>,
}

/// The state that all requests share. Lives as long as the router.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) views: Option<Arc<Views>>,
    pub(crate) consumers: Arc<Consumers>,
    pub(crate) timers: Vec<Arc<Timers>>,
    pub(crate) app: Option<Arc<App>>,
    pub(crate) groups: Option<Arc<dyn Groups>>,
    pub(crate) gesta: Gesta,
    pub(crate) closed: Closed,
    pub(crate) authenticate: Option<Box<Authenticate>>,
    pub(crate) limits: Limits,
    pub(crate) identity: Identity,
    /// True if the routes for events are left out.
    pub(crate) hides_raw_routes: bool,
    /// Bytes of request bodies that may still be read.
    pub(crate) body_budget: Arc<Semaphore>,
    /// Bytes of large answers that may still be held for their clients.
    pub(crate) answer_budget: Arc<Semaphore>,
    /// Subscriptions that may still be opened.
    pub(crate) subscriptions: Arc<Semaphore>,
    /// Queries of views that may still start.
    pub(crate) queries: Arc<Semaphore>,
    /// Views as of earlier moments that may still be built.
    pub(crate) evaluating: Arc<Semaphore>,
    /// Views as of earlier moments.
    pub(crate) evaluations: Arc<Evaluations>,
    /// The OpenAPI document, once it was asked for.
    pub(crate) openapi: OnceLock<Bytes>,
    /// The AsyncAPI document, once it was asked for.
    pub(crate) asyncapi: OnceLock<Bytes>,
    /// Every version of every event type that the host knows.
    pub(crate) events: Vec<EventSchema>,
    /// Reads the definitions of views again.
    pub(crate) reload: Option<Box<Reload>>,
    /// What the host knows that the store does not say.
    pub(crate) unready: Option<Box<Unready>>,
    /// Becomes true when the server stops, which ends subscriptions.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(store: Arc<dyn EventStore>, config: Config) -> Self {
        let Config {
            views,
            consumers,
            timers,
            app,
            groups,
            gesta,
            closed,
            authenticate,
            limits,
            hides_raw_routes,
            events,
            reload,
            unready,
        } = config;
        let of_app = || app.iter().flat_map(|app| app.event_schemas()).collect();
        let events = events.unwrap_or_else(of_app);
        let budget = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        Self {
            gesta: gesta.unwrap_or_else(|| Gesta::new(Arc::clone(&store))),
            store,
            consumers: consumers.unwrap_or_else(|| Arc::new(consumers_of(views.as_ref()))),
            views,
            timers,
            app,
            groups,
            closed,
            authenticate,
            identity: Identity::default(),
            hides_raw_routes,
            body_budget: budget(limits.bodies_bytes_max),
            answer_budget: budget(limits.answers_bytes_max),
            subscriptions: Arc::new(Semaphore::new(limits.subscriptions_max)),
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            evaluating: Arc::new(Semaphore::new(EVALUATIONS_MAX)),
            evaluations: Arc::default(),
            openapi: OnceLock::new(),
            asyncapi: OnceLock::new(),
            events,
            reload,
            unready,
            stopping: watch::Sender::new(false),
            limits,
        }
    }
}

/// The views as consumers whose pauses last as long as the server.
fn consumers_of(views: Option<&Arc<Views>>) -> Consumers {
    let values = Arc::new(MemoryKeyValueStore::new());
    let consumers = Consumers::new(values, Arc::new(SystemClock)).forgetting_pauses();
    for view in views.into_iter().flat_map(Views::consumers) {
        consumers.add(view).expect("names of views are unique, and can be keys");
    }
    consumers
}

/// Ends when the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is dropped.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
