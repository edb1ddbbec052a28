//! The server and its builder.

use std::sync::Arc;

use axum::Router;
use axum::http::request::Parts;
use axum::middleware::from_fn;
use gesta::App;
use gesta::http::{Principal, Problem};
use gesta_core::EventStore;
use gesta_views::Views;
use tokio::net::TcpListener;

use crate::limits::Limits;
use crate::principal::Authenticate;
use crate::state::Shared;
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
    views: Option<Arc<Views>>,
    app: Option<Arc<App>>,
    authenticate: Option<Box<Authenticate>>,
    limits: Limits,
}

impl Server {
    /// A server of this store.
    #[must_use]
    pub fn builder(store: Arc<dyn EventStore>) -> Builder {
        Builder { store, views: None, app: None, authenticate: None, limits: Limits::default() }
    }

    /// The routes, to be mounted elsewhere. The caller must check the `Host` header.
    pub fn router(&self) -> Router {
        routes::router(Arc::clone(&self.shared))
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
    }
}

impl Builder {
    /// Adds views. The caller shuts them down after the server has ended.
    #[must_use]
    pub fn views(mut self, views: Arc<Views>) -> Self {
        self.views = Some(views);
        self
    }

    /// Adds an application on the same store: its commands, states and histories.
    #[must_use]
    pub fn app(mut self, app: Arc<App>) -> Self {
        self.app = Some(app);
        self
    }

    /// Adds authentication: the function finds the sender of each request, or refuses the request with a [`Problem`]. The principal
    /// is recorded as the actor of commands and is the scope of idempotency keys. Without it, all requests are anonymous.
    #[must_use]
    pub fn authenticate(
        mut self,
        authenticate: impl Fn(&Parts) -> Result<Option<Principal>, Problem> + Send + Sync + 'static,
    ) -> Self {
        self.authenticate = Some(Box::new(authenticate));
        self
    }

    /// Replaces the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Builds the server.
    #[must_use]
    pub fn build(self) -> Server {
        let Self { store, views, app, authenticate, limits } = self;
        Server { shared: Arc::new(Shared::new(store, views, app, authenticate, limits)) }
    }
}
