//! A proxy that cuts one request in seven: before the server has all of it, or after, before the client has the answer.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::server::listen;

/// One request in this number is cut.
const CUT_EVERY: usize = 7;
/// A request that was cut passes when it comes again, if at most this number of others were cut in between. The client
/// repeats a read once, so two cuts in a row would be an outage and not a lost connection.
const REMEMBERED: usize = 32;

/// A running proxy. Dropped, it cuts everything.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the connections share.
struct Shared {
    /// Requests that could have been cut.
    requests: usize,
    cuts: usize,
    /// The first place of a cut.
    first: usize,
    /// Hashes of the requests that were cut last.
    cut: VecDeque<u64>,
    hasher: RandomState,
}

/// Where a request is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The server gets nothing.
    Request,
    /// The server gets the first half of the request.
    HalfRequest,
    /// The server gets the request, the client no answer.
    Answer,
    /// The client gets the first half of the answer.
    HalfAnswer,
}

impl Shared {
    /// Decides if and where a request is cut.
    fn decide(&mut self, request: &[u8]) -> Option<Cut> {
        let hash = self.hasher.hash_one(request);
        if self.cut.contains(&hash) {
            return None;
        }
        self.requests += 1;
        if !self.requests.is_multiple_of(CUT_EVERY) {
            return None;
        }
        self.cuts += 1;
        self.cut.push_back(hash);
        if self.cut.len() > REMEMBERED {
            self.cut.pop_front();
        }
        Some([Cut::Answer, Cut::Request, Cut::HalfAnswer, Cut::HalfRequest][(self.first + self.cuts) % 4])
    }
}

impl Proxy {
    /// Starts a proxy before a server. The seed chooses the first request that is cut, and where.
    pub(crate) fn start(server: SocketAddr, seed: usize) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap());
        let address = listener.local_addr().unwrap();
        let (hasher, cut) = (RandomState::new(), VecDeque::new());
        let shared = Shared { requests: seed % CUT_EVERY, cuts: 0, first: seed % 4, cut, hasher };
        let shared = Arc::new(Mutex::new(shared));
        let (stop, stopped) = oneshot::channel();
        let inside = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, server, inside) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// The address as a client takes it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of requests that could have been cut, and that of those that were.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let shared = self.shared.lock().unwrap();
        (shared.requests, shared.cuts)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the proxy ends well");
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, shared: Arc<Mutex<Shared>>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        // A connection that breaks is as good as one that is cut.
        tokio::spawn(async move { pass(client, server, &shared).await });
    }
}

/// Passes requests and answers until one is cut or a side closes. Dropping both connections cuts them.
async fn pass(client: TcpStream, server: SocketAddr, shared: &Mutex<Shared>) -> Option<()> {
    let server = TcpStream::connect(server).await.ok()?;
    let (mut client, mut server) = (Side::of(client), Side::of(server));
    loop {
        let request = client.message().await?;
        let cut = shared.lock().unwrap().decide(&request);
        match cut {
            Some(Cut::Request) => return None,
            Some(Cut::HalfRequest) => {
                server.stream.write_all(&request[..request.len() / 2]).await.ok()?;
                return None;
            }
            _ => server.stream.write_all(&request).await.ok()?,
        }
        // A client that closes the connection drops its request.
        let answer = tokio::select! {
            answer = server.message() => answer?,
            _ = client.stream.readable() => if client.is_closed() { return None } else { server.message().await? },
        };
        match cut {
            Some(Cut::Answer) => return None,
            Some(_) => {
                client.stream.write_all(&answer[..answer.len() / 2]).await.ok()?;
                return None;
            }
            None => client.stream.write_all(&answer).await.ok()?,
        }
    }
}

/// One side of a connection, with the bytes that were read beyond the last message.
struct Side {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Side {
    fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Reads a request or an answer: a head, and a body of the length that the head gives. Gesta sends no other bodies.
    async fn message(&mut self) -> Option<Vec<u8>> {
        let length = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4 + body_length(&self.read[..end]);
            }
            self.more().await?;
        };
        while self.read.len() < length {
            self.more().await?;
        }
        let rest = self.read.split_off(length);
        Some(std::mem::replace(&mut self.read, rest))
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.stream.read_buf(&mut self.read).await.ok()?;
        (read > 0).then_some(())
    }

    /// True if the other side has closed the connection.
    fn is_closed(&mut self) -> bool {
        matches!(self.stream.try_read_buf(&mut self.read), Ok(0))
    }
}

fn body_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    assert!(!head.contains("transfer-encoding"), "bodies have a length: {head}");
    length.map_or(0, |length| length.trim().parse().unwrap())
}
