//! The server and its builder.

use std::sync::Arc;

use axum::Router;
use axum::http::request::Parts;
use axum::middleware::from_fn;
use gesta::http::{Principal, Problem};
use gesta::process::Timers;
use gesta::schema::EventSchema;
use gesta::{App, Gesta};
use gesta_consumer::Consumers;
use gesta_consumer::group::Groups;
use gesta_core::{Category, EventStore};
use gesta_views::{LoadError, Reloaded, Views};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::limits::Limits;
use crate::routes::description::{asyncapi_of, openapi_of};
use crate::state::{Config, Shared};
use crate::{hosts, routes, serve};

/// A store over HTTP, with views and an application if they are added.
///
/// # Example
/// ```no_run
/// # use std::sync::Arc;
/// # async fn run(store: Arc<dyn gesta_core::EventStore>) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:2114").await?;
/// let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// gesta_server::Server::builder(store).build().serve(listener, stop).await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    shared: Arc<Shared>,
}

/// Builds a [`Server`].
pub struct Builder {
    store: Arc<dyn EventStore>,
    config: Config,
    /// Categories to keep open, though they are hosted.
    open: Vec<Category>,
}

impl Server {
    /// A server of this store.
    #[must_use]
    pub fn builder(store: Arc<dyn EventStore>) -> Builder {
        Builder { store, config: Config::default(), open: Vec::new() }
    }

    /// The routes, to be mounted elsewhere. The caller must check the `Host` header.
    pub fn router(&self) -> Router {
        routes::router(Arc::clone(&self.shared))
    }

    /// The OpenAPI 3.1 document of the routes, as `GET /openapi.json` gives it.
    #[must_use]
    pub fn openapi(&self) -> Value {
        openapi_of(&self.shared)
    }

    /// The AsyncAPI 3.0 document of the messages that the server sends, as `GET /asyncapi.json` gives it.
    #[must_use]
    pub fn asyncapi(&self) -> Value {
        asyncapi_of(&self.shared)
    }

    /// Serves until `shutdown` ends. Then it accepts no new connection and ends subscriptions; a subscription whose client is behind
    /// is cut. Open requests get [`Limits::shutdown_time_max`] to end, then their connections are cut.
    ///
    /// On a loopback address it answers only requests whose host is this machine: `localhost`, a name below it, or a loopback
    /// address. So no web page reaches it by pointing its own name there.
    ///
    /// # Cancel safety
    /// Dropping the future cuts every connection.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        let router = self.router();
        let router = if is_local { router.layer(from_fn(hosts::only_local)) } else { router };
        serve::serve(listener, router, &self.shared.limits, &self.shared.stopping, shutdown).await;
        let evaluations = Arc::clone(&self.shared.evaluations);
        let cleared = tokio::task::spawn_blocking(move || evaluations.clear());
        cleared.await.expect("a drop does not panic");
    }
}

impl Builder {
    /// Adds views. The caller shuts them down after the server has ended.
    #[must_use]
    pub fn views(mut self, views: Arc<Views>) -> Self {
        self.config.views = Some(views);
        self
    }

    /// Serves `POST /views/reload` with this function, which loads the definitions of the views again and gives them to
    /// [`Views::reload`]. It may block its thread.
    #[must_use]
    pub fn reload_views(
        mut self,
        reload: impl Fn() -> Result<Reloaded, LoadError> + Send + Sync + 'static,
    ) -> Self {
        self.config.reload = Some(Box::new(reload));
        self
    }

    /// Makes `GET /readyz` answer 503 with the reason, as long as this function gives one. It is asked at each call, and must not block.
    #[must_use]
    pub fn unready_if(mut self, unready: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.config.unready = Some(Box::new(unready));
        self
    }

    /// Names what operators see under `/consumers`, with the store that keeps their pauses. By default these are the views, and
    /// their pauses end with the server. The caller stops them after the server has ended.
    #[must_use]
    pub fn consumers(mut self, consumers: Arc<Consumers>) -> Self {
        self.config.consumers = Some(consumers);
        self
    }

    /// Adds the timers of processes to the figures of `/metrics`. The caller stops them after the server has ended.
    #[must_use]
    pub fn timers(mut self, timers: impl IntoIterator<Item = Arc<Timers>>) -> Self {
        self.config.timers.extend(timers);
        self
    }

    /// Adds an application on the same store: its commands, states and histories. Raw appends to the categories of its deciders are
    /// refused, `409 hosted-category`: they would ask no decider.
    #[must_use]
    pub fn app(mut self, app: Arc<App>) -> Self {
        self.config.app = Some(app);
        self
    }

    /// Adds consumer groups on the same store. The caller shuts them down after the server has ended.
    #[must_use]
    pub fn groups(mut self, groups: Arc<dyn Groups>) -> Self {
        self.config.groups = Some(groups);
        self
    }

    /// Sends commands with this handle, which has a clock and event ids of the host. It must be on the server's store.
    #[must_use]
    pub fn gesta(mut self, gesta: Gesta) -> Self {
        self.config.gesta = Some(gesta);
        self
    }

    /// Refuses raw appends to these categories too, `409 hosted-category`.
    #[must_use]
    pub fn closed(mut self, categories: impl IntoIterator<Item = Category>) -> Self {
        categories.into_iter().for_each(|category| self.config.closed.insert(category.as_str()));
        self
    }

    /// Accepts raw appends to a category that would be closed, for imports and repairs.
    #[must_use]
    pub fn open_category(mut self, category: Category) -> Self {
        self.open.push(category);
        self
    }

    /// Adds authentication: the function finds the sender of each request, or refuses the request with a [`Problem`]. The principal
    /// is recorded as the actor of commands and is the scope of idempotency keys. Without it, all requests are anonymous.
    #[must_use]
    pub fn authenticate(
        mut self,
        authenticate: impl Fn(&Parts) -> Result<Option<Principal>, Problem> + Send + Sync + 'static,
    ) -> Self {
        self.config.authenticate = Some(Box::new(authenticate));
        self
    }

    /// Names the event types that the host knows, for the AsyncAPI document. By default these are the types of the application.
    #[must_use]
    pub fn event_types(mut self, events: Vec<EventSchema>) -> Self {
        self.config.events = Some(events);
        self
    }

    /// Leaves out the routes for events: `/store`, `/streams`, `/batches` and `/events`. For a service whose store is that of
    /// another server: it shows its commands, states and views, and that server has these routes.
    #[must_use]
    pub fn without_raw_routes(mut self) -> Self {
        self.config.hides_raw_routes = true;
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// Builds the server.
    #[must_use]
    pub fn build(self) -> Server {
        let Self { store, mut config, open } = self;
        let hosted = config.app.iter().flat_map(|app| app.deciders());
        hosted.for_each(|decider| config.closed.insert(decider.category));
        open.iter().for_each(|category| config.closed.remove(category));
        Server { shared: Arc::new(Shared::new(store, config)) }
    }
}
