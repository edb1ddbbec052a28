//! The laws of a store, from a client through a server to a store.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gesta_client::{ClientOptions, RemoteStore};
use gesta_conformance::{Clock, Harness, Memory, Restarting, Snapshot};
use gesta_core::EventStore;
use gesta_log::{LogStore, Options};
use tempfile::TempDir;

use crate::proxy::Proxy;
use crate::server::Running;

/// A harness whose stores are clients of servers on the stores of another harness.
struct Served<H> {
    harness: H,
    /// The seed of a proxy that cuts connections, if there is one.
    cuts: Option<usize>,
    /// What serves the store that was made last.
    serving: Mutex<Option<Serving>>,
}

/// A server and its store. The proxy and the server end first.
struct Serving {
    proxy: Option<Proxy>,
    server: Running,
    store: Arc<dyn EventStore>,
}

impl<H: Harness> Served<H> {
    const fn new(harness: H) -> Self {
        Self { harness, cuts: None, serving: Mutex::new(None) }
    }

    const fn cut(harness: H, seed: usize) -> Self {
        Self { harness, cuts: Some(seed), serving: Mutex::new(None) }
    }

    fn serve(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        let server = Running::start(Arc::clone(&store));
        let proxy = self.cuts.map(|seed| Proxy::start(server.address, seed));
        let url = proxy.as_ref().map_or_else(|| server.url(), Proxy::url);
        let client = RemoteStore::connect(&url, &self.options()).expect("the server answers");
        *self.serving.lock().unwrap() = Some(Serving { proxy, server, store });
        Arc::new(client)
    }

    fn options(&self) -> ClientOptions {
        // A doubt that only time can settle is reported soon: the laws then send the batch again.
        let settle_time =
            if self.cuts.is_some() { Duration::from_millis(200) } else { Duration::from_secs(10) };
        ClientOptions { settle_time, ..ClientOptions::default() }
    }

    /// Ends the client and the server. Returns the only reference to the store.
    fn end(&self, client: Option<Arc<dyn EventStore>>) -> Arc<dyn EventStore> {
        drop(client);
        let Serving { proxy, server, store } = self.serving.lock().unwrap().take().expect("a served store");
        if let Some((requests, cuts)) = proxy.as_ref().map(Proxy::counts) {
            assert!(cuts >= requests / 7, "{cuts} of {requests} requests were cut");
        }
        drop((proxy, server));
        assert_eq!(Arc::strong_count(&store), 1, "the server has dropped the store");
        store
    }
}

impl<H: Harness> Harness for Served<H> {
    fn store(&self) -> Arc<dyn EventStore> {
        self.serve(self.harness.store())
    }

    fn clock(&self) -> &Clock {
        self.harness.clock()
    }

    fn restart(&self, client: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        self.serve(self.harness.restart(self.end(Some(client))))
    }

    fn second(&self, _: &Arc<dyn EventStore>) -> Option<Arc<dyn EventStore>> {
        let serving = self.serving.lock().unwrap();
        let Serving { proxy, server, .. } = serving.as_ref().expect("a served store");
        let url = proxy.as_ref().map_or_else(|| server.url(), Proxy::url);
        Some(Arc::new(RemoteStore::connect(&url, &self.options()).expect("the server answers")))
    }

    fn snapshot(&self, client: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        let (store, snapshot) = self.harness.snapshot(self.end(Some(client)));
        (self.serve(store), snapshot)
    }

    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        drop(self.end(None));
        self.harness.put_back(snapshot).map(|store| self.serve(store))
    }

    fn takes_system_streams(&self) -> bool {
        false
    }

    fn resends(&self) -> bool {
        self.cuts.is_some()
    }
}

/// A log in a temporary folder.
struct Log {
    folder: TempDir,
    clock: Clock,
}

impl Log {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), clock: Clock::default() }
    }
}

impl Harness for Log {
    fn store(&self) -> Arc<dyn EventStore> {
        let clock = self.clock.clone();
        let clock = Some(Arc::new(move || clock.now()) as gesta_log::Clock);
        let options = Options { segment_size_bytes: 1 << 20, clock, ..Options::default() };
        let log = LogStore::open(self.folder.path(), &options).expect("a sound log opens");
        assert!(log.wait_for_index(), "{:?}", log.index_progress());
        Arc::new(log)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        drop(store);
        self.store()
    }

    fn snapshot(&self, store: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        drop(store);
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(self.folder.path(), copy.path());
        (self.store(), Box::new(copy))
    }

    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        let copy = snapshot.downcast::<TempDir>().expect("the snapshot is of this harness");
        std::fs::remove_dir_all(self.folder.path()).expect("the store is closed");
        copy_folder(copy.path(), self.folder.path());
        Some(self.store())
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

/// The seed of the proxy. A nightly run sets others.
fn seed() -> usize {
    let given = std::env::var("GESTA_PROXY_SEED").ok();
    given.map_or(7, |seed| seed.parse().expect("GESTA_PROXY_SEED is a number"))
}

mod on_memory {
    use super::{Memory, Served};
    gesta_conformance::laws!(Served::new(Memory::new(1)));
}

mod on_three_partitions {
    use super::{Memory, Served};
    gesta_conformance::laws!(Served::new(Memory::new(3)));
}

mod on_the_log {
    use super::{Log, Served};
    gesta_conformance::laws!(Served::new(Log::new()));
}

/// Every few calls, the client, the server and the log are ended and started again.
mod under_restarts {
    use super::{Log, Restarting, Served};
    gesta_conformance::laws!(Restarting::every(5, Served::new(Log::new())));
}

/// One request in seven is cut, before its answer or after it.
mod through_a_cutting_proxy {
    use super::{Memory, Served, seed};
    gesta_conformance::laws!(Served::cut(Memory::new(3), seed()));
}
