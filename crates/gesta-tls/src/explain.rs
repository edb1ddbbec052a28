//! What an error of TLS means for the user, and what helps.

use std::error::Error;
use std::io;

use rustls::CertificateError as Wrong;

/// What is wrong with a certificate, among the causes of an error.
pub(crate) fn wrong_certificate<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Wrong> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(wrong)) = error.downcast_ref() {
            return Some(wrong);
        }
        // The source of an error of input and output is that of the error inside.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

/// What is wrong with the certificate of a server, and what helps.
///
/// `authorities` is where the trusted ones come from, such as `the system`. `parameter` is where a user names the file with authorities,
/// such as `` `ca_file` ``.
#[must_use]
pub fn explain(wrong: &Wrong, authorities: &str, parameter: &str) -> String {
    match wrong {
        Wrong::UnknownIssuer | Wrong::BadSignature => format!(
            "the server's certificate is not signed by an authority of {authorities}: name the file with its authority by {parameter}"
        ),
        Wrong::NotValidForNameContext { expected, presented } => {
            let presented = if presented.is_empty() { "no host".to_owned() } else { presented.join(", ") };
            format!(
                "the server's certificate is for {presented}, not for `{}`: connect by a name of the certificate, or add this one to it",
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
