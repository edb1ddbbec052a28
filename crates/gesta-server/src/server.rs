//! The server: what it serves, put together.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use gesta::App;
use gesta_core::EventStore;
use gesta_views::Views;
use tokio::net::TcpListener;

use crate::limits::Limits;
use crate::state::Shared;
use crate::{hosts, routes, serve};

/// A store over HTTP, and what is hosted beside it.
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

/// Puts a [`Server`] together.
pub struct Builder {
    store: Arc<dyn EventStore>,
    views: Option<Arc<Views>>,
    app: Option<Arc<App>>,
    limits: Limits,
}

impl Server {
    /// A server of that store.
    #[must_use]
    pub fn builder(store: Arc<dyn EventStore>) -> Builder {
        Builder { store, views: None, app: None, limits: Limits::default() }
    }

    /// Its routes, to be mounted elsewhere. Which hosts requests may name is the mounter's to say.
    pub fn router(&self) -> Router {
        routes::router(Arc::clone(&self.shared))
    }

    /// Serves until `shutdown` ends; then open requests may end, subscriptions are ended, and nothing new is taken.
    ///
    /// On a loopback address it answers only requests that name this machine as their host: `localhost`, a name below it, or a
    /// loopback address. So no web page reaches it by having its own name point there.
    ///
    /// # Cancel safety
    /// Dropping it cuts every connection.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        let router = self.router();
        let router = if is_local { router.layer(from_fn(hosts::only_local)) } else { router };
        serve::serve(listener, router, &self.shared.limits, &self.shared.stopping, shutdown).await;
    }
}

impl Builder {
    /// The same server, which also answers queries of these views. They stay their owner's to shut down.
    #[must_use]
    pub fn views(mut self, views: Arc<Views>) -> Self {
        self.views = Some(views);
        self
    }

    /// The same server, which also takes commands for this application, on the same store.
    #[must_use]
    pub fn app(mut self, app: Arc<App>) -> Self {
        self.app = Some(app);
        self
    }

    /// The same server within other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The server.
    #[must_use]
    pub fn build(self) -> Server {
        Server { shared: Arc::new(Shared::new(self.store, self.views, self.app, self.limits)) }
    }
}
