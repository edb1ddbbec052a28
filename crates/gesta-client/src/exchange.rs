//! One request and its answer, over one connection.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gesta_core::{StoreId, with_causes};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::address::Address;
use crate::identity::Identity;
use crate::limits::ANSWER_BYTES_MAX;
use crate::pool::{Connection, Pool};
use crate::request::Request;

/// The header that names the store of a request and of an answer.
const STORE: HeaderName = HeaderName::from_static("gesta-store");

/// Sends requests to one server. A clone shares everything.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) address: Arc<Address>,
    pub(crate) pool: Arc<Pool>,
    /// The store that the server must have.
    pub(crate) identity: Arc<Identity>,
    /// Bytes of answers that may still be received.
    pub(crate) budget: Arc<Semaphore>,
    pub(crate) answers_bytes_max: usize,
}

/// An answer, of whatever server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The store that the answer names.
    pub(crate) store: Option<StoreId>,
    pub(crate) body: Bytes,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No byte of it was sent.
    Unsent(String),
    /// A byte of it may have been sent.
    Lost(String),
}

impl Exchange {
    /// Sends a request and receives the whole answer, until `deadline`.
    ///
    /// # Cancel safety
    /// A dropped request closes its connection. The server may have got it.
    pub(crate) async fn send(&self, request: &Request, deadline: Instant) -> Result<Answer, Failure> {
        loop {
            let http = self.to_http(request).map_err(|error| Failure::Unsent(error.to_string()))?;
            let taken = timeout_at(deadline, self.pool.take()).await;
            let taken = taken.map_err(|_| Failure::Unsent("no connection was free in time".to_owned()))?;
            let connection = taken.map_err(Failure::Unsent)?;
            let was_kept = connection.was_kept;
            let sent = timeout_at(deadline, self.send_on(connection, http)).await;
            let lost = match sent {
                Ok(Ok(answer)) => return Ok(answer),
                // The server closed the connection after its last request: the next one is as good.
                Ok(Err(Failure::Unsent(_))) if was_kept => continue,
                Ok(Err(Failure::Unsent(reason))) => return Err(Failure::Unsent(reason)),
                Ok(Err(Failure::Lost(reason))) => reason,
                Err(_) => "the server did not answer in time".to_owned(),
            };
            self.pool.forget();
            return Err(Failure::Lost(lost));
        }
    }

    async fn send_on(
        &self,
        mut connection: Connection,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        let broken = |error: &hyper::Error| format!("the connection broke: {}", with_causes(error));
        connection.sender().ready().await.map_err(|error| Failure::Unsent(broken(&error)))?;
        let response = match connection.sender().try_send_request(request).await {
            Ok(response) => response,
            Err(error) if error.message().is_some() => {
                return Err(Failure::Unsent(broken(error.error())));
            }
            Err(error) => return Err(Failure::Lost(broken(error.error()))),
        };
        let (status, store) = (response.status(), store_of(response.headers()));
        let body = self.receive(response).await.map_err(Failure::Lost)?;
        self.pool.give_back(connection);
        Ok(Answer { status, store, body })
    }

    fn to_http(&self, request: &Request) -> hyper::http::Result<hyper::Request<Full<Bytes>>> {
        let Address { authority, prefix, .. } = &*self.address;
        let mut http = hyper::Request::builder()
            .method(&request.method)
            .uri(format!("{prefix}{}", request.path))
            .header(HOST, authority)
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if !request.body.is_empty() {
            http = http.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(store) = self.identity.store() {
            http = http.header(STORE, store.to_string());
        }
        for (name, value) in &request.headers {
            http = http.header(name, value);
        }
        http.body(Full::new(request.body.clone()))
    }

    /// Receives a body within the budget for answers.
    async fn receive(&self, response: Response<Incoming>) -> Result<Bytes, String> {
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > ANSWER_BYTES_MAX) {
            return Err(too_long());
        }
        // An answer of unknown length is received alone, so that no two wait for each other.
        let _held = self.hold(length.unwrap_or(self.answers_bytes_max)).await;
        let mut body = response.into_body();
        let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("the answer broke off: {}", with_causes(&error)))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + joined.len() + data.len() > ANSWER_BYTES_MAX {
                return Err(too_long());
            }
            if first.is_empty() && joined.is_empty() {
                first = data;
                continue;
            }
            if joined.is_empty() {
                joined = BytesMut::with_capacity(length.unwrap_or(first.len()));
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&data);
        }
        Ok(if joined.is_empty() { first } else { joined.freeze() })
    }

    async fn hold(&self, bytes: usize) -> OwnedSemaphorePermit {
        let permits = u32::try_from(bytes.min(self.answers_bytes_max)).unwrap_or(u32::MAX);
        let budget = Arc::clone(&self.budget);
        budget.acquire_many_owned(permits).await.expect("the budget is never closed")
    }
}

fn store_of(headers: &HeaderMap) -> Option<StoreId> {
    headers.get(STORE)?.to_str().ok()?.parse().ok()
}

fn too_long() -> String {
    format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")
}
