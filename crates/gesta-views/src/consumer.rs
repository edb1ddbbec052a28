//! A view as a consumer, for operators.

use std::io;
use std::sync::Arc;

use gesta_consumer::{AnyConsumer, Consumer, ConsumerReport, Paused};
use gesta_core::BoxFuture;

use crate::hosted::Hosted;
use crate::run_error::RunError;
use crate::status::State;
use crate::views::Views;

/// One view of a handle on all of them.
pub(crate) struct ViewConsumer {
    views: Arc<Views>,
    name: String,
}

impl ViewConsumer {
    /// `name` is a view of `views`.
    pub(crate) fn new(views: Arc<Views>, name: &str) -> Self {
        Self { views, name: name.to_owned() }
    }

    fn hosted(&self) -> &Hosted {
        self.views.view(&self.name).expect("a handle never loses a view")
    }

    fn consumer(&self) -> &Consumer<RunError> {
        &self.hosted().consumer
    }
}

impl AnyConsumer for ViewConsumer {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        self.consumer().kind()
    }

    fn report(&self) -> BoxFuture<'_, ConsumerReport> {
        Box::pin(async {
            let status = self.consumer().status().await;
            let error = State::of(status.state.clone()).error().map(ToString::to_string);
            ConsumerReport { error, ..status.into() }
        })
    }

    fn set_paused(&self, paused: Option<Paused>) {
        self.hosted().set_paused(paused);
    }

    fn restart(&self) -> io::Result<()> {
        self.hosted().restart()
    }
}
