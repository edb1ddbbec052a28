//! TLS of the connections that Gesta opens: which authorities are trusted, how a client checks a server, and what its errors mean.
//!
//! *Choice:* rustls with `ring`, as everywhere in Gesta. It takes no certificates of X.509 version 1, and looks for the name of a host in
//! `subjectAltName` alone, where OpenSSL also takes a common name.

mod authorities;
mod explain;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use authorities::{AuthoritiesError, certificates_of, roots_of, system_roots};
pub use explain::explain;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

/// A client that encrypts, and talks to no server without a good certificate for its name.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    /// Where the trusted authorities come from, such as `the system`.
    authorities: String,
    /// Where a user names the file with authorities.
    parameter: &'static str,
}

impl Client {
    /// A client that trusts the authorities of a file in PEM form, and no others; without a file, those of the system.
    ///
    /// `parameter` is where a user names the file, for messages.
    ///
    /// # Errors
    /// [`AuthoritiesError`].
    pub fn new(file: Option<&Path>, parameter: &'static str) -> Result<Self, AuthoritiesError> {
        let (roots, authorities) = match file {
            Some(path) => (authorities::of_file(path)?, format!("`{}`", path.display())),
            None => (system_roots()?, "the system".to_owned()),
        };
        Ok(Self { config: Arc::new(config(roots)), authorities, parameter })
    }

    /// The configuration, for a library that makes its connections itself.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The name of a host, as certificates have it: a domain or the number of a host, in brackets too.
    ///
    /// # Errors
    /// If the text is neither.
    pub fn server_name(host: &str) -> io::Result<ServerName<'static>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let no_name =
            |_| io::Error::new(io::ErrorKind::InvalidInput, format!("`{host}` is not the name of a host"));
        ServerName::try_from(bare.to_owned()).map_err(no_name)
    }

    /// What is wrong with the certificate of a server, and what helps, if an error was caused by one; `None` for any other error.
    #[must_use]
    pub fn explain(&self, error: &(dyn std::error::Error + 'static)) -> Option<String> {
        let wrong = explain::wrong_certificate(error)?;
        Some(explain(wrong, &self.authorities, self.parameter))
    }
}

fn config(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has the suites of TLS 1.2 and 1.3");
    builder.with_root_certificates(roots).with_no_client_auth()
}
