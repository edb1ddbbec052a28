//! `gesta serve`: serves a log over HTTP until the process gets a signal.

use std::io::IsTerminal;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta::App;
use gesta_core::EventStore;
use gesta_log::{LogStore, Recovery, Scrub};
use gesta_server::Server;
use gesta_views::{Definition, DefinitionWarning, KnownEvent, Views};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::rate;
use crate::target::{IfInUse, IfMissing, open_log_and_scrub};

#[derive(clap::Args)]
pub(crate) struct Serve {
    /// The folder of the log. Made if it does not exist.
    #[arg(long, value_name = "FOLDER", env = "GESTA_DIR")]
    dir: PathBuf,
    /// The address to listen on. Port 0 takes any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2114")]
    listen: String,
    /// A folder with view definitions, `.sql` files. They are read at the start. The tables of the views are kept in `views`, in the
    /// folder of the log.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
    /// Allow connections from other machines. There are no users and no encryption: everybody who reaches the port can read and
    /// write.
    #[arg(long)]
    insecure: bool,
    /// Check sealed segments in the background with this many bytes per second, such as 4M; 0 for never. By default, each segment is
    /// checked once a week.
    #[arg(long, value_name = "BYTES", env = "GESTA_SCRUB_RATE", value_parser = rate::scrub)]
    scrub_rate: Option<Scrub>,
    /// What to do after a failed write or sync. This process then cannot write any more. Appends in flight may or may not have
    /// happened; opening the log again settles them.
    #[arg(long, value_name = "WHAT", env = "GESTA_ON_FAILED_WRITE", default_value = "read-only")]
    on_failed_write: OnFailedWrite,
}

/// What to do after a failed write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnFailedWrite {
    /// Stay up: serve reads, refuse appends.
    #[default]
    ReadOnly,
    /// Exit with 1, so that a supervisor can start the server again.
    Exit,
}

/// A log to serve, with its options.
pub(crate) struct Served {
    pub(crate) folder: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) views: Option<Vec<Definition>>,
    pub(crate) app: Option<Arc<App>>,
    pub(crate) scrub: Scrub,
    pub(crate) on_failed_write: OnFailedWrite,
    /// The text to print once the server listens, made from its address. May be empty.
    pub(crate) introduction: fn(&str) -> String,
}

impl Serve {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        start_logging();
        let listen = address(&self.listen, self.insecure)?;
        let views = self.views.as_deref().map(load_views).transpose()?;
        let scrub = self.scrub_rate.unwrap_or_default();
        let (app, on_failed_write) = (context.app.clone(), self.on_failed_write);
        let introduction = |_: &str| String::new();
        serve(Served { folder: self.dir, listen, views, app, scrub, on_failed_write, introduction })
    }
}

/// The address to listen on. Refuses one that other machines reach, unless `insecure`.
pub(crate) fn address(text: &str, insecure: bool) -> Outcome<SocketAddr> {
    let wrong = || {
        Failure::usage(format!("`{text}` is not an address to listen on"))
            .help("write it as `<host>:<port>`, such as 127.0.0.1:2114")
    };
    let mut addresses = text.to_socket_addrs().map_err(|error| wrong().because(&error))?;
    let address = addresses.next().ok_or_else(wrong)?;
    if insecure || address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Failure::usage(format!(
        "other machines can reach `{text}`, and there are no users and no encryption"
    ))
    .help("listen on 127.0.0.1 behind a proxy that adds them, or give `--insecure`"))
}

/// Starts logging to the error output. `GESTA_LOG` sets the level.
pub(crate) fn start_logging() {
    let wanted = std::env::var("GESTA_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.as_deref().map(EnvFilter::try_new).transpose();
    let (filter, wrong) = match filter {
        Ok(filter) => (filter, None),
        Err(error) => (None, Some(error)),
    };
    // Fails if the host program has set up its own logging, which then stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new("info")))
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    if let Some(error) = wrong {
        tracing::warn!(error = %error, "GESTA_LOG is not a log level, using `info`: write `debug`, `info`, `warn` or `error`");
    }
}

/// Serves until the process gets a signal.
pub(crate) fn serve(served: Served) -> Outcome {
    // The port comes first. If it is taken, no log is made.
    let listener = std::net::TcpListener::bind(served.listen).map_err(cannot_listen(served.listen))?;
    let log = Arc::new(open_log_and_scrub(&served.folder, IfMissing::Make, IfInUse::Stop, served.scrub)?);
    log_recovery(&log);
    let store: Arc<dyn EventStore> = Arc::clone(&log) as _;
    if let (Some(app), Some(views)) = (&served.app, &served.views) {
        unknown_names(app, views).iter().for_each(|warning| tracing::warn!("{warning}"));
    }
    let definitions = served.views.clone();
    let views = definitions.map(|definitions| open_views(&store, &served.folder, definitions)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot start the runtime").because(&error))?;
    let outcome = runtime.block_on(listen(&served, listener, &log, views.clone()));
    // Views first, since they read the log. The log last, to write what is queued.
    views.iter().for_each(|views| views.shut_down());
    log.close();
    drop((views, store, log, runtime));
    outcome?;
    // Logged last: the folder is free now.
    tracing::info!("stopped");
    Ok(())
}

fn cannot_listen(address: SocketAddr) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        Failure::new(format!("cannot listen on {address}"))
            .because(&error)
            .help("stop the program that uses the port, or choose another port with `--listen`")
    }
}

/// Logs what recovery found and did.
fn log_recovery(log: &LogStore) {
    if let Some(progress) = log.index_progress() {
        tracing::warn!(
            events = progress.of,
            "the index is being rebuilt: until it is finished, events can only be read by position"
        );
    }
    let read_only = log.read_only();
    match (describe_recovery(log.recovery(), read_only.as_deref()), read_only) {
        (Some(did), None) => tracing::warn!("recovery: {did}"),
        (Some(did), Some(_)) => tracing::error!("recovery: {did}"),
        (None, _) => {}
    }
}

/// What recovery found and did, on one line; `None` if nothing.
fn describe_recovery(recovery: &Recovery, read_only: Option<&str>) -> Option<String> {
    let mut did = Vec::new();
    if recovery.rescued_frames > 0 {
        did.push(format!("kept {} that may not have been synced", count(recovery.rescued_frames, "frame")));
    }
    if recovery.quarantined_bytes > 0 {
        let bytes = recovery.quarantined_bytes;
        did.push(format!("moved {bytes} bytes of a torn write to `quarantine`"));
    }
    for (kind, found) in [("damage", &recovery.damage), ("flaw", &recovery.flaws)] {
        // The reason for being read-only may name this damage already.
        let first = found.first().map(ToString::to_string);
        let first = first.filter(|first| !read_only.is_some_and(|reason| reason.contains(first)));
        did.extend(first.map(|first| format!("{kind}: {first}")));
        if found.len() > 1 {
            did.push(format!("{kind}: {} more, listed by `gesta verify`", found.len() - 1));
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
    say(&format!("{}serving `{}` at {url}", (served.introduction)(&url), served.folder.display()))?;
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
        Some(reason) => Err(Failure::new(format!("the log cannot be written any more: {reason}"))
            .help("check the disk, then start the server again: it settles the appends in flight")),
        None => Ok(()),
    }
}

/// Ends with the reason when a write fails, if the server should exit then.
async fn failure(log: &LogStore, then: OnFailedWrite) -> String {
    match then {
        OnFailedWrite::ReadOnly => std::future::pending().await,
        OnFailedWrite::Exit => {
            let reason = log.write_failed().await;
            tracing::error!("stopping: a write failed; waiting for open requests");
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

/// Reads the view definitions in a folder.
pub(crate) fn load_views(folder: &Path) -> Outcome<Vec<Definition>> {
    let loaded = Definition::load_folder(folder);
    let loaded = loaded.map_err(|error| {
        Failure::new(format!("cannot read the views in `{}`", folder.display())).because(&error)
    })?;
    if loaded.is_empty() {
        tracing::warn!(folder = %folder.display(), "the folder of the views holds no `.sql` file");
    }
    Ok(loaded)
}

/// The event types and fields in views that the application does not have, and so may be misspelt.
pub(crate) fn unknown_names(app: &App, views: &[Definition]) -> Vec<DefinitionWarning> {
    let known = app.events().map(|event| KnownEvent {
        name: event.name.to_owned(),
        version: event.version,
        fields: event.fields.map(|fields| fields.iter().map(|field| (*field).to_owned()).collect()),
    });
    let known = known.collect::<Vec<_>>();
    views.iter().flat_map(|view| view.warnings(&known)).collect()
}

/// Opens views. Their tables are in the folder of the log.
pub(crate) fn open_views(
    store: &Arc<dyn EventStore>,
    folder: &Path,
    definitions: Vec<Definition>,
) -> Outcome<Arc<Views>> {
    let views = Views::open(Arc::clone(store), folder.join("views"), definitions);
    Ok(Arc::new(views.map_err(|error| {
        Failure::new(format!("cannot open the views of the log in `{}`", folder.display())).because(&error)
    })?))
}

#[cfg(test)]
mod tests {
    use gesta_log::Damage;

    use super::*;

    #[test]
    fn recovery_is_described_on_one_line_if_it_did_anything() {
        assert_eq!(describe_recovery(&Recovery::default(), None), None);
        let damage = Damage {
            segment: 3,
            offset: 64,
            from: 5,
            to: 6,
            end_is_known: true,
            what: "a torn frame".to_owned(),
        };
        let recovery = Recovery {
            rescued_frames: 2,
            quarantined_bytes: 100,
            damage: vec![damage.clone(), damage],
            ..Recovery::default()
        };
        let expected = "kept 2 frames that may not have been synced; \
             moved 100 bytes of a torn write to `quarantine`; \
             damage: segment 3 at offset 64: a torn frame; positions 5 to 6 are lost; \
             damage: 1 more, listed by `gesta verify`; the log is read-only: why";
        assert_eq!(describe_recovery(&recovery, Some("why")).as_deref(), Some(expected));
        let one = Recovery { damage: recovery.damage[..1].to_vec(), ..Recovery::default() };
        let reason = format!("events are damaged ({})", one.damage[0]);
        assert_eq!(describe_recovery(&one, Some(&reason)), Some(format!("the log is read-only: {reason}")));
    }
}
