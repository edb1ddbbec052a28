//! The routes of a server beside those of its store.

use bytes::Bytes;
use gesta_core::{BoxFuture, Retry};
use gesta_wire::Problem;
use hyper::header::{HeaderName, HeaderValue};

use crate::ask::AskError;
use crate::connect::{ConnectError, start};
use crate::options::ClientOptions;
use crate::request::Request;
use crate::thread::Thread;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A server of Gesta, for requests that are not those of a store: states of entities, queries of views, pauses of
/// consumers. It has one thread, and its futures need no runtime.
pub struct RemoteServer {
    thread: Thread,
}

/// Why a request to a server failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server did not answer, or what answered is no server of Gesta.
    #[error("the server does not answer: {reason}")]
    Unreachable {
        /// The cause.
        reason: String,
    },
    /// The server answered with a problem.
    #[error("the server refused the request: {}", .problem.detail)]
    Refused {
        /// The problem.
        problem: Box<Problem>,
    },
    /// The idempotency key is not visible ASCII, so no header can have it.
    #[error("an idempotency key is 1 to 256 visible ASCII characters")]
    Key,
    /// Another store answers at the address.
    #[error("the server has another store now")]
    Closed,
}

impl RequestError {
    /// Returns the advice on sending the same request again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } => Retry::AfterPause,
            Self::Refused { problem } => problem.retry,
            Self::Key | Self::Closed => Retry::Never,
        }
    }
}

impl RemoteServer {
    /// Makes a client of the server at an address such as `http://127.0.0.1:2114`. It connects with the first request.
    ///
    /// # Errors
    /// [`ConnectError::Address`] or [`ConnectError::Thread`].
    pub fn new(url: &str, options: &ClientOptions) -> Result<Self, ConnectError> {
        let (thread, _) = start(url, options)?;
        Ok(Self { thread })
    }

    /// Gets the answer of a route. `path` is percent-encoded and begins with a slash.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn get(&self, path: &str) -> BoxFuture<'_, Result<Bytes, RequestError>> {
        self.ask(Request::get(path.to_owned()))
    }

    /// Posts JSON to a route at which a repeat does no harm: a request whose answer was lost is sent again, once.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn post(&self, path: &str, json: Vec<u8>) -> BoxFuture<'_, Result<Bytes, RequestError>> {
        self.ask(Request::post(path, json))
    }

    /// Posts JSON to a route under an idempotency key: a request whose answer was lost is sent again, once, and has one
    /// effect. The key is 1 to 256 visible ASCII characters.
    ///
    /// # Errors
    /// [`RequestError`]. After [`RequestError::Unreachable`] the request may have had its effect: send it again with the
    /// same key.
    pub fn command(
        &self,
        path: &str,
        json: Vec<u8>,
        key: &str,
    ) -> BoxFuture<'_, Result<Bytes, RequestError>> {
        let request = Request::post(path, json);
        match HeaderValue::from_str(key) {
            Ok(key) => self.ask(request.with(IDEMPOTENCY_KEY, key)),
            Err(_) => Box::pin(async { Err(RequestError::Key) }),
        }
    }

    fn ask(&self, request: Request) -> BoxFuture<'_, Result<Bytes, RequestError>> {
        Box::pin(async move {
            let answer = self.thread.ask(request).await.map_err(|error| match error {
                AskError::Unavailable(reason) => RequestError::Unreachable { reason },
                AskError::Closed => RequestError::Closed,
            })?;
            if answer.status.is_success() {
                return Ok(answer.body);
            }
            Err(match Problem::from_json(&answer.body) {
                Ok(problem) => RequestError::Refused { problem: Box::new(problem) },
                Err(error) => RequestError::Unreachable { reason: error.to_string() },
            })
        })
    }
}
