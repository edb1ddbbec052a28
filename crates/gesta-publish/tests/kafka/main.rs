//! Publishing to Kafka, on the mock cluster of its client: brokers within the process, with real sockets.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../it/bench.rs"]
mod bench;
mod cluster;
mod faults;
#[path = "../it/ids.rs"]
mod ids;
#[path = "../it/judge.rs"]
mod judge;
mod outside;
mod targets;

use test_servers::MockKafka;

use crate::cluster::Topic as _;

#[test]
fn an_event_is_a_record_in_binary_mode_with_its_stream_as_the_key() {
    let cluster = MockKafka::start(1, 7);
    let bench = cluster.topic.publish("");
    bench.append(["foobar", "abc", "21", "order-ä"]);
    bench.until_done();
    bench.repeat_all();
    bench.until_done();
    let records = cluster.topic.records();
    // The partitions follow from the hashes of keys in the tests of Kafka's own client: -790332482, 479470107, -973932308.
    for (stream, partition) in [("foobar", 0), ("abc", 4), ("21", 3)] {
        let of_stream = records.iter().filter(|record| record.key == stream).collect::<Vec<_>>();
        assert_eq!(of_stream.len(), 2, "it came twice");
        assert!(of_stream.iter().all(|record| record.partition == partition), "{of_stream:?}");
        assert_eq!(of_stream[0].headers, of_stream[1].headers, "each sending has the same id");
    }
    let record = records.iter().find(|record| record.key == "order-ä").unwrap();
    assert_eq!(record.value, "{\"amount\":1}");
    let headers = [
        ("ce_gestaversion", "0"),
        ("ce_id", "00000000-0000-0000-0000-000000000004"),
        ("ce_source", "urn:gesta:store:07070707070707070707070707070707/order-%C3%A4"),
        ("ce_specversion", "1.0"),
        ("ce_subject", "order-ä"),
        ("ce_time", "1970-01-01T00:00:00.000000001Z"),
        ("ce_type", "order.placed"),
        ("content-type", "application/json"),
    ];
    for (name, value) in headers {
        assert_eq!(record.header(name), value, "{name}");
    }
}

#[test]
fn a_receiver_knows_an_event_by_source_and_id_or_by_the_message_id() {
    let cluster = MockKafka::start(1, 2);
    ids::publish_twice(&cluster.topic.publish(""));
    ids::check(&cluster.topic.arrivals(), 2);
}
