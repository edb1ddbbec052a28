//! What all views in one database share: a runtime, the identity of this process as a runner, and its heartbeat.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gesta_consumer::Stop;
use gesta_postgres_connect::{ConnectError, Connected};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::limits::{HEARTBEAT_AGE_MAX, HEARTBEAT_PERIOD, HEARTBEAT_TIME_MAX, RELEASE_TIME_MAX};
use crate::postgres::error::connect_message;
use crate::postgres::names::quoted;
use crate::postgres::session::Session;
use crate::postgres::url::{Login, PostgresUrl};
use crate::run_error::RunError;

/// The file in the views' folder with the id of the runner. The folder is locked, so at most one process has the id at a time,
/// and one that was killed takes over from itself at once.
const RUNNER_FILE: &str = "postgres-runner";

/// The database of all views in PostgreSQL that one process runs.
pub(crate) struct Database {
    pub(crate) url: PostgresUrl,
    /// The id of this runner.
    pub(crate) runner: String,
    /// Runs connections, on one thread. Ends with this value.
    runtime: Option<Runtime>,
    /// The shared tables exist, so heartbeats can begin.
    is_installed: Arc<AtomicBool>,
}

impl Database {
    /// Starts the runtime. Does not connect: a database that is down is a matter of each view.
    ///
    /// # Errors
    /// The id of the runner cannot be read or written, or no thread can be started.
    pub(crate) fn start(url: PostgresUrl, folder: &Path) -> io::Result<Self> {
        let runner = runner_id(&folder.join(RUNNER_FILE))?;
        let started = Self::start_as(url, runner)?;
        let beating = beat(started.url.clone(), started.runner.clone(), Arc::clone(&started.is_installed));
        started.runtime().spawn(beating);
        Ok(started)
    }

    /// The same for a prefix that no other process uses: its runner is new, and needs no heartbeat.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start_alone(url: PostgresUrl) -> io::Result<Self> {
        Self::start_as(url, new_runner_id())
    }

    fn start_as(url: PostgresUrl, runner: String) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("views-postgres")
            .enable_all()
            .build()?;
        Ok(Self { url, runner, runtime: Some(runtime), is_installed: Arc::default() })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        self.runtime.as_ref().expect("it runs until this is dropped").handle()
    }

    /// A new connection of the runner.
    pub(crate) fn connect(&self, stop: &Stop) -> Result<Session, RunError> {
        Session::connect(self.url.address(Login::Runner), self.runtime(), stop)
    }

    /// The shared tables exist.
    pub(crate) fn installed(&self) {
        self.is_installed.store(true, Ordering::SeqCst);
    }

    /// Gives up a version that this runner has claimed with a fence. Does not wait for it.
    pub(crate) fn give_up(&self, view: &str, hash: &str, fence: i64) {
        let sql = format!(
            "update {}.view set runner = null where name = $1 and hash = $2 and runner = $3 and fence = $4",
            quoted(&self.url.prefix)
        );
        let (url, runner) = (self.url.clone(), self.runner.clone());
        let (view, hash) = (view.to_owned(), hash.to_owned());
        self.runtime().spawn(async move {
            let given_up = async {
                let line = Line::connect(&url).await?;
                let done = line.client.execute(&sql, &[&view, &hash, &runner, &fence]).await;
                done.map_err(ConnectError::Server)
            };
            if !matches!(timeout(HEARTBEAT_TIME_MAX, given_up).await, Ok(Ok(_))) {
                tracing::debug!(view, hash, "an older version was not given up");
            }
        });
    }

    /// Gives up what this runner owns, so that another one can take over at once. If the server does not answer, the heartbeat
    /// gets old instead.
    pub(crate) fn release(&self) {
        if !self.is_installed.swap(false, Ordering::SeqCst) {
            return;
        }
        let (url, runner) = (self.url.clone(), self.runner.clone());
        let released = async move {
            let line = Line::connect(&url).await?;
            let sql = format!("delete from {}.runner where id = $1", quoted(&url.prefix));
            line.client.execute(&sql, &[&runner]).await.map_err(ConnectError::Server)
        };
        let released = self.runtime().spawn(async move { timeout(RELEASE_TIME_MAX, released).await });
        match pollster::block_on(released) {
            Ok(Ok(Ok(_))) => {}
            other => tracing::debug!(?other, "the views in PostgreSQL were not released"),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Connections end with their sockets. A wait for them could block an asynchronous caller.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Writes the heartbeat of this runner, as long as the runtime lives.
async fn beat(url: PostgresUrl, runner: String, is_installed: Arc<AtomicBool>) {
    let sql = heartbeat(&quoted(&url.prefix));
    let (mut line, mut is_late) = (None, false);
    loop {
        sleep(HEARTBEAT_PERIOD).await;
        if !is_installed.load(Ordering::SeqCst) {
            continue;
        }
        let written = async {
            let connected = match line.take() {
                Some(connected) => connected,
                None => Line::connect(&url).await?,
            };
            let late = |_| ConnectError::TimedOut { after: HEARTBEAT_TIME_MAX };
            let written = timeout(HEARTBEAT_TIME_MAX, connected.client.execute(&sql, &[&runner])).await;
            written.map_err(late)?.map_err(ConnectError::Server)?;
            Ok::<_, ConnectError>(connected)
        };
        match written.await {
            Ok(connected) => {
                line = Some(connected);
                if std::mem::take(&mut is_late) {
                    tracing::info!("the heartbeat of the views in PostgreSQL is written again");
                }
            }
            Err(error) => {
                let error = connect_message(&error);
                match std::mem::replace(&mut is_late, true) {
                    true => tracing::debug!(error, "a heartbeat was not written"),
                    false => tracing::warn!(
                        error,
                        "the heartbeat of the views in PostgreSQL was not written: another process takes them over once it is {} s old",
                        HEARTBEAT_AGE_MAX.as_secs()
                    ),
                }
            }
        }
    }
}

/// The statement that writes a heartbeat by the clock of the database.
pub(crate) fn heartbeat(shared: &str) -> String {
    format!(
        "insert into {shared}.runner as r values ($1, clock_timestamp())
         on conflict (id) do update set heartbeat = excluded.heartbeat"
    )
}

/// A connection of the runner without a session's settings. Dropping it ends the connection at once, also behind a proxy that is
/// silent.
struct Line {
    client: Client,
    connection: AbortHandle,
}

impl Line {
    async fn connect(url: &PostgresUrl) -> Result<Self, ConnectError> {
        let Connected { client, connection, .. } = url.address(Login::Runner).connect().await?;
        let line = Self { client, connection: tokio::spawn(connection).abort_handle() };
        let limited = line.client.batch_execute("set statement_timeout = '5s'");
        let late = |_| ConnectError::TimedOut { after: HEARTBEAT_TIME_MAX };
        timeout(HEARTBEAT_TIME_MAX, limited).await.map_err(late)?.map_err(ConnectError::Server)?;
        Ok(line)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn runner_id(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(id) if uuid::Uuid::parse_str(id.trim()).is_ok() => return Ok(id.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // None yet, or a crash cut the file.
        Ok(_) | Err(_) => {}
    }
    let id = new_runner_id();
    std::fs::write(path, &id)?;
    Ok(id)
}

fn new_runner_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A condition on a version `v`: its owner's heartbeat is fresh by the clock of the database.
pub(crate) fn is_alive(shared: &str) -> String {
    format!(
        "exists (select 1 from {shared}.runner r where r.id = v.runner
             and r.heartbeat > clock_timestamp() - make_interval(secs => {}))",
        HEARTBEAT_AGE_MAX.as_secs()
    )
}
