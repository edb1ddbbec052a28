//! TLS: each mode does what it does in libpq, and a server that cannot be trusted is refused with what helps.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use gesta_postgres_connect::{Canceller, ConnectError};
use test_servers::Authority;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::server::{Plain, Secure, address, is_encrypted, is_wanted, run, runtime};

/// The words of a connection that must be refused for its TLS.
fn refusal(text: &str) -> String {
    let error = is_encrypted(text).expect_err(text);
    assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    let said = error.to_string();
    assert!(!said.contains("secret"), "{said}");
    said
}

#[test]
fn each_mode_encrypts_and_verifies_what_it_says() {
    let Some(server) = Secure::start() else { return };
    let (ours, other) = (server.authority.file(), Authority::new());
    let (ours, others) = (ours.display(), other.file());
    let others = others.display();
    for (parameters, expected) in [
        ("sslmode=disable".to_owned(), false),
        ("sslmode=prefer".to_owned(), true),
        ("sslmode=require".to_owned(), true),
        (format!("sslmode=require&sslrootcert={ours}"), true),
        (format!("sslmode=verify-ca&sslrootcert={ours}"), true),
        (format!("sslmode=verify-full&sslrootcert={ours}"), true),
        // A server may have the very certificate that is trusted.
        (format!("sslmode=verify-full&sslrootcert={}", server.certificate().display()), true),
        // A server that is not trusted gets no encrypted connection, and `prefer` goes on without.
        (format!("sslmode=prefer&sslrootcert={others}"), false),
    ] {
        let encrypted = is_encrypted(&server.at("postgres", &parameters));
        assert_eq!(
            encrypted.unwrap_or_else(|error| panic!("{parameters}: {error}")),
            expected,
            "{parameters}"
        );
    }
    assert!(is_encrypted(&server.at("postgres", "")).unwrap(), "the default is `prefer`");
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = refusal(&server.at("postgres:secret", &format!("sslmode={mode}&sslrootcert={others}")));
        assert!(said.contains("not signed by an authority of") && said.contains("ca.crt"), "{said}");
    }
    let by_number = |mode: &str| server.by_number(&format!("sslmode={mode}&sslrootcert={ours}"));
    assert!(is_encrypted(&by_number("verify-ca")).unwrap(), "`verify-ca` does not look at the name");
    let said = refusal(&by_number("verify-full"));
    assert!(said.contains("`127.0.0.1`") && said.contains("localhost"), "{said}");
    let said = refusal(&server.at("postgres", "sslmode=require&sslrootcert=system"));
    assert!(said.contains("`sslmode=verify-full`"), "{said}");
    let said = refusal(&server.at("postgres", "sslrootcert=system"));
    assert!(said.contains("authority of the system"), "{said}");
}

#[test]
fn a_client_proves_who_it_is_by_a_certificate_or_by_a_password_that_is_bound_to_the_server() {
    let Some(server) = Secure::start() else { return };
    run(&server.at("postgres", ""), "create role cert login; create role app login password 'secret'");
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = server.authority.issue("cert", &[]).write(folder.path(), "client");
    let named = format!("sslmode=require&sslcert={}&sslkey={}", certificate.display(), key.display());
    assert!(is_encrypted(&server.at("cert", &named)).unwrap());
    let error = is_encrypted(&server.at("cert", "sslmode=require")).unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    // The server compares the binding with its own certificate.
    assert!(is_encrypted(&server.at("app:secret", "sslmode=require&channel_binding=require")).unwrap());
    let error = is_encrypted(&server.at("app:wrong-one", "sslmode=require")).unwrap_err().to_string();
    assert!(error.contains("password authentication failed") && !error.contains("wrong-one"), "{error}");
}

#[test]
fn a_refused_client_is_not_tried_again_without_tls() {
    let Some(server) = Secure::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new().issue("postgres", &[]).write(folder.path(), "client");
    let named = format!("sslmode=prefer&sslcert={}&sslkey={}", certificate.display(), key.display());
    // The server takes this login without TLS. In TLS 1.3 it refuses a certificate after the client's handshake.
    assert!(!is_encrypted(&server.at("postgres", "sslmode=disable")).unwrap());
    let refused = is_encrypted(&server.at("postgres", &named));
    assert!(refused.is_err(), "encrypted: {refused:?}");
}

#[test]
fn only_a_host_whose_handshake_failed_is_tried_again_without_tls() {
    let Some(server) = Secure::start() else { return };
    run(&server.at("postgres", ""), "create role app login password 'secret'");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = listener.local_addr().unwrap();
    let (note, noted) = std::sync::mpsc::channel();
    // It agrees to TLS and breaks off.
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (mut socket, mut request) = (socket.unwrap(), [0; 8]);
            socket.read_exact(&mut request).unwrap();
            note.send(request).unwrap();
            socket.write_all(b"S").unwrap();
        }
    });
    let place = server.place();
    let error = is_encrypted(&format!(
        "postgres://app:wrong-one@{place},{other}/postgres?sslmode=prefer&load_balance_hosts=disable"
    ));
    error.unwrap_err();
    let kinds = noted.try_iter().map(|request| request[4..8] == [4, 210, 22, 47]).collect::<Vec<_>>();
    assert_eq!(kinds, [true, false], "a request for TLS, and one without");
    let log = server.log();
    assert!(log.contains("password authentication failed") && !log.contains("no encryption"), "{log}");
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    if !is_wanted() {
        return;
    }
    let Some(server) = test_servers::Postgres::shared() else { return };
    let at = |parameters: &str| format!("{}?{parameters}", server.url());
    for mode in ["disable", "prefer"] {
        assert!(!is_encrypted(&at(&format!("sslmode={mode}"))).unwrap());
    }
    let authority = Authority::new();
    let roots = authority.file();
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = refusal(&at(&format!("sslmode={mode}&sslrootcert={}", roots.display())));
        assert!(said.contains("`ssl = on`"), "{said}");
    }
}

#[test]
fn wrapped_sockets_and_cancelled_requests_use_tls_too() {
    let Some(server) = Secure::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("ca.crt");
    std::fs::copy(server.authority.file(), &roots).unwrap();
    let verified = format!("sslmode=verify-full&sslrootcert={}", roots.display());
    let address = address(&server.at("postgres", &verified));
    runtime().block_on(async {
        let over = address.connect_over(&Plain).await.unwrap();
        tokio::spawn(over.connection);
        let row = over.client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]);
        assert!(row.await.unwrap().get::<_, bool>(0));
        let connected = address.connect().await.unwrap();
        tokio::spawn(connected.connection);
        // What a connection was made with is enough to end its requests.
        std::fs::remove_file(&roots).unwrap();
        sleep_until_cancelled(&over.client, &over.canceller).await;
        sleep_until_cancelled(&connected.client, &connected.canceller).await;
    });
}

/// Lets the server sleep, and cancels that until it ends: the server passes over a request to cancel what has not begun.
async fn sleep_until_cancelled(client: &Client, canceller: &Canceller) {
    let mut sleep = Box::pin(client.batch_execute("select pg_sleep(600)"));
    let ended = loop {
        tokio::select! {
            ended = &mut sleep => break ended,
            () = canceller.cancel() => {}
        }
    };
    assert_eq!(ended.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = Authority::new().issue("cert", &[]).write(folder.path(), "client");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let check = |parameters: &str, part: &str| {
        let error = address(&format!("postgres://postgres@127.0.0.1:1/postgres?{parameters}")).check_files();
        let error = error.unwrap_err();
        assert!(matches!(error, ConnectError::File(_)), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    check("sslmode=verify-full&sslrootcert=/nowhere/ca.crt", "`/nowhere/ca.crt`: there is no such file");
    check(&format!("sslrootcert={}", empty.display()), "no certificate in PEM form");
    check(&format!("sslcert={}&sslkey=/nowhere/key", certificate.display()), "`/nowhere/key`");
    check(&format!("sslcert={0}&sslkey={0}", certificate.display()), "the client's key");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    check(&format!("sslcert={}&sslkey={}", certificate.display(), key.display()), "`chmod 600` it");
}
