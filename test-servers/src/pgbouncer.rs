//! PgBouncer, a pooler in front of PostgreSQL.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::postgres::{as_user, new_folder};
use crate::process::{self, Process};
use crate::{Postgres, find, free_ports};

/// A pooler with two connections to a server, which it shares among all its clients.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _process: Process,
    _folder: TempDir,
}

impl PgBouncer {
    /// A pooler in `session` or `transaction` mode. Returns `None`, and says so, if PgBouncer is not installed.
    ///
    /// # Panics
    ///
    /// If it does not start, or is missing under `GESTA_SERVERS=required`.
    pub fn start(server: &Postgres, mode: &str) -> Option<Self> {
        let program = find("PgBouncer", "`apt-get install pgbouncer` installs it", program)?;
        let (_, address) = server.url().split_once('@').expect("the address has a user");
        let (_, behind) = address.split('/').next().and_then(|host| host.split_once(':')).expect("a port");
        let (folder, [port]) = (new_folder(), free_ports());
        let log = folder.path().join("log");
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={behind} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = {size}\nmax_client_conn = 1000\nlogfile = {data}/log\n",
            size = if mode == "session" { 50 } else { 2 },
            data = folder.path().join("data").display(),
        );
        let path = folder.path().join("pgbouncer.ini");
        fs::write(&path, settings).expect("own folder");
        let mut command = Command::new(program);
        command.arg("-q").arg(path).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(&log).expect("own folder"));
        let process = Process::start(as_user(&mut command, folder.path()));
        process::wait_until("PgBouncer", &log, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { port, _process: process, _folder: folder })
    }

    /// Whether there is a program to start.
    pub fn is_installed() -> bool {
        program().is_some()
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

/// Debian puts it where only root's search path looks.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("pgbouncer")).find(|program| program.exists())
}
