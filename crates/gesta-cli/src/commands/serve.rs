//! `gesta serve`: serves a log over HTTP until it is told to stop.

use std::io::IsTerminal;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta::App;
use gesta_core::EventStore;
use gesta_log::LogStore;
use gesta_server::Server;
use gesta_views::{Definition, Views};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::target::{IfMissing, open_log};

#[derive(clap::Args)]
pub(crate) struct Serve {
    /// The folder of the log, which is made if it is not there.
    #[arg(long, value_name = "FOLDER", env = "GESTA_DIR")]
    dir: PathBuf,
    /// The address to listen at. Port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2114")]
    listen: String,
    /// A folder of views' definitions, `.sql` files. Their tables are kept in `views` in the folder of the log.
    #[arg(long, value_name = "FOLDER")]
    views: Option<PathBuf>,
    /// Listen beyond this machine although there are no users and no encryption: everybody who reaches the port may read and
    /// write.
    #[arg(long)]
    insecure: bool,
}

/// What is served.
pub(crate) struct Served {
    pub(crate) folder: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) views: Option<Vec<Definition>>,
    pub(crate) app: Option<Arc<App>>,
}

impl Serve {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let listen = address(&self.listen, self.insecure)?;
        let views = self.views.as_deref().map(load_views).transpose()?;
        serve(Served { folder: self.dir, listen, views, app: context.app.clone() })
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

/// Serves until the process is told to stop.
pub(crate) fn serve(served: Served) -> Outcome {
    let filter = EnvFilter::try_from_env("GESTA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails where a host has set up its own, which then is the right one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init();
    let log = Arc::new(open_log(&served.folder, IfMissing::Make)?);
    let store: Arc<dyn EventStore> = Arc::clone(&log) as _;
    let definitions = served.views.clone();
    let views = definitions.map(|definitions| open_views(&store, &served.folder, definitions)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot start the runtime").because(&error))?;
    let outcome = runtime.block_on(listen(&served, &log, views.clone()));
    // Views first: they read the log. The log last: what is queued is written.
    views.iter().for_each(|views| views.shut_down());
    log.close();
    outcome
}

async fn listen(served: &Served, log: &Arc<LogStore>, views: Option<Arc<Views>>) -> Outcome {
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot listen at {}", served.listen))
            .because(&error)
            .help("end what uses the port, or give another with `--listen`")
    };
    let listener = TcpListener::bind(served.listen).await.map_err(failed)?;
    let url = format!("http://{}", listener.local_addr().map_err(failed)?);
    let described = log.describe_holder(&format!("process {}, which serves {url}", std::process::id()));
    described.map_err(|error| Failure::new("cannot write the lock file").because(&error))?;
    let stop = stop_signal()?;
    say(&format!("serving `{}` at {url}", served.folder.display()))?;
    let mut server = Server::builder(Arc::clone(log) as _);
    if let Some(views) = views {
        server = server.views(views);
    }
    if let Some(app) = &served.app {
        server = server.app(Arc::clone(app));
    }
    server.build().serve(listener, stop).await;
    tracing::info!("stopped");
    Ok(())
}

/// Ends when the process is told to stop: by ctrl-c or SIGTERM.
fn stop_signal() -> Outcome<impl Future<Output = ()>> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::new("cannot listen for signals").because(&error));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: open requests may end");
    })
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
