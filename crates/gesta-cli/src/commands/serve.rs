//! `gesta serve`: serves a store over HTTP until the process gets a signal.

use std::io::IsTerminal;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta::schema::EventSchema;
use gesta::{App, Gesta};
use gesta_consumer::{AnyConsumer, Consumers};
use gesta_core::Category;
use gesta_log::Scrub;
use gesta_publish::Publisher;
use gesta_server::{Builder, Limits, Server};
use gesta_views::{Definition, LoadError, Options, PostgresUrl, Reloaded, Views};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::open_category::OpenCategories;
use crate::advertise;
use crate::connections_max;
use crate::failure::{Failure, Outcome};
use crate::host::Host;
use crate::hosting::Hosting;
use crate::kept::{consumers, follow_pauses, kept_pauses};
use crate::output::say;
use crate::rate;
use crate::store::{OnFailedWrite, OpenOptions, Opened, Snapshots, StoreUrl, open};
use crate::target::{cannot_open_store, variable};
use crate::unread::Unread;
use crate::views::{ViewsDb, known_events, load_each, open_views};

#[derive(clap::Args)]
pub(crate) struct Serve {
    /// The store: a folder, `file:` with a folder, `memory:` for a store that ends with this process, `http://HOST:PORT` for the
    /// store of another server, `postgres://USER@HOST/DATABASE` for one in PostgreSQL, or `nats://HOST,HOST,HOST/NAME?copy=FOLDER` for one on
    /// a cluster of NATS JetStream, with a folder for the copy of this server [env: GESTA_STORE].
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    store: Option<Unread<StoreUrl>>,
    /// The folder of the log, the same as `--store file:FOLDER`. Made if it does not exist [env: GESTA_DIR].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// A folder for the tables of views and other state beside a store that has no folder. Required there if there are views. Each
    /// server needs its own.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// The address to listen on. Port 0 takes any free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2114")]
    listen: String,
    /// The address of this server for other servers on the same database or cluster, such as `http://10.0.0.7:2114`. One of them deals the consumer
    /// groups, and the others pass calls on to it. By default, the address to listen on.
    #[arg(long, value_name = "URL", env = "GESTA_ADVERTISE")]
    advertise: Option<String>,
    /// A folder with view definitions, `.sql` files. They are read at the start, and again at `gesta view reload` or SIGHUP. The tables
    /// of the views are kept in `views`, in the folder of the log or of `--state`.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
    #[command(flatten)]
    views_db: ViewsDb,
    /// Keep the built-in view `gesta-inventory`: how many events of each type and schema version the log has, and where.
    #[arg(long)]
    inventory: bool,
    /// Publish events to the message brokers and webhooks that this file names, in TOML.
    #[arg(long, value_name = "FILE")]
    publish: Option<PathBuf>,
    /// Offer the routes for events, `/streams`, `/batches` and `/events`, also for a store of another server. That server offers
    /// them anyway.
    #[arg(long)]
    raw: bool,
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
    /// Keep snapshots of states there: `beside` the log, in its schema in PostgreSQL, on its cluster, or in `--state`; a file, `redis://HOST:PORT`, or
    /// `off`. The default is `beside` if the program declares snapshots, else `off`.
    #[arg(long, value_name = "WHERE", env = "GESTA_SNAPSHOTS", hide_env_values = true)]
    snapshots: Option<Unread<Snapshots>>,
    #[command(flatten)]
    open_categories: OpenCategories,
}

/// A store to serve, with what is served on it.
pub(crate) struct Served {
    pub(crate) store: StoreUrl,
    pub(crate) options: OpenOptions,
    pub(crate) listen: SocketAddr,
    pub(crate) host: Host,
    /// The views of the host and of the flags; `None` if there are none.
    pub(crate) views: Option<Vec<Definition>>,
    /// The folder that the views are read from again.
    pub(crate) views_folder: Option<PathBuf>,
    pub(crate) publishers: Vec<Publisher>,
    /// The database of views in PostgreSQL.
    pub(crate) views_db: Option<PostgresUrl>,
    /// Hosted categories that take raw appends, by the host and by the flags.
    pub(crate) open_categories: Vec<Category>,
    /// True if the routes for events are offered, whatever the store.
    pub(crate) raw: bool,
    /// The text to print once the server listens, made from its address. May be empty.
    pub(crate) introduction: fn(&str) -> String,
}

impl Serve {
    pub(crate) fn run(self, host: &Host) -> Outcome {
        start_logging();
        let listen = address(&self.listen, self.insecure)?;
        let host = if self.inventory { host.clone().inventory() } else { host.clone() };
        let views = host.views_with(self.views.as_deref())?;
        let publishers = self.publish.as_deref().map_or(Ok(Vec::new()), |file| publishers(file, &host))?;
        let views_db = self.views_db.url()?;
        let store = self.store()?;
        self.advertise.iter().try_for_each(|address| advertise::check(address, &store))?;
        let options = OpenOptions {
            state: self.state,
            scrub: self.scrub_rate.unwrap_or_default(),
            on_failed_write: self.on_failed_write,
            snapshots: match &self.snapshots {
                Some(given) => given.read("--snapshots")?,
                None => default_snapshots(host.app.as_deref()),
            },
            advertise: self.advertise,
            ..OpenOptions::default()
        };
        let open_categories = self.open_categories.of(&host)?;
        let (raw, introduction) = (self.raw, |_: &str| String::new());
        serve(Served {
            store,
            options,
            listen,
            host,
            views,
            views_folder: self.views,
            views_db,
            publishers,
            open_categories,
            raw,
            introduction,
        })
    }

    /// The store, from the flags or the environment.
    fn store(&self) -> Outcome<StoreUrl> {
        match (&self.store, &self.dir) {
            (Some(store), _) => return store.read("--store"),
            (None, Some(dir)) => return Ok(StoreUrl::File(dir.clone())),
            (None, None) => {}
        }
        match (variable("GESTA_STORE"), variable("GESTA_DIR")) {
            (Some(store), None) => store.parse().map_err(|error: crate::store::StoreUrlParseError| {
                Failure::usage("GESTA_STORE is not the address of a store").because(&error)
            }),
            (None, Some(dir)) => Ok(StoreUrl::File(dir.into())),
            (Some(_), Some(_)) => Err(Failure::usage("GESTA_STORE and GESTA_DIR are both set")
                .help("choose one with `--store <url>` or `--dir <folder>`")),
            (None, None) => Err(Failure::usage("no store given").help(
                "give `--dir <folder>` for a log, or `--store <url>` for the store of a server, a database or a cluster",
            )),
        }
    }
}

/// The publishers of a file. Their groups must not be those of the host.
fn publishers(file: &Path, host: &Host) -> Outcome<Vec<Publisher>> {
    let publishers = gesta_publish::read_file(file);
    let publishers = publishers.map_err(|error| Failure::usage("cannot publish").because(&error))?;
    match publishers.iter().find(|publisher| host.has_group(publisher.group())) {
        None => Ok(publishers),
        Some(publisher) => {
            Err(Failure::usage(format!("this program has a group `{}` of its own", publisher.group()))
                .help(format!("rename the publisher in `{}`", file.display())))
        }
    }
}

/// The default of `--snapshots`: beside the store if the program declares snapshots, else off.
pub(crate) fn default_snapshots(app: Option<&App>) -> Snapshots {
    match app.and_then(|app| app.snapshot_kinds().next()) {
        Some(_) => Snapshots::Beside,
        None => Snapshots::Off,
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

/// Reads the filter of the log. A single word is a level: the filter itself takes any word, as the name of a module.
fn log_filter(text: &str) -> Result<EnvFilter, String> {
    if !text.contains(['=', ',', '[']) && text.parse::<LevelFilter>().is_err() {
        return Err(format!("`{text}` is none of them"));
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

/// Starts logging to the error output. `GESTA_LOG` sets the level.
pub(crate) fn start_logging() {
    let wanted = std::env::var("GESTA_LOG").ok().filter(|wanted| !wanted.is_empty());
    let filter = wanted.as_deref().map(log_filter).transpose();
    let (filter, wrong) = match filter {
        Ok(filter) => (filter, None),
        Err(error) => (None, Some(error)),
    };
    // Fails if the host program has set up its own logging, which then stays.
    let _ = tracing_subscriber::fmt()
        // The client of NATS tells at `info` what it does.
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new("info,async_nats=warn")))
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // If nobody reads the log any more, the server goes on. Reporting that on the error output would panic.
        .log_internal_errors(false)
        .try_init();
    if let Some(error) = wrong {
        tracing::warn!(error = %error, "GESTA_LOG is not a log level, using `info`: write `debug`, `info`, `warn` or `error`");
    }
}

/// Serves until the process gets a signal.
pub(crate) fn serve(mut served: Served) -> Outcome {
    if served.views.is_some() && served.options.state.is_none() && !matches!(served.store, StoreUrl::File(_))
    {
        return Err(Failure::usage(format!("views on `{}` need a folder for their tables", served.store))
            .help("give `--state <folder>`, a folder of this server alone"));
    }
    let default = Limits::default();
    let limits = Limits { connections_max: connections_max(default.connections_max)?, ..default };
    let events = served.host.event_schemas()?;
    // The port comes before the log. If it is taken, no log is made.
    let listener = std::net::TcpListener::bind(served.listen).map_err(cannot_listen(served.listen))?;
    if served.options.advertise.is_none() {
        let address = listener.local_addr().map_err(cannot_listen(served.listen))?;
        served.options.advertise = advertise::default(&served.store, address);
    }
    let opened = open(&served.store, &served.options).map_err(|error| cannot_open_store(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot start the runtime").because(&error))?;
    let views = open_views_of(&served, &opened)?;
    // One handle for all: two would have two lines of commands to one entity.
    let gesta = opened.gesta();
    let Host { groups, processes, .. } = &served.host;
    let threads = served.host.threads_of_a_group();
    let mut hosting = Hosting::start(groups, processes, threads, &opened, &gesta, runtime.handle())?;
    hosting.publish(std::mem::take(&mut served.publishers), &opened)?;
    let consumers = Arc::new(consumers(&opened, views.as_ref(), hosting.consumers())?);
    if opened.is_shared() {
        runtime.spawn(follow_pauses(Arc::downgrade(&consumers)));
    }
    let reload = reload(&served, views.as_ref(), &consumers);
    let server = server(&served, &opened, gesta, views.clone(), consumers, &hosting, events);
    let server = server.limits(limits);
    let server = match reload.clone() {
        Some(reload) => server.reload_views(move || reload()),
        None => server,
    };
    let outcome = runtime.block_on(listen(&served, listener, &opened, server.build(), reload.as_ref()));
    drop(reload);
    // Routes have ended. Workers next, which give back their deliveries; then timers and views, which read the store. The store last,
    // to write what is queued.
    hosting.stop();
    views.iter().for_each(|views| views.shut_down());
    drop((views, runtime));
    let displaced = opened.close_and_look();
    outcome?;
    if let Some(why) = displaced {
        return Err(Failure::new("the log is no longer in its folder")
            .cause(why)
            .help("events appended since then are in the moved folder, and nowhere if it was removed"));
    }
    // Logged last: the folder is free now.
    tracing::info!("stopped");
    Ok(())
}

fn open_views_of(served: &Served, opened: &Opened) -> Outcome<Option<Arc<Views>>> {
    let (Some(definitions), Some(state)) = (&served.views, &opened.state) else { return Ok(None) };
    let paused = kept_pauses(&*opened.values, definitions);
    let (postgres, known_events) = (served.views_db.clone(), known_events(&served.host)?);
    let options = Options { paused, postgres, known_events, ..Options::default() };
    open_views(&opened.store, state, definitions.clone(), options).map(Some)
}

/// Reads the definitions of views again, and gives them to the views.
type Reload = Arc<dyn Fn() -> Result<Reloaded, LoadError> + Send + Sync>;

/// The reload of the views in a folder; `None` if there is no folder.
fn reload(served: &Served, views: Option<&Arc<Views>>, consumers: &Arc<Consumers>) -> Option<Reload> {
    let (views, consumers) = (Arc::clone(views?), Arc::clone(consumers));
    let (of_host, folder) = (served.host.views.clone(), served.views_folder.clone()?);
    Some(Arc::new(move || {
        let reloaded = views.reload(load_each(&of_host, &folder)?);
        let is_new =
            |consumer: &Arc<dyn AnyConsumer>| reloaded.added.iter().any(|added| added == consumer.name());
        for view in views.consumers().into_iter().filter(is_new) {
            if let Err(error) = consumers.add(view) {
                tracing::error!(%error, "a view is not listed as a consumer");
            }
        }
        Ok(reloaded)
    }))
}

fn cannot_listen(address: SocketAddr) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        Failure::new(format!("cannot listen on {address}"))
            .because(&error)
            .help("stop the program that uses the port, or choose another port with `--listen`")
    }
}

async fn listen(
    served: &Served,
    listener: std::net::TcpListener,
    opened: &Opened,
    server: Server,
    reload: Option<&Reload>,
) -> Outcome {
    let failed = cannot_listen(served.listen);
    listener.set_nonblocking(true).map_err(&failed)?;
    let listener = TcpListener::from_std(listener).map_err(&failed)?;
    let url = format!("http://{}", listener.local_addr().map_err(&failed)?);
    let described = opened.describe_holder(&format!("process {}, which serves {url}", std::process::id()));
    described.map_err(|error| Failure::new("cannot write the lock file").because(&error))?;
    let mut signals = Signals::listen()?;
    let hang_up = listen_for(SignalKind::hangup())?;
    say(&format!("{}serving `{}` at {url}", (served.introduction)(&url), opened.described))?;
    let (mut failed, told) = (None, Notify::new());
    let stop = async {
        tokio::select! {
            () = told.notified() => {}
            reason = opened.failed() => {
                tracing::error!("stopping: {reason}; waiting for open requests");
                failed = Some(reason);
            }
        }
    };
    tokio::select! {
        () = server.serve(listener, stop) => {}
        () = signals.stop_then_cut(&told) => {}
        () = reload_at(hang_up, reload) => {}
    }
    failed.map_or(Ok(()), |reason| Err(Failure::new(reason).help(opened.remedy())))
}

fn server(
    served: &Served,
    opened: &Opened,
    gesta: Gesta,
    views: Option<Arc<Views>>,
    consumers: Arc<Consumers>,
    hosting: &Hosting,
    events: Vec<EventSchema>,
) -> Builder {
    let mut server = Server::builder(Arc::clone(&opened.store))
        .gesta(gesta)
        .consumers(consumers)
        .groups(Arc::clone(&opened.groups))
        .timers(hosting.timers().iter().cloned())
        .closed(served.host.processes.iter().map(|process| process.category()))
        .event_types(events);
    if let Some(unready) = opened.unready() {
        server = server.unready_if(unready);
    }
    if let Some(views) = views {
        server = server.views(views);
    }
    if let Some(app) = &served.host.app {
        server = server.app(Arc::clone(app));
    }
    if opened.is_remote() && !served.raw {
        server = server.without_raw_routes();
    }
    served.open_categories.iter().cloned().fold(server, Builder::open_category)
}

/// Reloads the views at each SIGHUP. Never ends. The signal is taken without a folder of views too: its default would end the process.
async fn reload_at(mut hang_up: Signal, reload: Option<&Reload>) {
    while hang_up.recv().await.is_some() {
        let Some(reload) = reload.cloned() else {
            tracing::warn!("SIGHUP reloads views, and there are none: give `--views` to have some");
            continue;
        };
        let reloaded = tokio::task::spawn_blocking(move || reload()).await;
        if let Ok(Err(error)) = reloaded {
            tracing::error!(%error, "the views are not reloaded");
        }
    }
    std::future::pending().await
}

fn listen_for(kind: SignalKind) -> Outcome<Signal> {
    signal(kind).map_err(|error| Failure::new("cannot listen for signals").because(&error))
}

/// The signals that stop the process: ctrl-c and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Outcome<Self> {
        Ok(Self {
            interrupt: listen_for(SignalKind::interrupt())?,
            terminate: listen_for(SignalKind::terminate())?,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_level_is_a_level_or_names_parts_of_the_program() {
        for right in ["debug", "WARN", "off", "gesta_views=debug", "warn,gesta_log=info"] {
            assert!(log_filter(right).is_ok(), "{right}");
        }
        for wrong in ["bogus", "inof", "a=b=c"] {
            assert!(log_filter(wrong).is_err(), "{wrong}");
        }
    }
}
