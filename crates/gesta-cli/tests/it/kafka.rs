//! `gesta serve --publish` to Kafka: the binary and brokers in another process, the mock cluster of Kafka's client.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;
use test_servers::{KafkaRecord, KafkaTopic, MockKafka};

use crate::data::file;
use crate::harness::{gesta, serve};
use crate::publishing::{PATIENCE, append, until};

fn publishers(folder: &Path, topic: &KafkaTopic) -> String {
    let KafkaTopic { servers, name, .. } = topic;
    let text = format!(
        "[publisher.orders]\nto = \"kafka://{servers}\"\ntopic = \"{name}\"\nfrom = \"start\"\nanswer_ms = 1000\n"
    );
    file(folder, "publish.toml", &text)
}

/// Reads the topic until it has these events, by stream and version. Returns the records.
fn until_arrived<const N: usize>(topic: &KafkaTopic, events: [(&str, &str); N]) -> Vec<KafkaRecord> {
    let (begun, events) = (Instant::now(), BTreeSet::from(events));
    loop {
        let records = topic.records();
        let event = |record| (KafkaRecord::header(record, "ce_subject"), record.header("ce_gestaversion"));
        let arrived = records.iter().map(event).collect::<BTreeSet<_>>();
        if arrived == events {
            return records;
        }
        assert!(arrived.is_subset(&events) && begun.elapsed() < PATIENCE, "{arrived:?}");
    }
}

#[test]
fn a_server_publishes_to_kafka_waits_while_brokers_are_down_and_goes_on_after_a_restart() {
    let (folder, cluster) = (TempDir::new().unwrap(), MockKafka::start_without_topic(1, 2));
    let log = folder.path().join("log").display().to_string();
    let file = publishers(folder.path(), &cluster.topic);
    let arguments = ["--dir", log.as_str(), "--publish", &file];
    let server = serve(&arguments);
    append(&server, "order-1");
    until(&server, "there is no topic `shop`: create it");
    cluster.create_topic();
    gesta(["groups", "resume", "publish-orders", "--url", &server.url]).ok();
    let record = until_arrived(&cluster.topic, [("order-1", "0")]).remove(0);
    assert_eq!((record.key.as_str(), record.value.as_str()), ("order-1", "{}"));
    assert_eq!(record.header("ce_type"), "order.placed");

    cluster.mock.broker_down(1).unwrap();
    append(&server, "order-1");
    until(&server, "1 waiting");
    assert_eq!(server.stop(), Some(0));
    cluster.mock.broker_up(1).unwrap();
    let server = serve(&arguments);
    append(&server, "order-2");
    until_arrived(&cluster.topic, [("order-1", "0"), ("order-1", "1"), ("order-2", "0")]);
    assert_eq!(server.stop(), Some(0));
}
