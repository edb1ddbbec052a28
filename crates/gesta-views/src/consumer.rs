//! A view as a consumer, for operators.

use std::io;
use std::sync::Arc;

use gesta_consumer::{AnyConsumer, ConsumerReport, Paused};
use gesta_core::BoxFuture;

use crate::hosted::Hosted;
use crate::status::State;
use crate::views::Views;

/// One view of a handle on all of them.
pub(crate) struct ViewConsumer {
    /// Dropped last, it would shut the views down.
    _views: Arc<Views>,
    hosted: Arc<Hosted>,
}

impl ViewConsumer {
    /// `hosted` is a view of `views`.
    pub(crate) const fn new(views: Arc<Views>, hosted: Arc<Hosted>) -> Self {
        Self { _views: views, hosted }
    }
}

impl AnyConsumer for ViewConsumer {
    fn name(&self) -> &str {
        &self.hosted.view.name
    }

    fn kind(&self) -> &'static str {
        self.hosted.consumer.kind()
    }

    fn report(&self) -> BoxFuture<'_, ConsumerReport> {
        Box::pin(async {
            let status = self.hosted.consumer.status().await;
            let error = State::of(status.state.clone()).error().map(ToString::to_string);
            let refused = || self.hosted.view.refused().map(|refused| format!("not taken: {refused}"));
            let parked_streams = self.hosted.view.parked().len();
            ConsumerReport { error: error.or_else(refused), parked_streams, ..status.into() }
        })
    }

    fn set_paused(&self, paused: Option<Paused>) {
        self.hosted.set_paused(paused);
    }

    fn restart(&self) -> io::Result<()> {
        self.hosted.restart()
    }
}
