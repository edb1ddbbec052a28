//! A webhook: an HTTP server that answers as a test wants, and can be stopped and slowed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use serde_json::Value;

use crate::bench::PATIENCE;
use crate::judge::Arrival;

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn arrival(&self) -> Arrival {
        let event = self.event();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        Arrival {
            stream: text("subject"),
            version: text("gestaversion").parse().unwrap(),
            message_id: self.headers["webhook-id"].clone(),
            source_and_id: (text("source"), text("id")),
        }
    }
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status, and lines of further headers.
    Status(u16, &'static str),
    /// It takes the request and answers nothing until it is told otherwise.
    Hang,
}

type Choose = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

#[derive(Default)]
struct State {
    choose: Option<Choose>,
    /// Requests, each with its answer: 0 if it had none.
    requests: Vec<(Received, u16)>,
    connections: Vec<TcpStream>,
    is_stopped: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The server. It begins with an answer of 200 to everything.
pub(crate) struct Hook {
    shared: Arc<Shared>,
    port: u16,
}

impl Hook {
    pub(crate) fn start() -> Self {
        let [port] = test_servers::free_ports();
        let hook = Self { shared: Arc::default(), port };
        hook.reply(|_| Reply::Status(200, ""));
        hook.start_again();
        hook
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets what it does with each request from now on. Requests that hang are answered by it too.
    pub(crate) fn reply(&self, choose: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        self.lock().choose = Some(Arc::new(choose));
        self.shared.changed.notify_all();
    }

    /// Cuts all connections, and takes no new ones.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the listener, which ends. The port is free once its connection is refused.
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            thread::yield_now();
        }
    }

    pub(crate) fn start_again(&self) {
        self.lock().is_stopped = false;
        let begun = std::time::Instant::now();
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => break listener,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            thread::yield_now();
        };
        self.listen(listener);
    }

    /// Waits until as many requests have come, and returns all of them.
    #[track_caller]
    pub(crate) fn until(&self, is_wanted: impl Fn(&[(Received, u16)]) -> bool) -> Vec<(Received, u16)> {
        let state = self.lock();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !is_wanted(&state.requests))
            .unwrap();
        assert!(!waited.timed_out(), "{} requests", state.requests.len());
        state.requests.clone()
    }

    /// The messages that were confirmed, or whose answer was lost, in their order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        let state = self.lock();
        let taken = state.requests.iter().filter(|(_, status)| matches!(status, 0 | 200));
        taken.map(|(received, _)| received.arrival()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    fn listen(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                let mut state = shared.state.lock().unwrap();
                if state.is_stopped {
                    return;
                }
                state.connections.push(connection.try_clone().unwrap());
                drop(state);
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&shared, connection));
            }
        });
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if !self.lock().is_stopped {
            self.stop();
        }
    }
}

/// Answers the requests of a connection until it ends.
fn serve(shared: &Shared, connection: TcpStream) {
    let mut writer = connection.try_clone().unwrap();
    let mut reader = BufReader::new(connection);
    while let Some(received) = receive(&mut reader) {
        let mut state = shared.state.lock().unwrap();
        let at = state.requests.len();
        state.requests.push((received.clone(), 0));
        let (status, headers) = loop {
            if state.is_stopped {
                return;
            }
            let choose = state.choose.clone().unwrap();
            match choose(&received) {
                Reply::Status(status, headers) => break (status, headers),
                Reply::Hang => {
                    shared.changed.notify_all();
                    state = shared.changed.wait(state).unwrap();
                }
            }
        };
        state.requests[at].1 = status;
        drop(state);
        shared.changed.notify_all();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n{headers}\r\n");
        if writer.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads a request; `None` at the end of the connection.
fn receive(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Received { path, headers, body: String::from_utf8(body).ok()? })
}
