//! `gesta serve`: serves a log over HTTP until it is told to stop.

use std::io::IsTerminal;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta::App;
use gesta_core::EventStore;
use gesta_log::{LogStore, Recovery, Scrub};
use gesta_server::Server;
use gesta_views::{Definition, Views};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::rate;
use crate::target::{IfInUse, IfMissing, open_log_and_scrub};

#[derive(clap::Args)]
pub(crate) struct Serve {
    /// The folder of the log, which is made if it is not there.
    #[arg(long, value_name = "FOLDER", env = "GESTA_DIR")]
    dir: PathBuf,
    /// The address to listen at. Port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2114")]
    listen: String,
    /// A folder of views' definitions, `.sql` files. They are read at the start. Their tables are kept in `views` in the folder of the
    /// log.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
    /// Listen beyond this machine although there are no users and no encryption: everybody who reaches the port may read and
    /// write.
    #[arg(long)]
    insecure: bool,
    /// Bytes a second at which sealed segments are read again and proven in the background, such as 4M (or K, G); 0 for never. Without
    /// it, each is read once a week.
    #[arg(long, value_name = "BYTES", env = "GESTA_SCRUB_RATE", value_parser = rate::scrub)]
    scrub_rate: Option<Scrub>,
    /// What to do once a write or a sync has failed, after which this process can write no more. What was in flight then is in doubt, and
    /// is settled when the log is opened again.
    #[arg(long, value_name = "WHAT", env = "GESTA_ON_FAILED_WRITE", default_value = "read-only")]
    on_failed_write: OnFailedWrite,
}

/// What to do once a write has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnFailedWrite {
    /// Stay up: reads go on, and appends are refused.
    #[default]
    ReadOnly,
    /// End with 1, for whatever starts servers again.
    Exit,
}

/// What is served.
pub(crate) struct Served {
    pub(crate) folder: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) views: Option<Vec<Definition>>,
    pub(crate) app: Option<Arc<App>>,
    pub(crate) scrub: Scrub,
    pub(crate) on_failed_write: OnFailedWrite,
}

impl Serve {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        start_logging();
        let listen = address(&self.listen, self.insecure)?;
        let views = self.views.as_deref().map(load_views).transpose()?;
        let scrub = self.scrub_rate.unwrap_or_default();
        let (app, on_failed_write) = (context.app.clone(), self.on_failed_write);
        serve(Served { folder: self.dir, listen, views, app, scrub, on_failed_write })
    }
}

/// The address to listen at, if it may be listened at.
pub(crate) fn address(text: &str, insecure: bool) -> Outcome<SocketAddr> {
    let wrong = || Failure::usage(format!("`{text}` is no address to listen at"));
    let mut addresses = text.to_socket_addrs().map_err(|error| wrong().because(&error))?;
    let address = addresses.next().ok_or_else(wrong)?;
    if insecure || address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Failure::usage(format!(
        "`{text}` can be reached from other machines, and there are no users and no encryption"
    ))
    .help("listen at 127.0.0.1 behind a proxy that has them, or give `--insecure`"))
}

/// Logs to the error output from now on, as `GESTA_LOG` says.
pub(crate) fn start_logging() {
    let wanted = std::env::var("GESTA_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.as_deref().map(EnvFilter::try_new).transpose();
    let (filter, wrong) = match filter {
        Ok(filter) => (filter, None),
        Err(error) => (None, Some(error)),
    };
    // Fails where a host has set up its own, which then is the right one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new("info")))
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    if let Some(error) = wrong {
        tracing::warn!(error = %error, "GESTA_LOG is not understood, `info` is taken: write `debug`, `info`, `warn` or `error`");
    }
}

/// Serves until the process is told to stop.
pub(crate) fn serve(served: Served) -> Outcome {
    // The port comes first: where it is taken, no log is made.
    let listener = std::net::TcpListener::bind(served.listen).map_err(cannot_listen(served.listen))?;
    let log = Arc::new(open_log_and_scrub(&served.folder, IfMissing::Make, IfInUse::Stop, served.scrub)?);
    say_what_recovery_did(&log);
    let store: Arc<dyn EventStore> = Arc::clone(&log) as _;
    let definitions = served.views.clone();
    let views = definitions.map(|definitions| open_views(&store, &served.folder, definitions)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot start the runtime").because(&error))?;
    let outcome = runtime.block_on(listen(&served, listener, &log, views.clone()));
    // Views first: they read the log. The log last: what is queued is written.
    views.iter().for_each(|views| views.shut_down());
    log.close();
    drop((views, store, log, runtime));
    outcome?;
    // Said last: whoever waits for it finds the folder free.
    tracing::info!("stopped");
    Ok(())
}

fn cannot_listen(address: SocketAddr) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        Failure::new(format!("cannot listen at {address}"))
            .because(&error)
            .help("end what uses the port, or give another with `--listen`")
    }
}

fn say_what_recovery_did(log: &LogStore) {
    if let Some(progress) = log.index_progress() {
        tracing::warn!(
            events = progress.of,
            "the index is built anew: until it is there, events are read by position alone"
        );
    }
    let read_only = log.read_only();
    match (describe_recovery(log.recovery(), read_only.as_deref()), read_only) {
        (Some(did), None) => tracing::warn!("recovery: {did}"),
        (Some(did), Some(_)) => tracing::error!("recovery: {did}"),
        (None, _) => {}
    }
}

/// What recovery found and did, on one line; `None` where there was nothing to do.
fn describe_recovery(recovery: &Recovery, read_only: Option<&str>) -> Option<String> {
    let mut did = Vec::new();
    if recovery.rescued_frames > 0 {
        did.push(format!("{} frames that were not known to be synced are kept", recovery.rescued_frames));
    }
    if recovery.quarantined_bytes > 0 {
        let bytes = recovery.quarantined_bytes;
        did.push(format!("{bytes} bytes of a torn write were moved to `quarantine`"));
    }
    for (kind, found) in [("damage", &recovery.damage), ("flaw", &recovery.flaws)] {
        // The reason for taking no writes may be this very damage.
        let first = found.first().map(ToString::to_string);
        let first = first.filter(|first| !read_only.is_some_and(|reason| reason.contains(first)));
        did.extend(first.map(|first| format!("{kind}: {first}")));
        if found.len() > 1 {
            did.push(format!("{kind}: {} more, which `gesta verify` lists", found.len() - 1));
        }
    }
    did.extend(read_only.map(|reason| format!("the log is read-only: {reason}")));
    (!did.is_empty()).then(|| did.join("; "))
}

async fn listen(
    served: &Served,
    listener: std::net::TcpListener,
    log: &Arc<LogStore>,
    views: Option<Arc<Views>>,
) -> Outcome {
    let failed = cannot_listen(served.listen);
    listener.set_nonblocking(true).map_err(&failed)?;
    let listener = TcpListener::from_std(listener).map_err(&failed)?;
    let url = format!("http://{}", listener.local_addr().map_err(&failed)?);
    let described = log.describe_holder(&format!("process {}, which serves {url}", std::process::id()));
    described.map_err(|error| Failure::new("cannot write the lock file").because(&error))?;
    let mut signals = Signals::listen()?;
    say(&format!("serving `{}` at {url}", served.folder.display()))?;
    let mut server = Server::builder(Arc::clone(log) as _);
    if let Some(views) = views {
        server = server.views(views);
    }
    if let Some(app) = &served.app {
        server = server.app(Arc::clone(app));
    }
    let (mut failed, told) = (None, Notify::new());
    let stop = async {
        tokio::select! {
            () = told.notified() => {}
            reason = failure(log, served.on_failed_write) => failed = Some(reason),
        }
    };
    tokio::select! {
        () = server.build().serve(listener, stop) => {}
        () = signals.stop_then_cut(&told) => {}
    }
    match failed {
        Some(reason) => Err(Failure::new(format!("the log takes no writes any more: {reason}"))
            .help("look at the disk, and start the server again: it settles what was in flight")),
        None => Ok(()),
    }
}

/// Ends with the reason, once a write has failed and the server is to end by that.
async fn failure(log: &LogStore, then: OnFailedWrite) -> String {
    match then {
        OnFailedWrite::ReadOnly => std::future::pending().await,
        OnFailedWrite::Exit => {
            let reason = log.write_failed().await;
            tracing::error!("stopping: a write failed; open requests may end");
            reason
        }
    }
}

/// The signals that stop the process: ctrl-c and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Outcome<Self> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::new("cannot listen for signals").because(&error));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Tells the server to stop at the first signal, and ends at the second one.
    async fn stop_then_cut(&mut self, told: &Notify) {
        self.next().await;
        tracing::info!("stopping: open requests may end; a second signal cuts them");
        told.notify_one();
        self.next().await;
        tracing::warn!("stopping at once: open requests are cut");
    }
}

/// Reads the definitions of views in a folder.
pub(crate) fn load_views(folder: &Path) -> Outcome<Vec<Definition>> {
    let loaded = Definition::load_folder(folder);
    let loaded = loaded.map_err(|error| Failure::new("cannot read the views").because(&error))?;
    if loaded.is_empty() {
        tracing::warn!(folder = %folder.display(), "there is no `.sql` file in the folder of the views");
    }
    Ok(loaded)
}

/// Opens views, with their tables in the folder of the log.
pub(crate) fn open_views(
    store: &Arc<dyn EventStore>,
    folder: &Path,
    definitions: Vec<Definition>,
) -> Outcome<Arc<Views>> {
    let views = Views::open(Arc::clone(store), folder.join("views"), definitions);
    Ok(Arc::new(views.map_err(|error| Failure::new("cannot open the views").because(&error))?))
}

#[cfg(test)]
mod tests {
    use gesta_log::Damage;

    use super::*;

    #[test]
    fn what_recovery_did_is_said_on_one_line_if_it_did_anything() {
        assert_eq!(describe_recovery(&Recovery::default(), None), None);
        let damage = Damage { segment: 3, offset: 64, from: 5, to: 6, what: "a torn frame".to_owned() };
        let recovery = Recovery {
            rescued_frames: 2,
            quarantined_bytes: 100,
            damage: vec![damage.clone(), damage],
            ..Recovery::default()
        };
        let expected = "2 frames that were not known to be synced are kept; \
             100 bytes of a torn write were moved to `quarantine`; \
             damage: segment 3 at offset 64: a torn frame; positions 5 to 6 are lost; \
             damage: 1 more, which `gesta verify` lists; the log is read-only: why";
        assert_eq!(describe_recovery(&recovery, Some("why")).as_deref(), Some(expected));
        let one = Recovery { damage: recovery.damage[..1].to_vec(), ..Recovery::default() };
        let reason = format!("events are damaged ({})", one.damage[0]);
        assert_eq!(describe_recovery(&one, Some(&reason)), Some(format!("the log is read-only: {reason}")));
    }
}
