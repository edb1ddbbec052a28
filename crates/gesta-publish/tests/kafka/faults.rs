//! Brokers that are down or slow, refuse for now, and change their leaders, under load.

use std::time::Duration;

use rdkafka::types::RDKafkaRespErr;
use test_servers::MockKafka;

use crate::bench::Target;
use crate::cluster::{Cluster as _, Topic as _};
use crate::judge::Counts;

/// Longer than a publisher of these tests waits for a confirmation.
const TOO_SLOW: Duration = Duration::from_secs(30);

const REFUSED_FOR_NOW: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;

fn each_broker(cluster: &MockKafka, change: impl Fn(i32)) {
    (1..=cluster.brokers).for_each(change);
}

/// Gives each partition another leader.
fn move_leaders(MockKafka { mock, brokers, topic }: &MockKafka, by: usize) {
    for partition in 0..topic.partitions {
        let leader = (partition + i32::try_from(by).unwrap()) % brokers + 1;
        mock.partition_leader(&topic.name, partition, Some(leader)).unwrap();
    }
}

impl Target for MockKafka {
    fn harm(&mut self, fault: usize) {
        match fault % 3 {
            0 => each_broker(self, |broker| self.mock.broker_down(broker).unwrap()),
            // It takes messages, and its answers come too late.
            1 => each_broker(self, |broker| self.mock.broker_round_trip_time(broker, TOO_SLOW).unwrap()),
            _ => self.fail_produce(&[REFUSED_FOR_NOW; 1_000]),
        }
    }

    fn mend(&mut self, fault: usize) {
        match fault % 3 {
            0 => each_broker(self, |broker| self.mock.broker_up(broker).unwrap()),
            1 => each_broker(self, |broker| {
                self.mock.broker_round_trip_time(broker, Duration::ZERO).unwrap();
            }),
            _ => self.mend_produce(),
        }
        move_leaders(self, fault);
    }
}

#[test]
fn brokers_that_are_down_slow_and_refuse_under_load_lose_nothing() {
    let mut cluster = MockKafka::start(3, 4);
    let bench = cluster.topic.publish("answer_ms = 1000\nin_flight_max = 8");
    let appended = bench.under_faults(6, &mut cluster);
    let counts = cluster.topic.counts();
    assert_eq!(counts.events, appended);
    let failed = bench.failed_tries();
    assert!(counts.repeats as u64 <= failed, "only a try that failed repeats: {counts:?}, {failed} failed");
}

#[test]
fn the_client_tries_again_by_itself_and_keeps_the_order_of_each_stream() {
    use RDKafkaRespErr::*;
    let errors = [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        // The connection is closed.
        RD_KAFKA_RESP_ERR__TRANSPORT,
    ];
    let cluster = MockKafka::start(3, 4);
    let bench = cluster.topic.publish("");
    let streams = (0..12).map(|stream| format!("order-{stream}")).collect::<Vec<_>>();
    let mut appended = 0;
    for round in 0..10 {
        let error = errors[round % errors.len()];
        cluster.fail_produce(&[error, RD_KAFKA_RESP_ERR_NO_ERROR, error, error]);
        for _ in 0..3 {
            bench.append(streams.iter().map(String::as_str));
            appended += streams.len();
        }
        bench.until_done();
        cluster.mend_produce();
    }
    assert_eq!(cluster.topic.counts(), Counts { events: appended, repeats: 0 });
    assert_eq!(bench.failed_tries(), 0);
}

#[test]
fn a_refusal_for_longer_than_the_time_for_a_confirmation_lets_the_events_wait() {
    let cluster = MockKafka::start(1, 2);
    let bench = cluster.topic.publish("answer_ms = 500");
    cluster.fail_produce(&[REFUSED_FOR_NOW; 100]);
    bench.append(["order-1", "order-2"]);
    bench.until(|status| status.waiting == 2);
    cluster.mend_produce();
    bench.until_done();
    assert_eq!(cluster.topic.counts(), Counts { events: 2, repeats: 0 });
}
