//! UmaDB as a child process, and its client.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench_core::{BoxFuture, Client, DATA, Drive, Event, Guard, Process, Rival, free_port, runtime};
use futures_util::StreamExt as _;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreAsync as _, DcbQuery, DcbQueryItem};
use umadb_server::{ServerOptions, StorageOptions, start_server_with_options};
use uuid::Uuid;

/// The longest wait for the start of the server.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until the process is killed. This program starts itself for it.
pub fn serve(folder: &Path, port: &str) {
    let options = ServerOptions {
        listen_addr: format!("127.0.0.1:{port}"),
        tls: None,
        api_key: None,
        storage: StorageOptions::default().db_path(folder),
    };
    let (_never, shutdown) = tokio::sync::oneshot::channel();
    runtime().block_on(start_server_with_options(options, shutdown)).expect("the server serves");
}

/// A server on a folder; it is killed when dropped.
pub struct UmaDb {
    process: Child,
    url: String,
}

impl UmaDb {
    pub fn start(folder: &Path) -> Self {
        let port = free_port();
        let process = Command::new(std::env::current_exe().expect("this program"))
            .arg("serve")
            .arg(folder)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Self { process, url: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while runtime().block_on(server.connect()).is_none() {
            assert!(begun.elapsed() < PATIENCE, "the server takes connections");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    async fn connect(&self) -> Option<AsyncUmaDbClient> {
        UmaDbClient::new(self.url.clone()).connect_async().await.ok()
    }
}

impl Drop for UmaDb {
    fn drop(&mut self) {
        // It may have exited already. Then its clients have reported errors.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Rival for UmaDb {
    fn process(&self) -> Process {
        Process::Other(self.process.id())
    }

    fn drive(&self) -> Drive {
        Drive::Tasks
    }

    fn takes(&self, _guard: Guard) -> bool {
        true
    }

    fn client(&self, number: u64) -> Box<dyn Client> {
        let client = runtime().block_on(self.connect()).expect("a connection");
        Box::new(UmaDbConnection { client, number, seen: None })
    }
}

struct UmaDbConnection {
    client: AsyncUmaDbClient,
    number: u64,
    /// The position of its last append.
    seen: Option<u64>,
}

impl Client for UmaDbConnection {
    fn append<'a>(&'a mut self, events: &'a [Event], guard: Guard) -> BoxFuture<'a, ()> {
        let events = events.iter().map(event).collect();
        let condition =
            (guard == Guard::OwnTag).then(|| DcbAppendCondition::new(query(self.number)).after(self.seen));
        Box::pin(async move {
            self.seen = Some(self.client.append(events, condition, None).await.expect("an append"));
        })
    }

    fn read_all(&mut self) -> BoxFuture<'_, u64> {
        Box::pin(self.read(None))
    }

    fn read_stream(&mut self, stream: u64) -> BoxFuture<'_, u64> {
        Box::pin(self.read(Some(query(stream))))
    }
}

impl UmaDbConnection {
    async fn read(&self, query: Option<DcbQuery>) -> u64 {
        let mut read = self.client.read(query, None, false, None).await.expect("a read");
        let mut count = 0;
        while let Some(event) = read.next().await {
            assert_eq!(event.expect("an event").event.data.len(), DATA.len());
            count += 1;
        }
        count
    }
}

fn event(event: &Event) -> DcbEvent {
    DcbEvent::new()
        .event_type("bench.happened")
        .uuid(Uuid::from_u128(event.id))
        .tags(event.tag.map(tag))
        .data(DATA)
}

fn query(tagged: u64) -> DcbQuery {
    DcbQuery::new().item(DcbQueryItem::new().tags([tag(tagged)]))
}

fn tag(number: u64) -> String {
    format!("bench:{number}")
}
