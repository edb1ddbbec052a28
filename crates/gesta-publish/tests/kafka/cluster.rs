//! A mock cluster with one topic, and a consumer that reads it from its start.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use crate::bench::{Bench, PATIENCE};
use crate::judge::{Arrival, Counts, judge};

/// The topic that tests publish to.
pub(crate) const TOPIC: &str = "shop";

pub(crate) struct Cluster {
    pub(crate) mock: MockCluster<'static, DefaultProducerContext>,
    pub(crate) brokers: i32,
    pub(crate) topic: Topic,
}

/// A topic, which need not be there.
pub(crate) struct Topic {
    pub(crate) servers: String,
    pub(crate) name: String,
    pub(crate) partitions: i32,
}

/// A record as it lies in the topic.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Record {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header `{name}`: {self:?}"))
    }
}

impl Cluster {
    /// Starts brokers and creates the topic.
    pub(crate) fn start(brokers: i32, partitions: i32) -> Self {
        let cluster = Self::start_without_topic(brokers, partitions);
        cluster.create_topic();
        cluster
    }

    pub(crate) fn start_without_topic(brokers: i32, partitions: i32) -> Self {
        let mock = MockCluster::new(brokers).unwrap();
        let topic = Topic { servers: mock.bootstrap_servers(), name: TOPIC.to_owned(), partitions };
        Self { mock, brokers, topic }
    }

    pub(crate) fn create_topic(&self) {
        self.mock.create_topic(TOPIC, self.topic.partitions, self.brokers).unwrap();
    }

    /// Lets the next produce requests fail, one for each error.
    pub(crate) fn fail_produce(&self, errors: &[RDKafkaRespErr]) {
        self.mock.request_errors(RDKafkaApiKey::Produce, errors);
    }

    /// Takes back the errors that no request had.
    pub(crate) fn mend_produce(&self) {
        self.mock.clear_request_errors(RDKafkaApiKey::Produce);
    }
}

impl Topic {
    /// The keys of a publisher to the topic.
    pub(crate) fn keys(&self, further: &str) -> String {
        format!("to = \"kafka://{}\"\ntopic = \"{}\"\n{further}", self.servers, self.name)
    }

    /// Starts a publisher to the topic. The brokers ask for no user.
    pub(crate) fn publish(&self, further: &str) -> Bench {
        Bench::start(&self.keys(further), "")
    }

    /// All records of the topic. Those of a partition are in their order.
    pub(crate) fn records(&self) -> Vec<Record> {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", "beside")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create::<BaseConsumer>()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition_offset(&self.name, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (begun, mut ended, mut records) = (Instant::now(), 0, Vec::new());
        while ended < self.partitions {
            match consumer.poll(PATIENCE) {
                Some(Ok(message)) => records.push(record_of(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                other => assert!(begun.elapsed() < PATIENCE, "the topic cannot be read: {other:?}"),
            }
        }
        records
    }

    /// Checks the arrivals, and counts them.
    #[track_caller]
    pub(crate) fn counts(&self) -> Counts {
        let arrivals = self.records().iter().map(arrival_of).collect::<Vec<_>>();
        judge(&arrivals)
    }
}

fn record_of(message: &impl Message) -> Record {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = message.headers().unwrap().iter();
    let headers = headers.map(|header| (header.key.to_owned(), text(header.value.unwrap())));
    Record {
        partition: message.partition(),
        key: text(message.key().unwrap()),
        value: text(message.payload().unwrap()),
        headers: headers.collect(),
    }
}

fn arrival_of(record: &Record) -> Arrival {
    assert_eq!(record.header("ce_subject"), record.key);
    Arrival {
        stream: record.key.clone(),
        version: record.header("ce_gestaversion").parse().unwrap(),
        message_id: record.header("ce_id").to_owned(),
    }
}
