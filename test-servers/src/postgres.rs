//! PostgreSQL.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{SmallDisk, find, free_ports, id, is_root};

/// The environment variable with the address of the shared server.
pub const URL: &str = "GESTA_POSTGRES";

/// What installs the programs.
const REMEDY: &str = "`apt-get install postgresql` installs it";

/// A PostgreSQL server with the superuser `postgres`, whom it trusts without a password.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    /// Nothing for the shared server of another process.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    process: Process,
}

impl Postgres {
    /// The shared server, or one of this value's own. Use a schema or database of a random name: others use the server too.
    pub fn shared() -> Option<Self> {
        std::env::var(URL).ok().map(|url| Self { url, own: None }).or_else(|| Self::start(&[]))
    }

    /// Whether there is a program to start.
    pub fn is_installed() -> bool {
        programs().is_some()
    }

    /// A server of its own, with settings such as `fsync=off`. Returns `None`, and says so, if PostgreSQL is not installed.
    ///
    /// # Panics
    ///
    /// If the server does not start, or is missing under `GESTA_SERVERS=required`.
    pub fn start(settings: &[&str]) -> Option<Self> {
        Self::start_with(&[], settings)
    }

    /// As [`Self::start`], with files in the folder of the data that only the server can read, such as its key for TLS.
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    pub fn start_with(files: &[(&str, &[u8])], settings: &[&str]) -> Option<Self> {
        let programs = find("PostgreSQL", REMEDY, programs)?;
        let folder = new_folder();
        initialize(&programs, folder.path());
        for (name, content) in files {
            let path = data_of(folder.path()).join(name);
            fs::write(&path, content).expect("own folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("own file");
            give(&path);
        }
        Some(Self::run(programs, folder, settings))
    }

    /// As [`Self::start`], with its data on a small disk: 128 MiB are enough. Its log is elsewhere.
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    pub fn start_on(disk: &SmallDisk, settings: &[&str]) -> Option<Self> {
        let programs = find("PostgreSQL", REMEDY, programs)?;
        let folder = new_folder();
        let data = data_of(folder.path());
        fs::remove_dir(&data).expect("an empty folder");
        symlink(Self::folder_on(disk, "data"), data).expect("own folder");
        initialize(&programs, folder.path());
        Some(Self::run(programs, folder, settings))
    }

    /// Makes an empty folder on a small disk that the servers may write to: for a tablespace.
    ///
    /// # Panics
    ///
    /// If it is there already.
    pub fn folder_on(disk: &SmallDisk, name: &str) -> PathBuf {
        let path = disk.path().join(name);
        make_data_folder(&path);
        path
    }

    /// Starts the server of a folder.
    fn run(programs: PathBuf, folder: TempDir, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect::<Vec<_>>();
        let [port] = free_ports();
        let process = spawn(&programs, folder.path(), port, &settings);
        let mut own = Own { programs, folder, port, settings, process };
        own.wait_until_ready();
        Self { url: format!("postgres://postgres@127.0.0.1:{port}/postgres"), own: Some(own) }
    }

    /// A standby that follows this server, which must be one of its own. `select pg_promote()` makes it a primary.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn standby(&self, settings: &[&str]) -> Self {
        let primary = self.of_own();
        let folder = new_folder();
        let mut command = Command::new(primary.programs.join("pg_basebackup"));
        command.arg("-D").arg(data_of(folder.path())).args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-R",
            "-c",
            "fast",
        ]);
        command.args(["-p", &primary.port.to_string()]);
        let output = as_user(&mut command, folder.path()).output().expect("pg_basebackup starts");
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        Self::run(primary.programs.clone(), folder, settings)
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The id of the first process of the server, the postmaster.
    pub fn id(&self) -> u32 {
        self.of_own().process.id()
    }

    /// Kills the postmaster without warning. Its backends notice and end.
    pub fn kill(&mut self) {
        self.own().process.kill();
    }

    /// Stops the server at once (`SIGQUIT`), as a machine that loses its power does, but waits for all its processes.
    pub fn stop(&mut self) {
        let own = self.own();
        own.process.signal("QUIT");
        own.wait_until_ended();
    }

    /// Starts the server again on its port and folder, after `kill` or `stop`.
    pub fn start_again(&mut self) {
        let own = self.own();
        own.process.kill();
        own.process = own.spawn();
        own.wait_until_ready();
    }

    /// Sends a signal to the postmaster by its name.
    pub fn signal(&self, name: &str) {
        self.of_own().process.signal(name);
    }

    /// Sends a signal to one of its processes: a backend by its `pg_backend_pid()`.
    pub fn signal_backend(&self, id: u32, name: &str) {
        process::signal(id, name);
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(log_of(self.of_own().folder.path())).unwrap_or_default()
    }

    /// The folder with the data, the configuration (`postgresql.conf`) and the log.
    pub fn folder(&self) -> PathBuf {
        data_of(self.of_own().folder.path())
    }

    fn of_own(&self) -> &Own {
        self.own.as_ref().expect("the server belongs to another process")
    }

    fn own(&mut self) -> &mut Own {
        self.own.as_mut().expect("the server belongs to another process")
    }
}

impl Own {
    fn spawn(&self) -> Process {
        spawn(&self.programs, self.folder.path(), self.port, &self.settings)
    }

    /// Starts the server again as long as it ends at once: after a kill, its old backends may still hold the shared memory.
    fn wait_until_ready(&mut self) {
        let log = log_of(self.folder.path());
        process::wait_until("PostgreSQL", &log, || {
            if self.process.has_ended() {
                self.process = self.spawn();
            }
            is_ready(self.folder.path(), self.process.id())
        });
    }

    fn wait_until_ended(&mut self) {
        let log = log_of(self.folder.path());
        process::wait_until("the end of PostgreSQL", &log, || self.process.has_ended());
    }
}

/// Whether the postmaster with this id says that it takes connections.
fn is_ready(folder: &Path, id: u32) -> bool {
    let text = fs::read_to_string(data_of(folder).join("postmaster.pid")).unwrap_or_default();
    let lines = text.lines().map(str::trim).collect::<Vec<_>>();
    lines.first().is_some_and(|first| *first == id.to_string())
        && lines.get(7).is_some_and(|state| ["ready", "standby"].contains(state))
}

fn data_of(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// The folder with the newest programs that Debian's packages or the search path have.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let packaged = versions.max().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find(|folder| folder.join("initdb").exists());
    packaged.or(found).filter(|folder| folder.join("postgres").exists())
}

/// A folder with an empty one for the data, which the user of the server owns.
pub(crate) fn new_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("gesta-pg").tempdir().expect("a folder");
    // The parents of the data must let the user of the server through.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("own folder");
    make_data_folder(&data_of(folder.path()));
    folder
}

fn make_data_folder(path: &Path) {
    fs::create_dir(path).expect("own folder");
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("own folder");
    give(path);
}

fn initialize(programs: &Path, folder: &Path) {
    let mut command = Command::new(programs.join("initdb"));
    command.arg("-D").arg(data_of(folder)).args(["-A", "trust", "-U", "postgres", "-E", "UTF8"]);
    command.args(["--locale=C", "--no-sync", "--no-instructions"]);
    let output = as_user(&mut command, folder).output().expect("initdb starts");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

fn spawn(programs: &Path, folder: &Path, port: u16, settings: &[String]) -> Process {
    let log = File::options().create(true).append(true).open(log_of(folder)).expect("own folder");
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(data_of(folder)).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command.args(["-c", "unix_socket_directories="]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Process::start(as_user(&mut command, folder))
}

/// PostgreSQL refuses to run as root, so root starts it as the user of Debian's package.
pub(crate) fn as_user<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command.current_dir(folder);
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
    command
}

/// Gives a file or folder to the user of the server.
fn give(path: &Path) {
    if let Some((user, group)) = user() {
        chown(path, Some(user), Some(group)).expect("the right of root");
    }
}

/// The user and group `postgres`, if this process is root.
fn user() -> Option<(u32, u32)> {
    is_root().then(|| id(&["-u", "postgres"]).zip(id(&["-g", "postgres"])))?
}
