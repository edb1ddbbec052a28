//! Servers for the tests, and what a connection to one is like.

use gesta_postgres_connect::{Address, ConnectError, Stream, Wrap};
use test_servers::{Authority, Postgres};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Client;

/// Whether a shared server was given, or is required. Servers of a test alone need the same programs.
pub(crate) fn is_wanted() -> bool {
    let is_wanted =
        std::env::var_os(test_servers::POSTGRES_URL).is_some() || std::env::var_os("GESTA_SERVERS").is_some();
    if !is_wanted {
        println!(
            "skipped: run it by `cargo run -p test-servers -- with postgres -- cargo test -p gesta-postgres-connect`"
        );
    }
    is_wanted
}

/// Who may log in how: `cert` by a certificate, `app` by a password with SCRAM, `postgres` in any way.
const RULES: &str = "\
hostssl all cert all cert
hostssl all app all scram-sha-256
host all postgres all trust
";

/// A server with TLS, whose certificate is for `localhost`.
pub(crate) struct Secure {
    server: Postgres,
    pub(crate) authority: Authority,
}

impl Secure {
    pub(crate) fn start() -> Option<Self> {
        if !is_wanted() {
            return None;
        }
        let authority = Authority::new();
        let own = authority.issue("localhost", &["DNS:localhost"]);
        let roots = std::fs::read(authority.file()).unwrap();
        let files: [(&str, &[u8]); 4] = [
            ("server.crt", own.certificate.as_bytes()),
            ("server.key", own.key.as_bytes()),
            ("ca.crt", &roots),
            ("pg_hba.conf", RULES.as_bytes()),
        ];
        let server = Postgres::start_with(&files, &["ssl=on", "ssl_ca_file=ca.crt", "fsync=off"])?;
        Some(Self { server, authority })
    }

    /// The address with a login, by the name of the certificate.
    pub(crate) fn at(&self, login: &str, parameters: &str) -> String {
        let (_, rest) = self.server.url().split_once("@127.0.0.1").unwrap();
        format!("postgres://{login}@localhost{rest}?hostaddr=127.0.0.1&{parameters}")
    }

    /// The address by the number of the host, which the certificate does not have.
    pub(crate) fn by_number(&self, parameters: &str) -> String {
        format!("{}?{parameters}", self.server.url())
    }

    /// The host and the port.
    pub(crate) fn place(&self) -> &str {
        let (_, place) = self.server.url().split_once('@').unwrap();
        place.split_once('/').unwrap().0
    }

    /// What the server has written to its log.
    pub(crate) fn log(&self) -> String {
        self.server.log()
    }

    /// The file with the server's own certificate.
    pub(crate) fn certificate(&self) -> std::path::PathBuf {
        self.server.folder().join("server.crt")
    }
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text, |_, _| Ok(false)).unwrap()
}

/// A socket as it is.
pub(crate) struct Plain;

impl Wrap for Plain {
    type Stream = Box<dyn Stream>;

    fn wrap(&self, socket: Box<dyn Stream>) -> Self::Stream {
        socket
    }
}

/// Connects, and returns true if the server says that the connection is encrypted.
pub(crate) fn is_encrypted(text: &str) -> Result<bool, ConnectError> {
    connected(text, async |client| {
        let row = client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]);
        row.await.unwrap().get(0)
    })
}

/// Connects and runs statements.
pub(crate) fn run(text: &str, sql: &str) {
    connected(text, async |client| client.batch_execute(sql).await.unwrap()).unwrap();
}

fn connected<T>(text: &str, work: impl AsyncFnOnce(&Client) -> T) -> Result<T, ConnectError> {
    let address = address(text);
    runtime().block_on(async {
        let connected = address.connect().await?;
        tokio::spawn(connected.connection);
        Ok(work(&connected.client).await)
    })
}
