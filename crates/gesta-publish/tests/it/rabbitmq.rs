//! Publishing to RabbitMQ, on real servers.

use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use test_servers::RabbitMq;
use tokio::runtime::{Builder, Runtime};

use crate::bench::{Bench, Target};
use crate::ids;
use crate::judge::{Arrival, judge};

/// The user that every broker has.
pub(crate) const USER: &str = "guest:guest";
pub(crate) const SUBJECT: &str = "subject = \"{category}.{type}\"";

/// A client beside the publisher.
pub(crate) struct Beside {
    runtime: Runtime,
    url: String,
}

impl Beside {
    pub(crate) fn new(server: &RabbitMq) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, url: server.url().to_owned() }
    }

    pub(crate) fn block_on<T>(&self, work: impl AsyncFnOnce(&Channel) -> T) -> T {
        self.runtime.block_on(async {
            let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let done = work(&channel).await;
            connection.close(200, "done".into()).await.unwrap();
            done
        })
    }

    /// Declares an exchange and a queue that takes all of it, both of that name.
    pub(crate) fn declare(&self, name: &str) {
        self.declare_exchange(name);
        self.bind(name);
    }

    fn declare_exchange(&self, name: &str) {
        self.block_on(async |channel| {
            let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            let declared =
                channel.exchange_declare(name.into(), ExchangeKind::Topic, durable, FieldTable::default());
            declared.await.unwrap();
        });
    }

    fn bind(&self, name: &str) {
        self.block_on(async |channel| {
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(name.into(), durable, FieldTable::default()).await.unwrap();
            let bound = channel.queue_bind(
                name.into(),
                name.into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            bound.await.unwrap();
        });
    }

    fn unbind(&self, name: &str) {
        self.block_on(async |channel| {
            channel.queue_unbind(name.into(), name.into(), "#".into(), FieldTable::default()).await.unwrap();
        });
    }

    fn delete_exchange(&self, name: &str) {
        self.block_on(async |channel| {
            channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.unwrap();
        });
    }

    /// Takes the messages of a queue, in their order: routing key, arrival, body, delivery mode.
    pub(crate) fn take_messages(&self, queue: &str) -> Vec<(String, Arrival, String, Option<u8>)> {
        self.block_on(async |channel| {
            let mut messages = Vec::new();
            while let Some(message) =
                channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap()
            {
                let delivery = message.delivery;
                let headers = delivery.properties.headers().clone().unwrap();
                let header = |name: &str| {
                    let value = headers.inner().get(name).unwrap().as_long_string().unwrap();
                    value.to_string()
                };
                let arrival = Arrival {
                    stream: header("cloudEvents:subject"),
                    version: header("cloudEvents:gestaversion").parse().unwrap(),
                    message_id: delivery.properties.message_id().clone().unwrap().to_string(),
                    source_and_id: (header("cloudEvents:source"), header("cloudEvents:id")),
                };
                let body = String::from_utf8(delivery.data).unwrap();
                let mode = *delivery.properties.delivery_mode();
                messages.push((delivery.routing_key.to_string(), arrival, body, mode));
            }
            messages
        })
    }
}

/// The address of a server without its user.
pub(crate) fn address(server: &RabbitMq) -> String {
    server.url().replace(&format!("{USER}@"), "")
}

/// The keys of a publisher to an exchange.
pub(crate) fn target(server: &RabbitMq, exchange: &str, keys: &str) -> String {
    format!("to = \"{}\"\nexchange = \"{exchange}\"\n{keys}", address(server))
}

pub(crate) fn start(server: &RabbitMq, exchange: &str, keys: &str) -> Bench {
    Bench::start(&target(server, exchange, keys), USER)
}

/// A name that no other test has: the server is shared.
pub(crate) fn name() -> String {
    format!("test-{}", uuid::Uuid::now_v7())
}

#[test]
fn an_event_is_a_persistent_message_in_binary_mode() {
    let Some(server) = RabbitMq::shared() else { return };
    let (beside, name) = (Beside::new(&server), name());
    beside.declare(&name);
    let bench = start(&server, &name, SUBJECT);
    bench.append(["order-ä"]);
    bench.until_done();
    let (key, arrival, body, mode) = beside.take_messages(&name).remove(0);
    assert_eq!((key.as_str(), body.as_str(), mode), ("order.order%2Eplaced", "{\"amount\":1}", Some(2)));
    assert_eq!((arrival.stream.as_str(), arrival.version), ("order-ä", 0));
}

#[test]
fn a_receiver_knows_an_event_by_source_and_id_or_by_the_message_id() {
    let Some(server) = RabbitMq::shared() else { return };
    let (beside, name) = (Beside::new(&server), name());
    beside.declare(&name);
    ids::publish_twice(&start(&server, &name, SUBJECT));
    let arrivals = beside.take_messages(&name).into_iter().map(|(_, arrival, ..)| arrival);
    ids::check(&arrivals.collect::<Vec<_>>(), 2);
}

#[test]
fn a_wrong_target_stops_the_publisher_and_says_what_helps() {
    let Some(server) = RabbitMq::shared() else { return };
    let (beside, name) = (Beside::new(&server), name());
    let mut bench = start(&server, &name, SUBJECT);
    bench.append(["order-1"]);
    let reason = bench.until_stopped();
    assert!(reason.contains(&format!("there is no exchange `{name}`: create")), "{reason}");

    beside.declare_exchange(&name);
    bench.resume();
    let reason = bench.until_stopped();
    assert!(reason.contains("no queue takes the routing key `order.order%2Eplaced`"), "{reason}");

    beside.bind(&name);
    bench.resume();
    bench.until_done();

    // Unbound and deleted while the connection is there.
    beside.unbind(&name);
    bench.append(["order-1"]);
    assert!(bench.until_stopped().contains("no queue takes"));
    beside.delete_exchange(&name);
    bench.resume();
    assert!(bench.until_stopped().contains("there is no exchange"));
    beside.declare(&name);
    bench.resume();
    bench.until_done();

    let keys = format!("to = \"{}\"\nexchange = \"{name}\"\n{SUBJECT}", address(&server));
    bench.restart(&keys, "guest:wrong");
    bench.append(["order-1"]);
    let reason = bench.until_stopped();
    assert!(reason.contains("check the secret"), "{reason}");
    bench.restart(&keys, USER);
    bench.resume();
    bench.until_done();
    let messages = beside.take_messages(&name);
    let counts = judge(messages.iter().map(|(_, arrival, ..)| arrival));
    assert_eq!((counts.events, counts.repeats), (3, 0));
}

#[test]
fn a_message_that_is_returned_does_not_pass_for_confirmed_among_others_in_flight() {
    let Some(server) = RabbitMq::shared() else { return };
    let (beside, name) = (Beside::new(&server), name());
    beside.declare_exchange(&name);
    beside.block_on(async |channel| {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.as_str().into(), durable, FieldTable::default()).await.unwrap();
        // Every stream but one has a queue.
        for stream in 0..20 {
            let (queue, key) = (name.as_str().into(), format!("order-{stream}").into());
            let bound = channel.queue_bind(
                queue,
                name.as_str().into(),
                key,
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            bound.await.unwrap();
        }
    });
    let bench = start(&server, &name, "subject = \"{stream}\"");
    let streams = (0..=20).map(|stream| format!("order-{stream}")).collect::<Vec<_>>();
    bench.append(streams.iter().map(String::as_str));
    let reason = bench.until_stopped();
    assert!(reason.contains("no queue takes the routing key `order-20`"), "{reason}");
    beside.bind(&name);
    bench.resume();
    bench.until_done();
    let messages = beside.take_messages(&name);
    let counts = judge(messages.iter().map(|(_, arrival, ..)| arrival));
    assert_eq!(counts.events, 21);
}

#[test]
fn an_event_that_does_not_fit_is_parked_and_others_go_on() {
    let Some(server) = RabbitMq::shared() else { return };
    let (beside, name) = (Beside::new(&server), name());
    beside.declare(&name);
    let bench = start(&server, &name, "subject = \"{stream}\"");
    let long = format!("order-{}", "x".repeat(300));
    bench.append([long.as_str(), "order-1"]);
    let parked = bench.until_parked(1);
    assert!(parked[0].error.as_deref().is_some_and(|error| error.contains("255 are allowed")), "{parked:?}");
    bench.until_done();
    assert_eq!(beside.take_messages(&name).len(), 1);
}

impl Target for RabbitMq {
    fn harm(&mut self, fault: usize) {
        match fault % 3 {
            0 => self.kill(),
            1 => self.signal("STOP"),
            _ => self.stop(),
        }
    }

    fn mend(&mut self, fault: usize) {
        match fault % 3 {
            0 | 2 => self.start_again(),
            _ => self.signal("CONT"),
        }
    }
}

#[test]
fn a_broker_that_is_killed_and_paused_under_load_loses_nothing() {
    const FAULTS: usize = 5;
    const IN_FLIGHT: usize = 8;
    let Some(mut server) = RabbitMq::start() else { return };
    let beside = Beside::new(&server);
    beside.declare("shop");
    let keys = format!("{SUBJECT}\nin_flight_max = {IN_FLIGHT}\nanswer_ms = 2000");
    let bench = start(&server, "shop", &keys);
    let appended = bench.under_faults(FAULTS, &mut server);
    let messages = beside.take_messages("shop");
    let counts = judge(messages.iter().map(|(_, arrival, ..)| arrival));
    assert_eq!(counts.events, appended);
    let failed = bench.failed_tries();
    assert!(counts.repeats as u64 <= failed, "only a try that failed repeats: {counts:?}, {failed} failed");
}
