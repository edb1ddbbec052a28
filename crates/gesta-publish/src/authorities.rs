//! The authorities that targets with TLS are checked against, from the key `ca_file`.

use std::path::Path;

use gesta_tls::Client;

use crate::fault::Fault;

/// The key of a publisher that names the file.
const KEY: &str = "ca_file";

/// The client of a target with TLS. The error is the key that is wrong, and what is wrong with it.
pub(crate) fn client_of(ca: Option<&Path>) -> Result<Client, (&'static str, String)> {
    Client::new(ca, "`ca_file`").map_err(|error| match ca {
        Some(_) => (KEY, format!("names a file that cannot be used: {error}")),
        None => (KEY, format!("is missing: {error}")),
    })
}

/// A target without a good certificate takes no event until somebody changes something.
pub(crate) fn of_certificate(target: &str, reason: &str) -> Fault {
    Fault::Misdirected {
        reason: format!(
            "cannot connect to {target}: {reason}; then start the server again or resume the group"
        ),
    }
}
