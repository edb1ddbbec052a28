//! PostgreSQL: a server on the folder, on loopback, with one table of events, unique by stream and version.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Stdio};

use bench_core::{BoxFuture, Client, DATA, Drive, Event, Guard, Process, Rival, free_port, runtime};
use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Statement};

/// The wait of a commit for others before it syncs.
#[derive(Clone, Copy)]
pub enum CommitDelay {
    /// The default: commits that meet at the sync share it.
    None,
    /// 0.1 ms if at least 5 others are active: about the time of a sync here.
    Tuned,
}

/// Memory and log as a dedicated server would have them. Settings for durability keep their defaults.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = '1GB'
max_wal_size = '8GB'
checkpoint_timeout = '30min'
fsync = on
synchronous_commit = on
";

const SCHEMA: &str = "create table events (
    position bigint generated always as identity primary key,
    stream text not null, version bigint not null, type text not null, data bytea not null,
    unique (stream, version))";

/// True if it can be started.
pub fn is_installed() -> bool {
    let has = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    has("initdb") && has("pg_ctl")
}

/// A server; it is stopped when dropped.
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    pid: u32,
}

impl Postgres {
    pub fn start(folder: &Path, delay: CommitDelay) -> Self {
        if let Some((uid, gid)) = server_user() {
            chown(folder, Some(uid), Some(gid)).expect("a folder for the server");
        }
        let (folder, port) = (folder.join("data"), free_port());
        run("initdb", &folder, &["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]);
        let delay = match delay {
            CommitDelay::None => "",
            CommitDelay::Tuned => "commit_delay = 100\ncommit_siblings = 5\n",
        };
        fs::write(folder.join("postgresql.auto.conf"), format!("{SETTINGS}{delay}port = {port}\n"))
            .expect("settings");
        let log = folder.join("server.log").display().to_string();
        run("pg_ctl", &folder, &["start", "--wait", "--silent", "--log", &log]);
        let said = fs::read_to_string(folder.join("postmaster.pid")).expect("the server's number");
        let pid = said.lines().next().and_then(|line| line.parse().ok()).expect("a number");
        let server = Self { folder, port, pid };
        runtime().block_on(async { server.connect().await.batch_execute(SCHEMA).await }).expect("a table");
        server
    }

    /// Its address for the superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    async fn connect(&self) -> tokio_postgres::Client {
        let address = format!("host=127.0.0.1 user=postgres dbname=postgres port={}", self.port);
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await.expect("a connection");
        // The task ends with the client.
        runtime().spawn(connection);
        client
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        run("pg_ctl", &self.folder, &["stop", "--wait", "--silent", "--mode=immediate"]);
    }
}

/// Runs one of PostgreSQL's programs on the folder, as the user that the server requires.
fn run(program: &str, folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = server_user() {
        command.uid(uid).gid(gid);
    }
    let silent = command.arg("--pgdata").arg(folder).args(arguments).stdout(Stdio::null());
    assert!(silent.status().expect("it runs").success(), "`{program}` over `{}`", folder.display());
}

/// The user `postgres`, if this process belongs to root: the server refuses to run as root.
fn server_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = users.lines().find(|line| line.starts_with("postgres:"))?.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

impl Rival for Postgres {
    fn process(&self) -> Process {
        Process::Tree(self.pid)
    }

    fn drive(&self) -> Drive {
        Drive::Tasks
    }

    fn client(&self, _number: u64) -> Box<dyn Client> {
        Box::new(runtime().block_on(async {
            let client = self.connect().await;
            let one =
                "insert into events (stream, version, type, data) values ($1, $2, 'bench.happened', $3)";
            let many = "insert into events (stream, version, type, data)
                select stream, version, 'bench.happened', data
                from unnest($1::text[], $2::bigint[], $3::bytea[]) as given (stream, version, data)";
            let all = "select stream, version, type, data from events order by position";
            let stream = "select stream, version, type, data from events where stream = $1 order by version";
            PostgresClient {
                one: client.prepare(one).await.expect("a statement"),
                many: client.prepare(many).await.expect("a statement"),
                all: client.prepare(all).await.expect("a statement"),
                stream: client.prepare(stream).await.expect("a statement"),
                versions: HashMap::new(),
                client,
            }
        }))
    }
}

struct PostgresClient {
    client: tokio_postgres::Client,
    one: Statement,
    many: Statement,
    all: Statement,
    stream: Statement,
    /// The number of events that it appended to each stream.
    versions: HashMap<u64, i64>,
}

impl Client for PostgresClient {
    fn append<'a>(&'a mut self, events: &'a [Event], _guard: Guard) -> BoxFuture<'a, ()> {
        let streams: Vec<_> = events.iter().map(|event| name(event.stream)).collect();
        let versions: Vec<_> = events.iter().map(|event| self.next_version(event.stream)).collect();
        Box::pin(async move {
            let done = match (&streams[..], &versions[..]) {
                ([stream], [version]) => self.client.execute(&self.one, &[stream, version, &&DATA[..]]).await,
                _ => {
                    let data = vec![&DATA[..]; events.len()];
                    self.client.execute(&self.many, &[&streams, &versions, &data]).await
                }
            };
            assert_eq!(done.expect("an insert"), events.len() as u64);
        })
    }

    fn read_all(&mut self) -> BoxFuture<'_, u64> {
        Box::pin(self.read(&self.all, Vec::new()))
    }

    fn read_stream(&mut self, stream: u64) -> BoxFuture<'_, u64> {
        Box::pin(self.read(&self.stream, vec![name(stream)]))
    }
}

impl PostgresClient {
    fn next_version(&mut self, stream: u64) -> i64 {
        let version = self.versions.entry(stream).or_default();
        *version += 1;
        *version
    }

    async fn read(&self, statement: &Statement, parameters: Vec<String>) -> u64 {
        let parameters = parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync));
        let mut rows = pin!(self.client.query_raw(statement, parameters).await.expect("a read"));
        let mut count = 0;
        while let Some(row) = rows.try_next().await.expect("a row") {
            assert_eq!(row.get::<_, &[u8]>(3).len(), DATA.len());
            count += 1;
        }
        count
    }
}

fn name(stream: u64) -> String {
    format!("bench-{stream}")
}
