//! What tests of publishers do with the mock cluster and its topic.

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use test_servers::{KafkaRecord, KafkaTopic, MockKafka};

use crate::bench::Bench;
use crate::judge::{Arrival, Counts, judge};

pub(crate) trait Cluster {
    /// Lets the next produce requests fail, one for each error.
    fn fail_produce(&self, errors: &[RDKafkaRespErr]);

    /// Takes back the errors that no request had.
    fn mend_produce(&self);
}

impl Cluster for MockKafka {
    fn fail_produce(&self, errors: &[RDKafkaRespErr]) {
        self.mock.request_errors(RDKafkaApiKey::Produce, errors);
    }

    fn mend_produce(&self) {
        self.mock.clear_request_errors(RDKafkaApiKey::Produce);
    }
}

pub(crate) trait Topic {
    /// The keys of a publisher to the topic.
    fn keys(&self, further: &str) -> String;

    /// Starts a publisher to the topic. The brokers ask for no user.
    fn publish(&self, further: &str) -> Bench {
        Bench::start(&self.keys(further), "")
    }

    fn arrivals(&self) -> Vec<Arrival>;

    /// Checks the arrivals, and counts them.
    #[track_caller]
    fn counts(&self) -> Counts {
        judge(&self.arrivals())
    }
}

impl Topic for KafkaTopic {
    fn keys(&self, further: &str) -> String {
        format!("to = \"kafka://{}\"\ntopic = \"{}\"\n{further}", self.servers, self.name)
    }

    fn arrivals(&self) -> Vec<Arrival> {
        self.records().iter().map(arrival_of).collect()
    }
}

fn arrival_of(record: &KafkaRecord) -> Arrival {
    assert_eq!(record.header("ce_subject"), record.key);
    Arrival {
        stream: record.key.clone(),
        version: record.header("ce_gestaversion").parse().unwrap(),
        message_id: record.header("message-id").to_owned(),
        source_and_id: (record.header("ce_source").to_owned(), record.header("ce_id").to_owned()),
    }
}
