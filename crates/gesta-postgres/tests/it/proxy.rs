//! A proxy that harms the connection of the writer at one message of an append.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// What happens at the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It never arrives: the connection is cut before it.
    Cut,
    /// It arrives, but no answer comes back: from here on, the client hears nothing, and the server sees the end.
    Silence,
    /// It waits until [`Proxy::release`], as in a process that is stopped.
    Hold,
}

/// The first message of an append's transaction.
const BEGIN: &[u8] = b"begin isolation level read committed read write";

/// The length of a client's question if the server has TLS.
const SSL_REQUEST_BYTES: usize = 8;

#[derive(Default)]
struct Plan {
    /// The harm, and the number of messages of the next append that pass before it.
    armed: Option<(Harm, usize)>,
    /// True if the harm was done.
    is_done: bool,
    is_released: bool,
    /// Each message with this text cuts its connection.
    cut_at: Option<&'static str>,
    links: Vec<TcpStream>,
    /// Bytes that the server has answered since the harm, on the connection of the append that was harmed.
    answered_bytes: usize,
    /// Connections that were taken since it is dark. Nobody serves them.
    in_the_dark: Option<Vec<TcpStream>>,
}

/// A proxy in front of a server. It runs until the test ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    plan: Arc<(Mutex<Plan>, Condvar)>,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let plan = Arc::<(Mutex<Plan>, Condvar)>::default();
        let shared = Arc::clone(&plan);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                let mut plan = shared.0.lock().unwrap();
                if let Some(held) = &mut plan.in_the_dark {
                    held.push(client);
                    continue;
                }
                plan.links.extend(client.try_clone());
                drop(plan);
                let Ok(server) = TcpStream::connect(server) else { continue };
                // Otherwise each round trip waits for a delayed acknowledgement.
                [&client, &server].into_iter().for_each(|side| side.set_nodelay(true).expect("a socket"));
                let plan = Arc::clone(&shared);
                let link = Link { client, server, plan, is_harmed: Arc::default() };
                thread::spawn(move || link.run());
            }
        });
        Self { address, plan }
    }

    /// The address of a database behind the proxy.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// Harms the next append, after `after` of its messages.
    pub(crate) fn arm(&self, harm: Harm, after: usize) {
        let mut plan = self.plan.0.lock().unwrap();
        (plan.armed, plan.is_done, plan.is_released) = (Some((harm, after)), false, false);
    }

    /// Cuts a connection at each message with a text, from now on or no more.
    pub(crate) fn cut_at(&self, text: Option<&'static str>) {
        self.plan.0.lock().unwrap().cut_at = text;
    }

    /// Cuts all connections, and takes new ones without a word, as a network does that loses every packet.
    pub(crate) fn darken(&self) {
        let mut plan = self.plan.0.lock().unwrap();
        plan.in_the_dark = Some(Vec::new());
        // Those that have ended are no longer connected.
        plan.links.drain(..).for_each(|link| drop(link.shutdown(Shutdown::Both)));
    }

    /// The number of connections since [`Self::darken`].
    pub(crate) fn in_the_dark(&self) -> usize {
        self.plan.0.lock().unwrap().in_the_dark.as_ref().map_or(0, Vec::len)
    }

    /// True if the harm was done.
    pub(crate) fn is_done(&self) -> bool {
        self.plan.0.lock().unwrap().is_done
    }

    /// Blocks until the harm was done.
    pub(crate) fn wait_until_done(&self) {
        let plan = self.plan.0.lock().unwrap();
        drop(self.plan.1.wait_while(plan, |plan| !plan.is_done).unwrap());
    }

    /// The number of bytes that the server has answered on the harmed connection, since the harm.
    pub(crate) fn answered_bytes(&self) -> usize {
        self.plan.0.lock().unwrap().answered_bytes
    }

    /// Lets a held message go.
    pub(crate) fn release(&self) {
        self.plan.0.lock().unwrap().is_released = true;
        self.plan.1.notify_all();
    }
}

/// One connection through the proxy.
struct Link {
    client: TcpStream,
    server: TcpStream,
    plan: Arc<(Mutex<Plan>, Condvar)>,
    /// True if one of its messages was harmed.
    is_harmed: Arc<AtomicBool>,
}

impl Link {
    fn run(self) {
        let (mut from, mut to) = (self.server.try_clone().unwrap(), self.client.try_clone().unwrap());
        let (is_harmed, plan) = (Arc::clone(&self.is_harmed), Arc::clone(&self.plan));
        let answers = thread::spawn(move || {
            let count = |bytes| {
                if is_harmed.load(Ordering::SeqCst) {
                    plan.0.lock().unwrap().answered_bytes += bytes;
                }
            };
            // Ends when either side is gone.
            let _ = pass_back(&mut from, &mut to, count);
            let _ = to.shutdown(Shutdown::Both);
            let _ = io::copy(&mut from, &mut io::sink());
        });
        let _ = self.pass_on();
        let _ = self.server.shutdown(Shutdown::Write);
        answers.join().unwrap();
    }

    /// Passes on messages of the client until a harm ends that.
    fn pass_on(&self) -> io::Result<()> {
        let (client, mut server) = (&self.client, &self.server);
        let mut first = message(client, false)?;
        if first.len() == SSL_REQUEST_BYTES {
            // The server has no TLS, and says so by one byte that goes the other way.
            server.write_all(&first)?;
            first = message(client, false)?;
        }
        server.write_all(&first)?;
        // The number of messages of the append that is to be harmed; `None` before it.
        let mut passed = None;
        loop {
            let message = message(client, true)?;
            if passed.is_none() && self.is_armed() && message.windows(BEGIN.len()).any(|part| part == BEGIN) {
                passed = Some(0);
            }
            if self.is_cut_at(&message) {
                client.shutdown(Shutdown::Both)?;
                return server.shutdown(Shutdown::Both);
            }
            match passed.and_then(|passed| self.harm_at(passed)) {
                None => server.write_all(&message)?,
                Some(Harm::Cut) => {
                    client.shutdown(Shutdown::Both)?;
                    server.shutdown(Shutdown::Both)?;
                    return Ok(());
                }
                Some(Harm::Silence) => {
                    client.shutdown(Shutdown::Both)?;
                    return server.write_all(&message);
                }
                Some(Harm::Hold) => {
                    let plan = self.plan.0.lock().unwrap();
                    drop(self.plan.1.wait_while(plan, |plan| !plan.is_released).unwrap());
                    server.write_all(&message)?;
                }
            }
            passed = passed.map(|passed| passed + 1);
        }
    }

    fn is_cut_at(&self, message: &[u8]) -> bool {
        let text = self.plan.0.lock().unwrap().cut_at;
        text.is_some_and(|text| message.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    fn is_armed(&self) -> bool {
        self.plan.0.lock().unwrap().armed.is_some()
    }

    /// The harm at a message of the append, once.
    fn harm_at(&self, passed: usize) -> Option<Harm> {
        let mut plan = self.plan.0.lock().unwrap();
        let (harm, after) = plan.armed?;
        if passed < after {
            return None;
        }
        (plan.armed, plan.is_done, plan.answered_bytes) = (None, true, 0);
        self.is_harmed.store(true, Ordering::SeqCst);
        self.plan.1.notify_all();
        Some(harm)
    }
}

/// Passes on answers until either side ends.
fn pass_back(from: &mut TcpStream, to: &mut TcpStream, count: impl Fn(usize)) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = from.read(&mut buffer)?;
        if bytes == 0 {
            return Ok(());
        }
        count(bytes);
        to.write_all(&buffer[..bytes])?;
    }
}

/// Reads one message of the protocol. The first one of a connection has no type.
fn message(mut from: &TcpStream, has_type: bool) -> io::Result<Vec<u8>> {
    let mut head = vec![0; if has_type { 5 } else { 4 }];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes(head[head.len() - 4..].try_into().expect("four bytes"));
    let mut message = head;
    let begin = message.len();
    message.resize(begin + length as usize - 4, 0);
    from.read_exact(&mut message[begin..])?;
    Ok(message)
}
