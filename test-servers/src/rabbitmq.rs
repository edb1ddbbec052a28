//! RabbitMQ.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::certificates::Authority;
use crate::process::{self, Process};
use crate::{find, free_ports};

/// The environment variable with the address of the shared server.
pub const URL: &str = "GESTA_RABBITMQ";

/// The environment variable with the address of the shared server with TLS.
pub const TLS_URL: &str = "GESTA_RABBITMQ_TLS";

/// The environment variable with the file of the authority of its certificate.
pub const CA: &str = "GESTA_RABBITMQ_CA";

/// The script of Debian's package that starts the server as the calling user, with the environment as it is.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A RabbitMQ server with the user `guest`, password `guest`. It takes 7 s to start, and more on a loaded machine.
#[derive(Debug)]
pub struct RabbitMq {
    url: String,
    tls_url: String,
    ca: PathBuf,
    /// Nothing for the shared server of another process.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    folder: TempDir,
    /// Its folder has the file.
    _authority: Authority,
    ports: Ports,
    process: Process,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    amqps: u16,
    distribution: u16,
    mapper: u16,
}

impl RabbitMq {
    /// The shared server, or one of this value's own. Use exchanges and queues of random names: others use the server too.
    pub fn shared() -> Option<Self> {
        let given = |name| std::env::var(name).ok();
        let shared = || {
            let (url, tls_url, ca) = (given(URL)?, given(TLS_URL)?, given(CA)?.into());
            Some(Self { url, tls_url, ca, own: None })
        };
        shared().or_else(Self::start)
    }

    /// Whether there is a program to start.
    pub fn is_installed() -> bool {
        Path::new(PROGRAM).exists()
    }

    /// A server of its own. Returns `None`, and says so, if RabbitMQ is not installed.
    ///
    /// # Panics
    ///
    /// If the server does not start, or is missing under `GESTA_SERVERS=required`.
    pub fn start() -> Option<Self> {
        find("RabbitMQ", "`apt-get install rabbitmq-server` installs it", || {
            Self::is_installed().then_some(())
        })?;
        let folder = tempfile::Builder::new().prefix("gesta-rabbitmq").tempdir().expect("a folder");
        let [amqp, amqps, distribution, mapper] = free_ports();
        let ports = Ports { amqp, amqps, distribution, mapper };
        let authority = Authority::new();
        authority.issue("localhost", &["DNS:localhost"]).write(folder.path(), "server");
        configure(folder.path(), ports);
        let process = spawn(folder.path(), ports);
        let ca = authority.file();
        let mut own = Own { folder, _authority: authority, ports, process };
        own.wait_until_ready();
        Some(Self {
            url: format!("amqp://guest:guest@127.0.0.1:{amqp}/%2f"),
            tls_url: format!("amqps://guest:guest@localhost:{amqps}/%2f"),
            ca,
            own: Some(own),
        })
    }

    /// `amqps://guest:guest@localhost:PORT/%2f`. The certificate is for `localhost` alone.
    pub fn tls_url(&self) -> &str {
        &self.tls_url
    }

    /// The file of the authority that signed the certificate.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills the server without warning.
    pub fn kill(&mut self) {
        self.own().kill();
    }

    /// Asks the server to end, and waits until it has.
    pub fn stop(&mut self) {
        let own = self.own();
        process::signal(own.id(), "TERM");
        let log = own.log();
        process::wait_until("the end of RabbitMQ", &log, || own.process.has_ended());
    }

    /// Starts the server again on its ports and folder, after `kill` or `stop`.
    pub fn start_again(&mut self) {
        let own = self.own();
        own.kill();
        fs::remove_file(own.log()).expect("the log of the server before");
        own.process = spawn(own.folder.path(), own.ports);
        own.wait_until_ready();
    }

    /// Sends a signal to the server by its name, such as `STOP` and `CONT`.
    pub fn signal(&self, name: &str) {
        process::signal(self.own.as_ref().expect("the server belongs to another process").id(), name);
    }

    fn own(&mut self) -> &mut Own {
        self.own.as_mut().expect("the server belongs to another process")
    }
}

impl Own {
    /// The Erlang machine. The script that started it becomes it, but for its first moments.
    fn id(&self) -> u32 {
        let written = fs::read_to_string(self.folder.path().join("pid")).ok();
        written.and_then(|id| id.trim().parse().ok()).unwrap_or_else(|| self.process.id())
    }

    fn kill(&mut self) {
        if !self.process.has_ended() {
            process::signal(self.id(), "KILL");
        }
        self.process.kill();
        // The Erlang machine is no child of this process, so only its port tells when it has ended.
        let amqp = self.ports.amqp;
        process::wait_until("the end of RabbitMQ", &self.log(), || {
            TcpStream::connect(("127.0.0.1", amqp)).is_err()
        });
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log/server.log")
    }

    fn wait_until_ready(&mut self) {
        let log = self.log();
        process::wait_until("RabbitMQ", &log, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            assert!(!self.process.has_ended(), "RabbitMQ ended at its start:\n{text}{}", self.output());
            text.contains("Server startup complete")
        });
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.kill();
        // The name server of Erlang stays behind otherwise. It may be gone already.
        let mut mapper = Command::new("epmd");
        mapper.env("ERL_EPMD_PORT", self.ports.mapper.to_string()).arg("-kill");
        let _ = mapper.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn configure(folder: &Path, ports: Ports) {
    let file = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\nlisteners.ssl.1 = 127.0.0.1:{}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_none\ndisk_free_limit.absolute = 50MB\nlog.file = server.log\n",
        ports.amqp,
        ports.amqps,
        file("server.crt"),
        file("server.key"),
    );
    fs::write(folder.join("rabbitmq.conf"), text).expect("own folder");
    fs::write(folder.join("enabled_plugins"), "[].").expect("own folder");
    fs::create_dir(folder.join("log")).expect("own folder");
}

fn spawn(folder: &Path, ports: Ports) -> Process {
    let output = File::options().create(true).append(true).open(folder.join("output")).expect("own folder");
    let errors = output.try_clone().expect("a second handle");
    let mut command = Command::new(PROGRAM);
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", format!("t{}@localhost", ports.amqp))
        .env("RABBITMQ_NODE_PORT", ports.amqp.to_string())
        .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
        .env("ERL_EPMD_PORT", ports.mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", folder.join("pid"))
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    Process::start(&mut command)
}
