//! Connections: accepted, bounded in number and time, and ended when the server stops.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::limits::Limits;
use crate::stall::{Connection, Stall};
use crate::state::stopped;

/// Accepts connections until `shutdown` ends, then waits for open requests to end.
///
/// *Choice:* hyper directly, not `axum::serve`, which has no time-out for the head of a request.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &Limits,
    stopping: &watch::Sender<bool>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let slot = Arc::clone(&slots).acquire_owned();
        let accepted = async {
            let slot = slot.await.expect("the slots are never closed");
            (listener.accept().await, slot)
        };
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (accepted, slot) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), limits.clone(), stopping.subscribe());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.shutdown_time_max, all_ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections are cut: their requests did not end in time"
        );
    }
}

/// An accept fails because of the client, or because there are no file descriptors until other connections end.
async fn pause_after(error: &io::Error) {
    let by_client =
        [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    if !by_client.contains(&error.kind()) {
        tracing::error!(error = %error, "a connection could not be accepted");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn connection(stream: TcpStream, router: Router, limits: Limits, mut stopping: watch::Receiver<bool>) {
    // Answers are small and whole: waiting for a full packet only adds latency.
    let _ = stream.set_nodelay(true);
    let state = Connection::default();
    let io = TokioIo::new(Stall::new(stream, state.clone(), limits.write_stall_max));
    let (router, on_request) = (TowerToHyperService::new(router), state.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(on_request.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time_max)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            state.stops();
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended with an error");
    }
}
