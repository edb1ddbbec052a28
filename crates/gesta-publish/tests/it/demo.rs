//! The demo of `cargo xtask demo-broker`: a server publishes to NATS and RabbitMQ, which are killed and started under load.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_servers::{Nats, RabbitMq};

use crate::bench::LOOK_AGAIN;
use crate::judge::judge;
use crate::{nats, rabbitmq};

const ROUNDS: usize = 3;
const STREAMS: usize = 50;
/// Batches of each load, with an event for each stream.
const BATCHES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(300);

/// `gesta serve` with two publishers. Killed when dropped.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(program: &str, folder: &TempDir) -> Self {
        let path = |name: &str| folder.path().join(name);
        let mut process = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--dir"])
            .arg(path("log"))
            .arg("--publish")
            .arg(path("publish.toml"))
            .envs([("DEMO_RABBITMQ", rabbitmq::USER), ("DEMO_NATS", nats::TOKEN)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{program}`: {error}"));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(url.starts_with("http://"), "`{program}` does not serve: {line}");
        Self { process, url }
    }

    /// Appends an event to each stream, again and again. Returns how many.
    fn load(&self) -> usize {
        for _ in 0..BATCHES {
            let event = |stream| json!({"stream": format!("order-{stream}"), "type": "order.placed", "data": {"amount": 1}});
            let batch = json!({"events": (0..STREAMS).map(event).collect::<Vec<_>>()});
            ureq::post(format!("{}/batches", self.url))
                .header("content-type", "application/json")
                .send(batch.to_string())
                .unwrap();
        }
        BATCHES * STREAMS
    }

    /// Waits until a publisher has published everything.
    fn until_published(&self, publisher: &str) {
        let begun = Instant::now();
        loop {
            let answer = ureq::get(format!("{}/groups/publish-{publisher}", self.url)).call().unwrap();
            let status: Value = serde_json::from_reader(answer.into_body().into_reader()).unwrap();
            if status["lagEvents"] == 0 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "`{publisher}` does not end: {status}");
            thread::park_timeout(LOOK_AGAIN);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "run by `cargo xtask demo-broker`, which builds the program that it starts"]
fn demo() {
    let program = std::env::var("GESTA_PROGRAM").expect("GESTA_PROGRAM names the program `gesta`");
    let mut nats = Nats::start(&nats::configuration()).expect("the NATS server is installed");
    let mut rabbitmq = RabbitMq::start().expect("RabbitMQ is installed");
    let (at_nats, at_rabbitmq) = (nats::Beside::new(&nats), rabbitmq::Beside::new(&rabbitmq));
    at_nats.create(stream::Config { duplicate_window: PATIENCE, ..nats::config() });
    at_rabbitmq.declare("shop");
    let folder = TempDir::new().unwrap();
    let publishers = format!(
        "[publisher.nats]\nto = \"{}\"\nstream = \"SHOP\"\nfrom = \"start\"\nsubject = \"shop.{{category}}.{{type}}\"\nsecret_env = \"DEMO_NATS\"\n\n\
         [publisher.rabbitmq]\nto = \"{}\"\nexchange = \"shop\"\nfrom = \"start\"\nsubject = \"{{category}}.{{type}}\"\nsecret_env = \"DEMO_RABBITMQ\"\n",
        nats.url(),
        rabbitmq::address(&rabbitmq)
    );
    println!("publish.toml:\n\n{publishers}");
    std::fs::write(folder.path().join("publish.toml"), publishers).unwrap();
    let mut server = Server::start(&program, &folder);
    let mut appended = server.load();
    for round in 1..=ROUNDS {
        println!("round {round}: NATS is killed");
        nats.kill();
        appended += server.load();
        nats.start_again();
        println!("round {round}: RabbitMQ is killed");
        rabbitmq.kill();
        appended += server.load();
        rabbitmq.start_again();
        println!("round {round}: the server is killed");
        drop(server);
        server = Server::start(&program, &folder);
        appended += server.load();
    }
    server.until_published("nats");
    server.until_published("rabbitmq");
    let in_nats = at_nats.counts();
    let messages = at_rabbitmq.take_messages("shop");
    let in_rabbitmq = judge(messages.iter().map(|(_, arrival, ..)| arrival));
    println!("\n              events   repeats");
    println!("appended    {appended:>8}");
    println!("NATS        {:>8}  {:>8}", in_nats.events, in_nats.repeats);
    println!("RabbitMQ    {:>8}  {:>8}", in_rabbitmq.events, in_rabbitmq.repeats);
    assert_eq!((in_nats.events, in_rabbitmq.events), (appended, appended), "every event arrived");
    assert_eq!(in_nats.repeats, 0, "JetStream drops repeats");
    println!("\nEvery event arrived, in the order of its stream.");
}
