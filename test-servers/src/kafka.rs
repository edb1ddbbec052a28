//! The mock cluster of Kafka's client: brokers on loopback in this process, which other processes reach too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Offset, TopicPartitionList};

/// How long a read of a topic may take on a slow machine.
const READ_TIME: Duration = Duration::from_secs(120);

/// Brokers that speak the protocol and keep records in memory. They check no sequence numbers, users, rights or sizes.
pub struct MockKafka {
    /// What answers with errors, goes down, or is slow.
    pub mock: MockCluster<'static, DefaultProducerContext>,
    /// The number of brokers. They count from 1.
    pub brokers: i32,
    /// The topic of the test.
    pub topic: KafkaTopic,
}

/// A topic, which need not be there.
#[derive(Debug)]
pub struct KafkaTopic {
    /// `HOST:PORT` of each broker, with commas between.
    pub servers: String,
    /// Its name.
    pub name: String,
    /// The number of its partitions.
    pub partitions: i32,
}

/// A record as it lies in a topic.
#[derive(Debug)]
pub struct KafkaRecord {
    /// The partition, from 0.
    pub partition: i32,
    /// The key, which must be a text.
    pub key: String,
    /// The value, which must be a text.
    pub value: String,
    /// The headers, whose values must be texts.
    pub headers: BTreeMap<String, String>,
}

impl MockKafka {
    /// Starts brokers, and creates the topic `shop`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start(brokers: i32, partitions: i32) -> Self {
        let cluster = Self::start_without_topic(brokers, partitions);
        cluster.create_topic();
        cluster
    }

    /// Starts brokers. The topic is not there yet.
    ///
    /// # Panics
    ///
    /// If they do not start.
    #[must_use]
    pub fn start_without_topic(brokers: i32, partitions: i32) -> Self {
        let mock = MockCluster::new(brokers).expect("the client starts brokers");
        let topic = KafkaTopic { servers: mock.bootstrap_servers(), name: "shop".to_owned(), partitions };
        Self { mock, brokers, topic }
    }

    /// Creates the topic.
    ///
    /// # Panics
    ///
    /// If it is there already.
    pub fn create_topic(&self) {
        let KafkaTopic { name, partitions, .. } = &self.topic;
        self.mock.create_topic(name, *partitions, self.brokers).expect("it is not there yet");
    }
}

impl KafkaTopic {
    /// Reads all records from the start to the end. Those of a partition are in their order.
    ///
    /// # Panics
    ///
    /// If they cannot be read within two minutes, or a record holds something else than texts.
    #[must_use]
    pub fn records(&self) -> Vec<KafkaRecord> {
        let consumer = self.consumer();
        let (begun, mut ended, mut records) = (Instant::now(), 0, Vec::new());
        while ended < self.partitions {
            match consumer.poll(READ_TIME) {
                Some(Ok(message)) => records.push(KafkaRecord::of(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                other => assert!(begun.elapsed() < READ_TIME, "the topic cannot be read: {other:?}"),
            }
        }
        records
    }

    /// A consumer of all partitions from their start.
    fn consumer(&self) -> BaseConsumer {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", "beside")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create::<BaseConsumer>()
            .expect("the settings are valid");
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition_offset(&self.name, partition, Offset::Beginning).expect("a valid offset");
        }
        consumer.assign(&list).expect("a valid list");
        consumer
    }
}

impl KafkaRecord {
    fn of(message: &impl Message) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
        let headers = message.headers().expect("headers").iter();
        let headers = headers.map(|header| (header.key.to_owned(), text(header.value.expect("a value"))));
        Self {
            partition: message.partition(),
            key: text(message.key().expect("a key")),
            value: text(message.payload().expect("a value")),
            headers: headers.collect(),
        }
    }

    /// The value of a header.
    ///
    /// # Panics
    ///
    /// If the record does not have it.
    #[track_caller]
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header `{name}`: {self:?}"))
    }
}
