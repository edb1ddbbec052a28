//! A panic of a handler is an answer to its client, and nobody else's business.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use gesta::http::Problem;

/// Answers 500 where a handler panics, and goes on.
pub(crate) async fn catch(request: Request, next: Next) -> Response {
    let route = format!("{} {}", request.method(), request.uri().path());
    let mut answer = pin!(next.run(request));
    // What a handler shares is behind locks and channels that a panic leaves usable, as for any thread that panics.
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
    let detail = "the server came upon a mistake of its own: its log has the details";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server made a mistake", detail)
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
