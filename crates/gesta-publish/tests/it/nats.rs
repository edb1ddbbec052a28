//! Publishing to NATS JetStream, on real servers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use test_servers::Nats;
use tokio::runtime::{Builder, Runtime};

use crate::bench::{Bench, Target};
use crate::ids;
use crate::judge::{Arrival, Counts, judge};

pub(crate) const TOKEN: &str = "a-token";
pub(crate) const SUBJECT: &str = "subject = \"shop.{category}.{type}\"";

/// A client beside the publisher.
pub(crate) struct Beside {
    runtime: Runtime,
    url: String,
    ca: Option<PathBuf>,
}

impl Beside {
    pub(crate) fn new(server: &Nats) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, url: server.url().to_owned(), ca: None }
    }

    /// A client of a server with TLS, whose certificate is signed by the authority of a file.
    pub(crate) fn with_authority(url: &str, ca: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, url: url.to_owned(), ca: Some(ca.to_owned()) }
    }

    pub(crate) fn block_on<T>(&self, work: impl AsyncFnOnce(jetstream::Context) -> T) -> T {
        self.runtime.block_on(async {
            let options = async_nats::ConnectOptions::with_token(TOKEN.to_owned());
            let options = match &self.ca {
                Some(ca) => options.add_root_certificates(ca.clone()),
                None => options,
            };
            let client = options.connect(self.url.as_str()).await.unwrap();
            work(jetstream::new(client)).await
        })
    }

    pub(crate) fn create_stream(&self, duplicate_window: Duration) {
        self.create(stream::Config { duplicate_window, ..config() });
    }

    pub(crate) fn create(&self, config: stream::Config) {
        self.block_on(async |context| {
            context.create_or_update_stream(config).await.unwrap();
        });
    }

    /// The messages of the stream, in their order: subject, arrival, body.
    fn messages(&self) -> Vec<(String, Arrival, String)> {
        self.block_on(async |context| {
            let stream = context.get_stream("SHOP").await.unwrap();
            let last = stream.cached_info().state.last_sequence;
            let mut messages = Vec::new();
            for sequence in 1..=last {
                let message = stream.get_raw_message(sequence).await.unwrap();
                let header = |name: &str| message.headers.get(name).unwrap().as_str().to_owned();
                let arrival = Arrival {
                    stream: header("ce-subject"),
                    version: header("ce-gestaversion").parse().unwrap(),
                    message_id: header("Nats-Msg-Id"),
                    source_and_id: (header("ce-source"), header("ce-id")),
                };
                let body = String::from_utf8(message.payload.to_vec()).unwrap();
                messages.push((message.subject.to_string(), arrival, body));
            }
            messages
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        judge(self.messages().iter().map(|(_, arrival, _)| arrival))
    }
}

pub(crate) fn config() -> stream::Config {
    stream::Config {
        name: "SHOP".to_owned(),
        subjects: vec!["shop.>".to_owned()],
        ..stream::Config::default()
    }
}

/// Lines of the configuration of a server.
pub(crate) fn configuration() -> String {
    format!("authorization {{ token: \"{TOKEN}\" }}")
}

fn server() -> Option<(Nats, Beside)> {
    let server = Nats::start(&configuration())?;
    let beside = Beside::new(&server);
    Some((server, beside))
}

/// The keys of a publisher to the stream.
pub(crate) fn target(server: &Nats, keys: &str) -> String {
    format!("to = \"{}\"\nstream = \"SHOP\"\n{keys}", server.url())
}

pub(crate) fn start(server: &Nats, keys: &str) -> Bench {
    Bench::start(&target(server, keys), TOKEN)
}

#[test]
fn an_event_is_a_message_in_binary_mode_and_a_repeat_is_dropped() {
    let Some((server, beside)) = server() else { return };
    beside.create_stream(Duration::from_secs(120));
    let bench = start(&server, SUBJECT);
    bench.append(["order-ä", "order-2"]);
    bench.until_done();
    bench.repeat_all();
    bench.until_done();
    let messages = beside.messages();
    assert_eq!(messages.len(), 2, "the stream drops what comes again");
    let (subject, arrival, body) =
        messages.iter().find(|(_, arrival, _)| arrival.stream != "order-2").unwrap();
    assert_eq!((subject.as_str(), body.as_str()), ("shop.order.order%2Eplaced", "{\"amount\":1}"));
    assert_eq!((arrival.stream.as_str(), arrival.version), ("order-%C3%A4", 0));
}

#[test]
fn a_receiver_knows_an_event_by_source_and_id_or_by_the_message_id() {
    let Some((server, beside)) = server() else { return };
    beside.create_stream(Duration::from_secs(120));
    ids::publish_twice(&start(&server, SUBJECT));
    let arrivals = beside.messages().into_iter().map(|(_, arrival, _)| arrival).collect::<Vec<_>>();
    // The stream drops the repeats, and none of the two events.
    ids::check(&arrivals, 1);
}

#[test]
fn a_wrong_target_stops_the_publisher_and_says_what_helps() {
    let Some((server, beside)) = server() else { return };
    let mut bench = start(&server, SUBJECT);
    bench.append(["order-1"]);
    let reason = bench.until_stopped();
    assert!(reason.contains("there is no stream `SHOP`: create it"), "{reason}");

    beside.create_stream(Duration::from_secs(10));
    bench.resume();
    let reason = bench.until_stopped();
    assert!(reason.contains("duplicate window"), "{reason}");

    beside.create_stream(Duration::from_secs(120));
    bench.resume();
    bench.until_done();
    assert_eq!(beside.counts(), Counts { events: 1, repeats: 0 });

    // Subjects that no stream takes, and those of another stream.
    let keys =
        |subject: &str| format!("to = \"{}\"\nstream = \"SHOP\"\nsubject = \"{subject}\"", server.url());
    bench.restart(&keys("bank.{type}"), TOKEN);
    bench.append(["order-1"]);
    let reason = bench.until_stopped();
    assert!(reason.contains("takes no subject such as `bank.order%2Eplaced`"), "{reason}");
    beside.create(stream::Config {
        name: "BANK".to_owned(),
        subjects: vec!["bank.>".to_owned()],
        ..config()
    });
    bench.resume();
    let reason = bench.until_stopped();
    assert!(reason.contains("another stream takes this subject"), "{reason}");

    bench.restart(&keys("shop.{type}"), "another-token");
    bench.resume();
    let reason = bench.until_stopped();
    assert!(reason.contains("check the secret"), "{reason}");
    bench.restart(&keys("shop.{type}"), TOKEN);
    bench.resume();
    bench.until_done();
    assert_eq!(beside.counts(), Counts { events: 2, repeats: 0 });
}

#[test]
fn an_event_that_is_too_large_is_parked_and_can_be_replayed() {
    let Some((server, beside)) = server() else { return };
    let small =
        stream::Config { max_message_size: 4_096, duplicate_window: Duration::from_secs(120), ..config() };
    beside.create(small.clone());
    let bench = start(&server, SUBJECT);
    bench.append_data(["order-1"], &format!("\"{}\"", "x".repeat(8_192)));
    // The server itself takes 8 MiB: this one is not even sent.
    bench.append_data(["order-2"], &format!("\"{}\"", "x".repeat(9 << 20)));
    bench.append(["order-1", "order-3"]);
    let parked = bench.until_parked(2);
    let errors = parked.iter().filter_map(|parked| parked.error.as_deref()).collect::<Vec<_>>();
    assert!(errors[0].contains("maximum") && errors[1].contains("`max_payload`"), "{errors:?}");
    beside.create(stream::Config { max_message_size: -1, ..small });
    bench.replay("order-1");
    bench.until(|status| status.parked == 1 && status.waiting == 0 && status.in_flight_events == 0);
    bench.until_done();
    assert_eq!(beside.counts(), Counts { events: 3, repeats: 0 });
}

impl Target for Nats {
    fn harm(&mut self, fault: usize) {
        match fault % 3 {
            0 => self.kill(),
            1 => self.stop(),
            _ => self.signal("STOP"),
        }
    }

    fn mend(&mut self, fault: usize) {
        match fault % 3 {
            0 | 1 => self.start_again(),
            _ => self.signal("CONT"),
        }
    }
}

/// Killed, stopped and paused 20 times under load: nothing is lost, and nothing is twice in the stream.
#[test]
fn a_server_that_is_killed_and_paused_under_load_loses_nothing_and_has_nothing_twice() {
    let Some((mut server, beside)) = server() else { return };
    beside.create_stream(Duration::from_secs(600));
    let bench = start(&server, &format!("{SUBJECT}\nanswer_ms = 1000"));
    let appended = bench.under_faults(20, &mut server);
    assert_eq!(beside.counts(), Counts { events: appended, repeats: 0 });
}
