//! Users, databases, time to live, eviction, and values that others wrote.

use gesta_core::{
    EventId, Fingerprint, Snapshot, SnapshotError, SnapshotKey, SnapshotStore, StoreId, Timestamp, Version,
};
use gesta_valkey::open_snapshots;
use pollster::block_on;
use test_servers::{Authority, free_ports};

use super::server::Server;

fn key(stream: &str) -> SnapshotKey {
    let (store, kind) = (StoreId::from_bytes([1; 16]), Fingerprint::from_bytes([2; 32]));
    SnapshotKey { store, kind, stream: stream.parse().unwrap() }
}

fn snapshot(version: u64, state: &str) -> Snapshot {
    let (anchor, taken_at) = (EventId::from_u128(1), Timestamp::from_nanos(2));
    Snapshot { version: Version::new(version), anchor, taken_at, state: state.to_owned().into() }
}

fn put(url: &str) -> Result<(), SnapshotError> {
    let store = open_snapshots(url.parse().unwrap()).unwrap();
    block_on(store.put(key("a-1"), snapshot(1, "{}")))
}

#[test]
fn a_password_a_user_and_a_database_are_used_as_the_address_says() {
    let Some(server) = Server::start(&["--requirepass", "open sesame"]) else { return };
    let at = format!("127.0.0.1:{}", server.port);
    let Err(SnapshotError::Unavailable { reason }) = put(&format!("redis://{at}")) else { panic!() };
    assert!(reason.contains("NOAUTH"), "{reason}");
    let Err(SnapshotError::Unavailable { reason }) = put(&format!("redis://:wrong@{at}")) else { panic!() };
    assert!(reason.contains("WRONGPASS") && !reason.contains(":wrong"), "{reason}");
    put(&format!("redis://:open%20sesame@{at}/3")).unwrap();
    put(&format!("redis://default:open%20sesame@{at}/3")).unwrap();
    let other = open_snapshots(format!("redis://:open%20sesame@{at}/4").parse().unwrap()).unwrap();
    assert_eq!(block_on(other.newest(key("a-1"), None)), Ok(None));
    let same = open_snapshots(format!("redis://:open%20sesame@{at}/3").parse().unwrap()).unwrap();
    assert_eq!(block_on(same.newest(key("a-1"), None)), Ok(Some(snapshot(1, "{}"))));
}

#[test]
fn a_user_needs_rights_on_the_keys_of_gesta_only() {
    let Some(server) = Server::start(&[]) else { return };
    let rights = "ACL SETUSER gesta on >pw ~gesta:* +@connection +@hash +@sortedset +expire";
    assert_eq!(server.command(rights), "+OK");
    put(&format!("redis://gesta:pw@127.0.0.1:{}?ttl=60", server.port)).unwrap();
}

#[test]
fn a_time_to_live_is_set_anew_with_each_put() {
    let Some(server) = Server::start(&[]) else { return };
    put(&format!("{}?ttl=1000", server.url())).unwrap();
    let hash = format!("gesta:{{a-1}}:{}:{}", key("a-1").store, key("a-1").kind);
    let ttl = |line: &str| line.trim_start_matches(':').parse::<i64>().unwrap();
    assert!((900..=1_000).contains(&ttl(&server.command(&format!("TTL {hash}")))));
    put(&format!("{}?ttl=5000", server.url())).unwrap();
    assert!((4_900..=5_000).contains(&ttl(&server.command(&format!("TTL {hash}")))));
}

#[test]
fn an_evicted_hash_leaves_the_listing_and_a_damaged_value_is_passed_over() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.snapshots();
    for (stream, version) in [("a-1", 1), ("a-1", 2), ("a-2", 1)] {
        block_on(store.put(key(stream), snapshot(version, "{}"))).unwrap();
    }
    let hash = |stream: &str| format!("gesta:{{{stream}}}:{}:{}", key(stream).store, key(stream).kind);
    assert_eq!(server.command(&format!("DEL {}", hash("a-2"))), ":1");
    assert_eq!(server.command(&format!("HSET {} 00000000000000000002 torn", hash("a-1"))), ":0");
    assert_eq!(server.command(&format!("HSET {} note 1", hash("a-1"))), ":1");
    assert_eq!(block_on(store.newest(key("a-1"), None)), Ok(Some(snapshot(1, "{}"))));
    let page = block_on(store.streams(None, None, 10.try_into().unwrap())).unwrap();
    assert_eq!(page.streams.iter().map(|stream| stream.key.clone()).collect::<Vec<_>>(), [key("a-1")]);
    assert_eq!(server.command("ZCARD gesta:snapshots"), ":1", "the evicted one left the index");
}

#[test]
fn a_full_server_is_named() {
    let Some(server) = Server::start(&["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]) else {
        return;
    };
    let store = server.snapshots();
    let put = |version| block_on(store.put(key("a-1"), snapshot(version, &"x".repeat(300_000))));
    let error = (1..100).find_map(|version| put(version).err()).expect("it is full at some time");
    assert!(matches!(error, SnapshotError::StorageFull { .. }), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_named_and_used_as_soon_as_it_is() {
    let Some(mut server) = Server::start(&[]) else { return };
    let store = server.snapshots();
    server.kill();
    for _ in 0..3 {
        let Err(SnapshotError::Unavailable { reason }) = block_on(store.newest(key("a-1"), None)) else {
            panic!()
        };
        assert!(reason.contains(&server.port.to_string()), "{reason}");
    }
    server.kill_and_start();
    block_on(store.put(key("a-1"), snapshot(1, "{}"))).unwrap();
    // The connection of each thread broke: none of them fails a call.
    server.kill_and_start();
    for _ in 0..10 {
        assert_eq!(block_on(store.newest(key("a-1"), None)), Ok(None));
    }
    block_on(store.put(key("a-1"), snapshot(1, "{}"))).unwrap();
}

#[test]
fn a_server_with_tls_needs_a_certificate_for_its_host() {
    let (authority, other, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let files = authority.issue("localhost", &["DNS:localhost"]).write(folder.path(), "server");
    let (certificate, secret) = (files.0.to_str().unwrap(), files.1.to_str().unwrap());
    let (ca, [port]) = (authority.file(), free_ports());
    let tls = ["--tls-port", &port.to_string(), "--tls-cert-file", certificate, "--tls-key-file", secret];
    let more = ["--tls-ca-cert-file", ca.to_str().unwrap(), "--tls-auth-clients", "no"];
    let Some(_server) = Server::start(&[&tls[..], &more].concat()) else { return };
    let url = |host: &str, authority: &Authority| {
        format!("rediss://{host}:{port}?ca={}", authority.file().display())
    };
    for (url, expected) in [
        (url("localhost", &other), "is not signed by an authority of"),
        (url("127.0.0.1", &authority), "not for `127.0.0.1`: connect by a name of the certificate"),
    ] {
        let Err(SnapshotError::Unavailable { reason }) = put(&url) else { panic!("{url}") };
        assert!(reason.contains(expected), "{reason}");
    }
    let store = open_snapshots(url("localhost", &authority).parse().unwrap()).unwrap();
    let large = snapshot(1, &format!("\"{}\"", "x".repeat(2_000_000)));
    block_on(store.put(key("a-1"), large.clone())).unwrap();
    assert_eq!(block_on(store.newest(key("a-1"), None)), Ok(Some(large)));
    let missing = format!("rediss://localhost:{port}?ca={}", folder.path().join("none").display());
    let error = open_snapshots(missing.parse().unwrap()).err().unwrap().to_string();
    assert!(error.contains("none`: No such file"), "{error}");
}

#[test]
fn a_program_that_speaks_something_else_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let web = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = put(&format!("redis://127.0.0.1:{port}")).unwrap_err();
    assert!(matches!(error, SnapshotError::Unavailable { .. }), "{error}");
    web.join().unwrap();
}
