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

impl ConnectError {
    /// Reads an error of the client library. `authorities` names where certificates of authorities come from.
    pub(crate) fn of(error: ServerError, authorities: Option<&str>) -> Self {
        if let Some(refused) = refusal_of_tls(&error) {
            return Self::Tls { reason: explain(refused, authorities) };
        }
        if error.source().is_some_and(|cause| cause.to_string() == SERVER_HAS_NO_TLS) {
            let reason = "the server has none: set `ssl = on` there, or use `sslmode=prefer` or `disable`";
            return Self::Tls { reason: reason.to_owned() };
        }
        Self::Server(error)
    }
}

/// The error of TLS beneath an error of the client library.
fn refusal_of_tls(error: &ServerError) -> Option<&rustls::Error> {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.into_iter().find_map(|cause| {
        // The source of an error of I/O is the source of the error inside it.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref())
    })
}

fn explain(error: &rustls::Error, authorities: Option<&str>) -> String {
    use rustls::CertificateError as Wrong;
    let rustls::Error::InvalidCertificate(wrong) = error else {
        return match error {
            rustls::Error::AlertReceived(alert) => format!(
                "the server ended the handshake ({alert:?}): look at its log; if it asks for a certificate, name one with `sslcert` and `sslkey`"
            ),
            error => error.to_string(),
        };
    };
    match wrong {
        Wrong::UnknownIssuer | Wrong::BadSignature => {
            let authorities = authorities.unwrap_or("`sslrootcert`");
            format!(
                "the server's certificate is not signed by an authority of {authorities}: name the file with its authority by `sslrootcert`"
            )
        }
        Wrong::NotValidForNameContext { expected, presented } => {
            let presented = if presented.is_empty() { "no host".to_owned() } else { presented.join(", ") };
            format!(
                "the server's certificate is for {presented}, not for `{}`: connect by a name of the certificate, or use `sslmode=verify-ca`",
                expected.to_str()
            )
        }
        Wrong::Expired | Wrong::ExpiredContext { .. } => "the server's certificate has expired".to_owned(),
        Wrong::Other(other) => format!(
            "the server's certificate cannot be used ({other}): it must be of X.509 version 3, with a `subjectAltName`, and not be that of an authority"
        ),
        wrong => wrong.to_string(),
    }
}
