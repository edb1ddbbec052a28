//! Targets with TLS, on real servers: a good certificate, one of an unknown authority, and one for another name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use test_servers::{Authority, Certificate, Nats, RabbitMq};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;

use crate::bench::Bench;
use crate::hook::Hook;
use crate::{nats, rabbitmq};

/// Checks a target whose certificate is for `localhost` alone. `lines` makes the keys of a publisher from host and further keys.
#[track_caller]
fn check(lines: impl Fn(&str, &str) -> String, secret: &str, ca: &Path, authority: &Path) -> Bench {
    let trusting = |file: &Path| format!("ca_file = {file:?}");
    let mut bench = Bench::start(&lines("localhost", &trusting(authority)), secret);
    bench.append(["order-1"]);
    let reason = bench.until_stopped();
    let expected = format!("is not signed by an authority of `{}`: name the file", authority.display());
    assert!(reason.contains(&expected) && reason.contains("`ca_file`"), "{reason}");

    bench.restart(&lines("127.0.0.1", &trusting(ca)), secret);
    bench.resume();
    let reason = bench.until_stopped();
    assert!(reason.contains("not for `127.0.0.1`: connect by a name of the certificate"), "{reason}");

    bench.restart(&lines("localhost", &trusting(ca)), secret);
    bench.resume();
    bench.until_done();
    bench
}

#[test]
fn rabbitmq_is_published_to_with_tls() {
    let Some(server) = RabbitMq::shared() else { return };
    let (beside, name, other) = (rabbitmq::Beside::new(&server), rabbitmq::name(), Authority::new());
    beside.declare(&name);
    let address = server.tls_url().replace(&format!("{}@", rabbitmq::USER), "");
    let lines = |host: &str, keys: &str| {
        let to = address.replace("localhost", host);
        format!("to = \"{to}\"\nexchange = \"{name}\"\n{}\n{keys}", rabbitmq::SUBJECT)
    };
    let bench = check(lines, rabbitmq::USER, server.ca(), &other.file());
    bench.append_data(["order-1", "order-2"], &format!("\"{}\"", "x".repeat(300_000)));
    bench.until_done();
    let bodies = beside.take_messages(&name).into_iter().map(|(_, _, body, _)| body.len());
    assert_eq!(bodies.collect::<Vec<_>>(), [12, 300_002, 300_002]);
}

#[test]
fn nats_is_published_to_with_tls() {
    let (authority, other, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let (certificate, key) = authority.issue("localhost", &["DNS:localhost"]).write(folder.path(), "server");
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
    let Some(server) = Nats::start(&format!("{}\n{tls}", nats::configuration())) else { return };
    let address = server.url().replace("nats://127.0.0.1", "tls://localhost");
    let lines = |host: &str, keys: &str| {
        let to = address.replace("localhost", host);
        format!("to = \"{to}\"\nstream = \"SHOP\"\n{}\n{keys}", nats::SUBJECT)
    };
    let beside = nats::Beside::with_authority(&address, &authority.file());
    beside.create_stream(Duration::from_secs(120));
    check(lines, nats::TOKEN, &authority.file(), &other.file());
    assert_eq!(beside.counts().events, 1);
}

/// Encrypts what comes to a webhook.
struct Front {
    _runtime: Runtime,
    port: u16,
}

impl Front {
    fn start(hook: &Hook, certificate: &Certificate) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let chain = CertificateDer::pem_slice_iter(certificate.certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let behind = hook.url().replace("http://", "");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    // A client that refuses the certificate ends the handshake.
                    let Ok(mut encrypted) = acceptor.accept(socket).await else { return };
                    let mut plain = TcpStream::connect(behind).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut encrypted, &mut plain).await);
                });
            }
        });
        Self { _runtime: runtime, port }
    }
}

#[test]
fn a_webhook_is_posted_to_with_tls() {
    let (authority, other, hook) = (Authority::new(), Authority::new(), Hook::start());
    let front = Front::start(&hook, &authority.issue("localhost", &["DNS:localhost"]));
    let lines = |host: &str, keys: &str| format!("to = \"https://{host}:{}/hooks\"\n{keys}", front.port);
    let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    check(lines, secret, &authority.file(), &other.file());
    assert_eq!(hook.arrivals().len(), 1);
}
