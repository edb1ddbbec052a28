//! Rates of publishing. They assert nothing about speed. Run them on a machine without other work:
//! `cargo test --release --package gesta-publish --test it rates -- --ignored --nocapture`.
#![expect(clippy::print_stdout, reason = "figures are printed")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream;
use futures_util::StreamExt;
use gesta_log::{LogStore, Options};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel};
use tempfile::TempDir;
use test_servers::{Nats, RabbitMq};

use crate::bench::Bench;
use crate::{nats, rabbitmq};

const EVENTS: usize = 20_000;
const STREAMS: usize = 10_000;
const WINDOW: usize = 256;
/// Events of one append.
const BATCH: usize = 100;

/// A publisher of the events of a new log.
fn on_a_log(folder: &Path, target: &str, secret: &str) -> Bench {
    let log = LogStore::open(folder, &Options::default()).unwrap();
    Bench::start_on(Arc::new(log), target, secret)
}

/// Publishes events of many streams, and then those of one, and prints the rates.
fn measure(name: &str, bench: &Bench) {
    let streams = (0..STREAMS).map(|stream| format!("order-{stream}")).collect::<Vec<_>>();
    bench.pause();
    for _ in 0..EVENTS / STREAMS {
        for batch in streams.chunks(BATCH) {
            bench.append(batch.iter().map(String::as_str));
        }
    }
    print_rate(&format!("{name}, {STREAMS} streams"), EVENTS, || {
        bench.resume();
        bench.until_done();
    });
    let hot = EVENTS / 20;
    bench.pause();
    bench.append(std::iter::repeat_n("hot-1", hot));
    print_rate(&format!("{name}, one stream"), hot, || {
        bench.resume();
        bench.until_done();
    });
}

/// Does the work, and prints its rate.
fn print_rate(name: &str, events: usize, work: impl FnOnce()) {
    let begun = Instant::now();
    work();
    print_rate_since(name, events, begun);
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn print_rate_since(name: &str, events: usize, begun: Instant) {
    let rate = events as f64 / begun.elapsed().as_secs_f64();
    println!("{name:<40} {rate:>10.0} messages/s");
}

#[test]
#[ignore = "prints figures"]
fn rates_of_nats() {
    // The server as people start it: it syncs every two minutes, where those of other tests sync each message.
    let folder = TempDir::new().unwrap();
    let configuration = format!("{}\njetstream {{ store_dir: {:?} }}", nats::configuration(), folder.path());
    let Some(server) = Nats::start(&configuration) else { return };
    let beside = nats::Beside::new(&server);
    beside.create(stream::Config { duplicate_window: Duration::from_secs(120), ..nats::config() });
    let bench = on_a_log(&folder.path().join("log"), &nats::target(&server, nats::SUBJECT), nats::TOKEN);
    measure("NATS", &bench);
}

/// Publishes the same message again and again by the client of RabbitMQ alone, with as many in flight as a publisher has.
async fn publish_alone(channel: &Channel, name: &str, properties: BasicProperties, body: &[u8]) {
    let begun = Instant::now();
    let publish = |_| async {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let key = "order.placed".into();
        let sent = channel.basic_publish("shop".into(), key, options, body, properties.clone()).await;
        assert!(sent.unwrap().await.unwrap().is_ack());
    };
    futures_util::stream::iter(0..EVENTS).map(publish).buffer_unordered(WINDOW).collect::<Vec<_>>().await;
    print_rate_since(name, EVENTS, begun);
}

#[test]
#[ignore = "prints figures"]
fn rates_of_rabbitmq() {
    let Some(server) = RabbitMq::start() else { return };
    let beside = rabbitmq::Beside::new(&server);
    beside.declare("shop");
    let folder = TempDir::new().unwrap();
    let target = rabbitmq::target(&server, "shop", rabbitmq::SUBJECT);
    let bench = on_a_log(folder.path(), &target, rabbitmq::USER);
    bench.append(["order-1"]);
    bench.until_done();
    beside.block_on(async |channel| {
        let options = BasicGetOptions { no_ack: true };
        let published = channel.basic_get("shop".into(), options).await.unwrap().unwrap().delivery;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let bare = BasicProperties::default().with_delivery_mode(2);
        publish_alone(channel, "lapin alone, no headers", bare, &published.data).await;
        publish_alone(channel, "lapin alone, a publisher's headers", published.properties, &published.data)
            .await;
    });
    measure("RabbitMQ", &bench);
}
