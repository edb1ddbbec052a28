//! The HTTP client: kept connections, TLS, and no way to addresses of the link.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use hyper::{Request, body::Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as PooledClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tower_service::Service;

use super::answer::Answer;
use crate::limits::CONNECT_TIME;
use gesta_core::with_causes;

/// Bytes of an answer that are read. A longer one is cut, with its connection.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The time for the rest of an answer after its head: below the shortest time for the whole.
const BODY_TIME: Duration = Duration::from_millis(50);

/// Sends requests. A clone shares the connections.
#[derive(Clone)]
pub(super) struct Client {
    pool: PooledClient<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    tls: gesta_tls::Client,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The target is away.
    Away(String),
    /// Its certificate is not good.
    Certificate(String),
}

impl Client {
    /// Creates a client that checks targets with TLS.
    pub(super) fn new(tls: gesta_tls::Client) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIME));
        // Requests are whole: waiting for a full packet only adds latency.
        http.set_nodelay(true);
        let https = HttpsConnectorBuilder::new().with_tls_config((**tls.config()).clone());
        let connector = https.https_or_http().enable_http1().wrap_connector(http);
        let pool = PooledClient::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { pool, tls }
    }

    /// Sends a request and receives the answer.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let response = self.pool.request(request).await.map_err(|error| match self.tls.explain(&error) {
            Some(reason) => NoAnswer::Certificate(reason),
            None => NoAnswer::Away(with_causes(&error)),
        })?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: text_of(&head.headers, &RETRY_AFTER),
            location: text_of(&head.headers, &LOCATION),
            // The status is the answer. A target that goes on with its body for ever must not hold back the stream.
            body: timeout(BODY_TIME, beginning(body)).await.unwrap_or_default(),
        })
    }
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// The beginning of a body. Its status counts, whatever becomes of the rest.
async fn beginning(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        if bytes.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A target is an address of the link.
#[derive(Debug, thiserror::Error)]
#[error("leads to {0}, a link-local address, where clouds keep credentials: give another host")]
pub(super) struct LinkLocal(IpAddr);

/// Refuses a host that is a link-local IP address.
pub(super) fn check_host(host: &str) -> Result<(), LinkLocal> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().map_or(Ok(()), check)
}

fn check(address: IpAddr) -> Result<(), LinkLocal> {
    let is_link_local = match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if is_link_local { Err(LinkLocal(address)) } else { Ok(()) }
}

/// Finds the addresses of names, and refuses those of the link.
#[derive(Clone)]
pub(super) struct Resolver(GaiResolver);

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name);
        Box::pin(async move {
            let addresses = found.await?.collect::<Vec<_>>();
            let checked = addresses.iter().try_for_each(|address| check(address.ip()));
            checked.map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()))?;
            Ok(addresses.into_iter())
        })
    }
}
