//! The shared poll: one request that the server holds until there are events past the newest head that the client knows.

use std::sync::Arc;
use std::time::Duration;

use gesta_core::{Checkpoint, ReadError};
use tokio::time::Instant;

use crate::answer;
use crate::ask::send;
use crate::request::Request;
use crate::shared::Shared;

/// Polls while a waiter sits. Never ends.
pub(crate) async fn run(shared: Arc<Shared>, wait_seconds: u32) {
    loop {
        let (from, asked) = shared.poll_from().await;
        match poll(&shared, &from, wait_seconds).await {
            Ok(head) => shared.report(&head, asked),
            Err(error) => shared.fail(error),
        }
    }
}

async fn poll(shared: &Shared, from: &Checkpoint, wait_seconds: u32) -> Result<Checkpoint, ReadError> {
    let time = Duration::from_secs(wait_seconds.into()) + shared.options.request_time;
    let request = Request::wait(from, wait_seconds);
    let deadline = Instant::now() + time;
    answer::checkpoint(&send(&shared.polling, &shared.identity, &request, deadline).await?)
}
