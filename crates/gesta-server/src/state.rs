//! The state that all requests share: the store, views, application, limits and budgets.

use std::sync::Arc;

use gesta::App;
use gesta_core::EventStore;
use gesta_views::Views;
use tokio::sync::{Semaphore, watch};

use crate::limits::{Limits, QUERIES_MAX};
use crate::principal::Authenticate;

/// The state that all requests share. Lives as long as the router.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) views: Option<Arc<Views>>,
    pub(crate) app: Option<Arc<App>>,
    pub(crate) authenticate: Option<Box<Authenticate>>,
    pub(crate) limits: Limits,
    /// Bytes of request bodies that may still be read.
    pub(crate) body_budget: Arc<Semaphore>,
    /// Bytes of large answers that may still be held for their clients.
    pub(crate) answer_budget: Arc<Semaphore>,
    /// Subscriptions that may still be opened.
    pub(crate) subscriptions: Arc<Semaphore>,
    /// Queries of views that may still start.
    pub(crate) queries: Arc<Semaphore>,
    /// Becomes true when the server stops, which ends subscriptions.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        views: Option<Arc<Views>>,
        app: Option<Arc<App>>,
        authenticate: Option<Box<Authenticate>>,
        limits: Limits,
    ) -> Self {
        let budget = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let body_budget = budget(limits.bodies_bytes_max);
        let answer_budget = budget(limits.answers_bytes_max);
        let subscriptions = Arc::new(Semaphore::new(limits.subscriptions_max));
        let queries = Arc::new(Semaphore::new(QUERIES_MAX));
        let stopping = watch::Sender::new(false);
        Self {
            store,
            views,
            app,
            authenticate,
            limits,
            body_budget,
            answer_budget,
            subscriptions,
            queries,
            stopping,
        }
    }
}

/// Ends when the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is dropped.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
