//! Why there is no connection.

use std::error::Error;
use std::io;
use std::time::Duration;

use tokio_postgres::Error as ServerError;

use crate::files::FileError;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A file with a password or a certificate cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The connection cannot be encrypted as it must be, or the other side is not the one that it should be.
    #[error("no TLS to the database: {reason}")]
    Tls {
        /// The cause, and what helps.
        reason: String,
    },
    /// No host was ready in time.
    #[error("the database did not answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// The time that was given.
        after: Duration,
    },
    /// A socket could not be connected.
    #[error("no connection to the database: {0}")]
    Socket(io::Error),
    /// The server refused the connection, or it broke.
    #[error("{}", words(.0))]
    Server(ServerError),
}

/// The words of an error with those of its causes.
#[must_use]
pub fn words(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What the library says if the server has no TLS; it has no other sign of it.
const SERVER_HAS_NO_TLS: &str = "server does not support TLS";

/// The handshake of TLS failed, so nothing else was sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HandshakeFailed(#[source] pub(crate) io::Error);

/// Why one place gave no connection.
#[derive(Debug)]
pub(crate) enum Failure {
    Socket(io::Error),
    Server(ServerError),
}

impl Failure {
    /// True if the handshake of TLS failed. An error of TLS can also come later: a server of TLS 1.3 refuses the client's certificate
    /// after the handshake, when the login is under way.
    pub(crate) fn is_of_handshake(&self) -> bool {
        matches!(self, Self::Server(error) if cause::<HandshakeFailed>(error).is_some())
    }

    /// `authorities` names where certificates of authorities come from.
    pub(crate) fn explain(self, authorities: Option<&str>) -> ConnectError {
        let error = match self {
            Self::Socket(error) => return ConnectError::Socket(error),
            Self::Server(error) => error,
        };
        let handshake = cause::<HandshakeFailed>(&error).map(|HandshakeFailed(error)| error);
        if let Some(refused) = cause(&error) {
            return ConnectError::Tls { reason: explain(refused, authorities) };
        }
        if let Some(broken) = handshake {
            return ConnectError::Tls { reason: format!("the handshake failed: {broken}") };
        }
        if error.source().is_some_and(|cause| cause.to_string() == SERVER_HAS_NO_TLS) {
            let reason =
                "the server has none, or something between answers for it: set `ssl = on` at the server";
            return ConnectError::Tls { reason: reason.to_owned() };
        }
        ConnectError::Server(error)
    }
}

/// The cause of one type beneath an error of the client library.
fn cause<E: Error + 'static>(error: &ServerError) -> Option<&E> {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.into_iter().find_map(|cause| match cause.downcast_ref::<io::Error>() {
        Some(error) => inside(error),
        None => cause.downcast_ref(),
    })
}

/// The error inside one of I/O, whose source is the source of that error.
fn inside<E: Error + 'static>(error: &io::Error) -> Option<&E> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn explain(error: &rustls::Error, authorities: Option<&str>) -> String {
    const PARAMETER: &str = "`sslrootcert`";
    match error {
        rustls::Error::InvalidCertificate(wrong) => {
            gesta_tls::explain(wrong, authorities.unwrap_or(PARAMETER), PARAMETER)
        }
        rustls::Error::AlertReceived(alert) => format!(
            "the server ended the handshake ({alert:?}): look at its log; if it asks for a certificate, name one with `sslcert` and `sslkey`"
        ),
        error => error.to_string(),
    }
}
