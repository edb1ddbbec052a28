//! What every request shares: the store, what is hosted beside it, limits and budgets.

use std::sync::Arc;

use gesta::App;
use gesta_core::EventStore;
use gesta_views::Views;
use tokio::sync::{Semaphore, watch};

use crate::limits::{Limits, QUERIES_MAX};

/// What every request shares. Lives as long as the router.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) views: Option<Arc<Views>>,
    pub(crate) app: Option<Arc<App>>,
    pub(crate) limits: Limits,
    /// Bytes of request bodies that may still be taken in.
    pub(crate) body_budget: Arc<Semaphore>,
    /// Bytes of large answers that may still wait for their clients.
    pub(crate) answer_budget: Arc<Semaphore>,
    /// Subscriptions that may still be opened.
    pub(crate) subscriptions: Arc<Semaphore>,
    /// Queries of views that may still run.
    pub(crate) queries: Arc<Semaphore>,
    /// Turns true when the server stops: subscriptions end then.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        views: Option<Arc<Views>>,
        app: Option<Arc<App>>,
        limits: Limits,
    ) -> Self {
        let budget = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        let body_budget = budget(limits.bodies_bytes_max);
        let answer_budget = budget(limits.answers_bytes_max);
        let subscriptions = Arc::new(Semaphore::new(limits.subscriptions_max));
        let queries = Arc::new(Semaphore::new(QUERIES_MAX));
        let stopping = watch::Sender::new(false);
        Self { store, views, app, limits, body_budget, answer_budget, subscriptions, queries, stopping }
    }
}

/// Ends when the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the server is gone altogether.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
