//! Ending a request of a connection, over a second one.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::CancelToken;

use crate::socket::Place;
use crate::tls::Connector;

/// Ends requests of one connection. It has all that the connection was made with, so a file that has changed since cannot stop it.
#[derive(Clone)]
pub struct Canceller {
    pub(crate) token: CancelToken,
    pub(crate) connector: Connector,
    /// The name that the server's certificate is for.
    pub(crate) name: String,
    pub(crate) place: Place,
    /// The time for it.
    pub(crate) time: Duration,
}

impl Canceller {
    /// Asks the server to end the request that the connection waits for, within the time of a connection. Nobody learns what became
    /// of it, so the connection should be dropped.
    pub async fn cancel(&self) {
        let cancel = async {
            let stream = self.place.connect().await.map_err(|error| error.to_string())?;
            let cancelled = self.token.cancel_query_raw(stream, self.connector.handshake(&self.name)).await;
            cancelled.map_err(|error| crate::error::words(&error))
        };
        let cancelled = timeout(self.time, cancel).await;
        if !matches!(cancelled, Ok(Ok(()))) {
            tracing::debug!(?cancelled, "a request to the database was not cancelled");
        }
    }
}
