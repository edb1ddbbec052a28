//! Targets that are wrong, and events that do not fit.

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use test_servers::MockKafka;

use crate::bench::Bench;
use crate::cluster::{Cluster as _, Topic as _};
use crate::judge::Counts;

#[test]
fn a_topic_that_is_missing_stops_the_publisher_and_is_not_made() {
    // The mock makes topics for clients that ask for it.
    let cluster = MockKafka::start_without_topic(1, 2);
    let bench = cluster.topic.publish("");
    bench.append(["order-1"]);
    for _ in 0..2 {
        let reason = bench.until_stopped();
        assert!(reason.contains("there is no topic `shop`: create it, then resume the group"), "{reason}");
        bench.resume();
    }
    bench.until_stopped();
    cluster.create_topic();
    bench.resume();
    bench.until_done();
    assert_eq!(cluster.topic.counts(), Counts { events: 1, repeats: 0 });
}

#[test]
fn a_missing_right_stops_the_publisher_and_says_which() {
    let cluster = MockKafka::start(1, 2);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.mock.topic_error(&cluster.topic.name, denied).unwrap();
    let bench = cluster.topic.publish("");
    bench.append(["order-1"]);
    let reason = bench.until_stopped();
    assert!(reason.contains("give it the right Describe and Write on the topic"), "{reason}");
    cluster.mock.topic_error(&cluster.topic.name, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    cluster.fail_produce(&[denied]);
    bench.resume();
    let reason = bench.until_stopped();
    assert!(reason.contains("give it the right Write on the topic"), "{reason}");
    bench.resume();
    bench.until_done();
    assert_eq!(cluster.topic.counts(), Counts { events: 1, repeats: 0 });
}

/// Only an idempotent producer asks for an id.
#[test]
fn the_producer_is_idempotent_and_a_broker_that_forbids_it_stops_the_publisher() {
    let cluster = MockKafka::start(1, 2);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.mock.request_errors(RDKafkaApiKey::InitProducerId, &[denied]);
    let bench = cluster.topic.publish("");
    bench.append(["order-1"]);
    let reason = bench.until_stopped();
    assert!(reason.contains("the right IdempotentWrite on the cluster"), "{reason}");
    bench.resume();
    bench.until_done();
    assert_eq!(cluster.topic.counts(), Counts { events: 1, repeats: 0 });
}

#[test]
fn an_event_that_is_too_large_is_parked_and_can_be_replayed() {
    let cluster = MockKafka::start(1, 2);
    let bench = cluster.topic.publish("");
    // Once in a batch, once alone.
    cluster.fail_produce(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 2]);
    bench.append(["order-1"]);
    let parked = bench.until_parked(1);
    let error = parked[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("too large for the topic `shop` (`max.message.bytes`)"), "{error}");
    bench.append(["order-1", "order-2", "order-3"]);
    bench.until_done();
    assert_eq!(cluster.topic.counts(), Counts { events: 2, repeats: 0 });
    bench.replay("order-1");
    bench.until(|status| status.parked == 0);
    bench.until_done();
    assert_eq!(cluster.topic.counts(), Counts { events: 4, repeats: 0 });
}

#[test]
fn events_of_a_batch_that_is_refused_are_sent_alone_and_none_is_parked() {
    for error in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD,
    ] {
        let cluster = MockKafka::start(1, 1);
        let bench = cluster.topic.publish("");
        let streams = (0..50).map(|stream| format!("order-{stream}")).collect::<Vec<_>>();
        bench.append(["order-0"]);
        bench.until_done();
        bench.pause();
        bench.append(streams.iter().map(String::as_str));
        cluster.fail_produce(&[error]);
        bench.resume();
        bench.until_done();
        assert_eq!((bench.status().parked, bench.failed_tries()), (0, 0));
        assert_eq!(cluster.topic.counts(), Counts { events: 51, repeats: 0 });
    }
}

#[test]
fn a_large_event_arrives_whole() {
    let cluster = MockKafka::start(1, 1);
    let bench = cluster.topic.publish("");
    // More than the client takes unless it is told otherwise.
    let data = format!("\"{}\"", "x".repeat(2_000_000));
    bench.append_data(["order-1"], &data);
    bench.until_done();
    assert_eq!(cluster.topic.records()[0].value, data);
}

#[test]
fn a_user_that_the_brokers_do_not_take_stops_the_publisher() {
    let cluster = MockKafka::start(1, 1);
    let mut bench = Bench::start(&cluster.topic.keys(""), "ann:secret");
    bench.append(["order-1"]);
    let reason = bench.until_stopped();
    assert!(reason.contains("check the secret, a user and a password for SASL PLAIN"), "{reason}");
    bench.restart(&cluster.topic.keys(""), "");
    bench.resume();
    bench.until_done();
}
