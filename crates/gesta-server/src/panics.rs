//! Answers 500 if a handler panics, so that other requests go on.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use gesta::http::Problem;

/// Answers 500 if the handler panics.
pub(crate) async fn catch(request: Request, next: Next) -> Response {
    let route = format!("{} {}", request.method(), request.uri().path());
    let mut answer = pin!(next.run(request));
    // Unwind safe: handlers share state only through locks and channels, which stay usable after a panic.
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            tracing::error!(route, panic = message(&*panic), "a handler panicked");
            Poll::Ready(problem().into_response())
        })
    })
    .await
}

fn problem() -> Problem {
    Problem::internal("the server has a bug: its log has the details")
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
