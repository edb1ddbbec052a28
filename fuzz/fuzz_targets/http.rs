//! Requests to the server, without a socket: any body to every route that takes one, and any query to routes that
//! read.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, Uri};
use gesta_core::{MemoryStore, StoreId, Timestamp};
use gesta_server::{Limits, Server};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// Routes that take a body, each with its content type.
const POSTS: &[(&str, &str)] = &[
    ("/streams/account-1", "application/json"),
    ("/streams/account-1", "application/cloudevents+json"),
    ("/streams/account-1", "application/cloudevents-batch+json"),
    ("/batches", "application/json"),
    ("/batches/repeat", "application/json"),
    ("/events/query", "application/json"),
];
const READS: &[&str] = &["/streams", "/streams/account-1", "/events", "/checkpoint"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let kind = usize::from(*kind) % (POSTS.len() + READS.len());
    let Some(request) =
        POSTS.get(kind).map_or_else(|| read(READS[kind - POSTS.len()], rest), |to| post(to, rest))
    else {
        return;
    };
    let store = MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1));
    let limits = Limits { checkpoint_wait_max: Duration::ZERO, ..Limits::default() };
    let router = Server::builder(Arc::new(store)).limits(limits).build().router();
    let answer = RUNTIME.block_on(router.oneshot(request)).expect("a router answers");
    assert_ne!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR, "a request never breaks the server");
});

fn post((path, content_type): &(&str, &str), body: &[u8]) -> Option<Request<Body>> {
    let request = Request::post(*path).header("host", "localhost").header("content-type", *content_type);
    request.body(Body::from(body.to_vec())).ok()
}

fn read(path: &str, query: &[u8]) -> Option<Request<Body>> {
    let query = std::str::from_utf8(query).ok()?;
    let uri = format!("{path}?{query}").parse::<Uri>().ok()?;
    Request::get(uri).header("host", "localhost").body(Body::empty()).ok()
}
