//! TLS to a server: what the parameters ask for, and the connector that does it.
//!
//! *Choice:* rustls with `ring`, as everywhere in Gesta. It takes no certificates of X.509 version 1, and looks for the name of a host in
//! `subjectAltName` alone, where OpenSSL also takes a common name.

mod binding;
mod stream;
mod verifier;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::ChannelBinding;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use crate::error::{ConnectError, HandshakeFailed};
use crate::files::{Candidate, FileError, environment};
pub use stream::TlsStream;
use verifier::{Checks, Verifier};

/// What an address says of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    mode: Option<Mode>,
    roots: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    channel_binding: Option<ChannelBinding>,
}

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err("`sslmode` is `disable`, `prefer`, `require`, `verify-ca` or `verify-full`".to_owned()),
        }
    }
}

/// The value of `sslrootcert` that means the authorities of the system.
const SYSTEM: &str = "system";
/// The folder with the usual files, in the home folder.
const FOLDER: &str = ".postgresql";

/// How to encrypt a connection, with all files read.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) mode: Mode,
    pub(crate) connector: Connector,
    /// Where the certificates of authorities come from, for messages.
    pub(crate) authorities: Option<String>,
}

impl Tls {
    /// Nothing is encrypted.
    pub(crate) const fn off() -> Self {
        Self { mode: Mode::Disable, connector: Connector::off(), authorities: None }
    }
}

/// Reads the value of `channel_binding`.
fn binding_of(text: &str) -> Result<ChannelBinding, String> {
    match text {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err("`channel_binding` is `disable`, `prefer` or `require`".to_owned()),
    }
}

impl TlsSettings {
    /// Takes a parameter; returns false for one of another matter.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "sslmode" => self.mode = Some(Mode::parse(value)?),
            "sslrootcert" => self.roots = Some(value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.key = Some(value.into()),
            "channel_binding" => self.channel_binding = Some(binding_of(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// If a login must be bound to the server's certificate. It must also where nothing is encrypted, and fails there.
    pub(crate) fn channel_binding(&self) -> Result<ChannelBinding, ConnectError> {
        let named = || environment("PGCHANNELBINDING").map(|value| binding_of(&value.to_string_lossy()));
        match self.channel_binding {
            Some(binding) => Ok(binding),
            None => {
                named().unwrap_or(Ok(ChannelBinding::Prefer)).map_err(|reason| ConnectError::Tls { reason })
            }
        }
    }

    /// Reads the environment and the files.
    pub(crate) fn load(&self) -> Result<Tls, ConnectError> {
        let wrong = |reason: String| ConnectError::Tls { reason };
        let roots = self.roots.clone().or_else(|| environment("PGSSLROOTCERT").map(PathBuf::from));
        let is_system = roots.as_deref() == Some(Path::new(SYSTEM));
        let named = environment("PGSSLMODE").map(|mode| Mode::parse(&mode.to_string_lossy()));
        let mode = match self.mode {
            Some(mode) => mode,
            None => named.transpose().map_err(wrong)?.unwrap_or(match is_system {
                true => Mode::VerifyFull,
                false => Mode::Prefer,
            }),
        };
        if mode == Mode::Disable {
            return Ok(Tls::off());
        }
        if is_system && mode != Mode::VerifyFull {
            // Anybody can have a certificate of such an authority, for another name.
            return Err(wrong("`sslrootcert=system` needs `sslmode=verify-full`".to_owned()));
        }
        let (roots, authorities) = match is_system {
            true => (Some(system_roots()?), Some("the system".to_owned())),
            false => self.read_roots(mode)?,
        };
        let checks = match (mode, roots) {
            (Mode::VerifyFull, Some(roots)) => Checks::IssuerAndName(roots),
            (_, Some(roots)) => Checks::Issuer(roots),
            (_, None) => Checks::Nothing,
        };
        let config = config(checks, self.read_client()?)?;
        Ok(Tls { mode, connector: Connector(Some(Arc::new(config))), authorities })
    }

    /// The authorities of `sslrootcert` or of the usual file, with its name.
    fn read_roots(&self, mode: Mode) -> Result<(Option<Roots>, Option<String>), FileError> {
        let what = "the certificates of authorities";
        let usual = Path::new(FOLDER).join("root.crt");
        let verifies = matches!(mode, Mode::VerifyCa | Mode::VerifyFull);
        let help = "there is no such file, and `sslmode` asks for it: name one with `sslrootcert`, or use `sslrootcert=system`";
        let Some(file) = Candidate::find(what, self.roots.as_deref(), "PGSSLROOTCERT", &usual) else {
            let path = usual;
            return match verifies {
                true => Err(FileError { what, path, reason: help.to_owned() }),
                false => Ok((None, None)),
            };
        };
        let certificates = match file.read()? {
            Some(pem) => certificates(&pem, &file)?,
            None if verifies => return Err(file.error(help)),
            None => return Ok((None, None)),
        };
        let store = gesta_tls::roots_of(&certificates).map_err(|reason| file.error(reason))?;
        let roots = Roots { store, certificates };
        Ok((Some(roots), Some(format!("`{}`", file.path.display()))))
    }

    /// The certificate that says who the client is, with its key.
    fn read_client(&self) -> Result<Option<Client>, FileError> {
        let find = |what, given: &Option<PathBuf>, variable, usual| {
            Candidate::find(what, given.as_deref(), variable, Path::new(FOLDER).join(usual))
        };
        let file = find("the client's certificate", &self.certificate, "PGSSLCERT", "postgresql.crt");
        let Some(file) = file else { return Ok(None) };
        let Some(pem) = file.read()? else { return Ok(None) };
        let chain = certificates(&pem, &file)?;
        let file = find("the client's key", &self.key, "PGSSLKEY", "postgresql.key");
        let Some(file) = file else { return Ok(None) };
        let missing = || file.error("there is no such file, and there is a client's certificate");
        let pem = file.read_secret()?.ok_or_else(missing)?;
        let key = PrivateKeyDer::from_pem_slice(&pem);
        let key =
            key.map_err(|error| file.error(format!("{error}; keys with a passphrase cannot be used")))?;
        Ok(Some(Client { chain, key }))
    }
}

/// Certificates of authorities.
#[derive(Debug)]
pub(crate) struct Roots {
    pub(crate) store: RootCertStore,
    /// The certificates themselves. A server may have one of them.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn certificates(pem: &[u8], file: &Candidate) -> Result<Vec<CertificateDer<'static>>, FileError> {
    gesta_tls::certificates_of(pem).map_err(|reason| file.error(reason))
}

fn system_roots() -> Result<Roots, ConnectError> {
    let store = gesta_tls::system_roots();
    let store = store.map_err(|error| ConnectError::Tls { reason: error.to_string() })?;
    Ok(Roots { store, certificates: Vec::new() })
}

fn config(checks: Checks, client: Option<Client>) -> Result<ClientConfig, ConnectError> {
    let wrong = |error: rustls::Error| ConnectError::Tls { reason: error.to_string() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new(checks, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(wrong)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        Some(Client { chain, key }) => builder.with_client_auth_cert(chain, key).map_err(wrong)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

/// Encrypts connections. Without a configuration it is never asked to.
#[derive(Debug, Clone)]
pub(crate) struct Connector(Option<Arc<ClientConfig>>);

impl Connector {
    /// One that encrypts nothing.
    pub(crate) const fn off() -> Self {
        Self(None)
    }

    pub(crate) fn handshake(&self, host: &str) -> Handshake {
        let name = ServerName::try_from(host.to_owned());
        Handshake {
            config: self.0.clone(),
            name: name.map_err(|_| format!("`{host}` is not the name of a host")),
        }
    }
}

/// One handshake with a host.
#[derive(Debug)]
pub(crate) struct Handshake {
    config: Option<Arc<ClientConfig>>,
    name: Result<ServerName<'static>, String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> MakeTlsConnect<S> for Connector {
    type Stream = TlsStream<S>;
    type TlsConnect = Handshake;
    type Error = std::convert::Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Self::Error> {
        Ok(self.handshake(host))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for Handshake {
    type Stream = TlsStream<S>;
    type Error = io::Error;
    type Future = Handshaking<S>;

    fn connect(self, stream: S) -> Handshaking<S> {
        let prepared = self.name.and_then(|name| Ok((name, self.config.ok_or("TLS is off")?)));
        Handshaking(match prepared {
            Ok((name, config)) => Ok(tokio_rustls::TlsConnector::from(config).connect(name, stream)),
            Err(reason) => Err(reason),
        })
    }
}

/// A handshake that is under way, or why there is none.
pub(crate) struct Handshaking<S>(Result<tokio_rustls::Connect<S>, String>);

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Handshaking<S> {
    type Output = io::Result<TlsStream<S>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shaken = match &mut self.0 {
            Ok(connect) => Pin::new(connect).poll(context).map_ok(TlsStream::new),
            Err(reason) => Poll::Ready(Err(io::Error::other(std::mem::take(reason)))),
        };
        // It tells this failure from one of the encrypted connection.
        shaken.map_err(|error| io::Error::other(HandshakeFailed(error)))
    }
}
