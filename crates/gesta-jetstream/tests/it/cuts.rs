//! Connections that are cut between a publish and its acknowledgement.
//!
//! `GESTA_CUTS` is the number of cuts; 10 without it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::spawn;

use gesta_jetstream::{JetStreamStore, JetStreamUrl, Options};
use test_servers::{NATS_CLUSTER_URL, given};

use crate::faults::setting;
use crate::opening::at;
use crate::traffic::Traffic;

/// One publish in this number loses its answer.
const CUT_EVERY: u64 = 3;

/// Publishes and cuts of all proxies.
#[derive(Debug, Default)]
struct Counts {
    publishes: AtomicU64,
    cuts: AtomicU64,
}

/// Starts a proxy before a server. It passes each publish to a subject on, and drops the answer to some of them with the connection. It ends
/// with the process.
fn start_proxy(server: SocketAddr, subject: &str, counts: &Arc<Counts>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (publish, counts) = (format!("HPUB {subject} "), Arc::clone(counts));
    spawn(move || {
        for client in listener.incoming() {
            // A server that is down takes no connection: the client is told so by the end of its own.
            if let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) {
                pass(client, server, publish.clone(), Arc::clone(&counts));
            }
        }
    });
    address
}

/// Passes the bytes of a connection on, until one side ends it or it is cut.
fn pass(client: TcpStream, server: TcpStream, publish: String, counts: Arc<Counts>) {
    let is_cutting = Arc::new(AtomicBool::new(false));
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (flag, counted) = (Arc::clone(&is_cutting), Arc::clone(&counts));
    spawn(move || {
        for_each_chunk(&mut from, |chunk| {
            if contains(chunk, publish.as_bytes()) {
                let number = counted.publishes.fetch_add(1, Ordering::Relaxed);
                // Before the server has the publish, so that its answer is dropped.
                flag.fetch_or(number % CUT_EVERY == CUT_EVERY - 1, Ordering::SeqCst);
            }
            to.write_all(chunk).is_ok()
        });
        let _ = to.shutdown(Shutdown::Both);
    });
    spawn(move || {
        let (mut from, mut to) = (server, client);
        let mut dropped = Vec::new();
        for_each_chunk(&mut from, |chunk| {
            if !is_cutting.load(Ordering::SeqCst) {
                return to.write_all(chunk).is_ok();
            }
            dropped.extend_from_slice(chunk);
            let is_answered = contains(&dropped, b"\"seq\":") || contains(&dropped, b"\"error\":");
            counts.cuts.fetch_add(u64::from(is_answered), Ordering::Relaxed);
            !is_answered
        });
        let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
    });
}

/// Reads until the end, or until a chunk is not taken.
pub(crate) fn for_each_chunk(from: &mut TcpStream, mut take: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !take(&buffer[..length]) {
            return;
        }
    }
}

pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn what_is_acknowledged_is_there_once_after_answers_were_lost_with_their_connections() {
    let Some(servers) = given(NATS_CLUSTER_URL) else { return };
    let direct = at(&servers);
    let counts = Arc::new(Counts::default());
    let behind = |server: &str| {
        start_proxy(server.parse().unwrap(), &format!("es.{}.0", direct.name()), &counts).to_string()
    };
    let servers = servers.strip_prefix("nats://").unwrap().split(',').map(behind).collect::<Vec<_>>();
    let through: JetStreamUrl = format!("nats://{}/{}", servers.join(","), direct.name()).parse().unwrap();
    let folders = tempfile::tempdir().unwrap();
    let open = |url: &JetStreamUrl, folder: &str| {
        JetStreamStore::open(url, &folders.path().join(folder), &Options::default()).unwrap()
    };
    let stores = ["first", "second", "third"].map(|folder| open(&through, folder));
    let wanted = setting("GESTA_CUTS", 10);
    Traffic::check(
        &format!("{wanted} cuts"),
        &stores,
        || open(&direct, "direct"),
        |traffic| {
            while counts.cuts.load(Ordering::Relaxed) < wanted {
                traffic.wait_for_more();
            }
        },
    );
}
