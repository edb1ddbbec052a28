//! A cluster outside of this process, which a person names:
//! `GESTA_KAFKA=HOST:PORT cargo test --package gesta-publish --features kafka --test kafka -- --ignored --nocapture`.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use test_servers::KafkaTopic;

use crate::cluster::Topic as _;

const STREAMS: usize = 20;
const ROUNDS: usize = 200;

/// A topic that no other run has.
fn outside() -> KafkaTopic {
    let servers = std::env::var("GESTA_KAFKA").expect("GESTA_KAFKA names brokers: HOST:PORT,HOST:PORT");
    KafkaTopic { servers, name: format!("gesta-test-{}", uuid::Uuid::now_v7()), partitions: 4 }
}

fn create(topic: &KafkaTopic) {
    let admin = ClientConfig::new().set("bootstrap.servers", &topic.servers).create();
    let admin: AdminClient<DefaultClientContext> = admin.unwrap();
    let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(1));
    let made = pollster::block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
    assert_eq!(made, [Ok(topic.name.clone())]);
}

#[test]
#[ignore = "needs a cluster, which GESTA_KAFKA names"]
fn a_cluster_outside_gets_every_event_in_the_order_of_its_stream() {
    let topic = outside();
    let bench = topic.publish("answer_ms = 5000");
    bench.append(["order-0"]);
    let reason = bench.until_stopped();
    assert!(reason.contains(&format!("there is no topic `{}`: create it", topic.name)), "{reason}");
    create(&topic);
    bench.resume();
    let streams = (0..STREAMS).map(|stream| format!("order-{stream}")).collect::<Vec<_>>();
    for _ in 0..ROUNDS {
        bench.append(streams.iter().map(String::as_str));
        let in_reserve = 5 * STREAMS as u64;
        bench.until(|status| status.lag_events.is_some_and(|lag| lag < in_reserve));
    }
    bench.until_done();
    let (counts, failed) = (topic.counts(), bench.failed_tries());
    println!("{counts:?}, {failed} tries failed");
    assert_eq!(counts.events, 1 + STREAMS * ROUNDS);
    assert!(counts.repeats as u64 <= failed, "only a try that failed repeats: {counts:?}, {failed} failed");
}
