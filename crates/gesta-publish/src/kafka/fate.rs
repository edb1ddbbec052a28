//! What the answers of Kafka mean.

use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::producer::{Notice, Refused};
use crate::fault::Fault;

/// Why no broker can be asked.
pub(super) fn of_connect(error: &KafkaError, last: &Notice) -> Fault {
    if let Some(refused) = of_refused_user(last) {
        return refused;
    }
    let words = match last.words.as_str() {
        "" => error.to_string(),
        words => words.to_owned(),
    };
    Fault::Broken { reason: format!("cannot connect to Kafka: {words}") }
}

/// The fault if the brokers refuse the user, or ask for one.
pub(super) fn of_refused_user(notice: &Notice) -> Option<Fault> {
    let is_refused = matches!(
        notice.code,
        Some(
            Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism
                | Code::IllegalSASLState
        )
    );
    is_refused.then(|| Fault::Misdirected {
        reason: format!(
            "cannot connect to Kafka: {}: check the secret, a user and a password for SASL PLAIN, then start the server again",
            notice.words
        ),
    })
}

/// Why a topic takes no messages, from the code that a broker gave for it.
pub(super) fn of_topic(topic: &str, code: Code) -> Fault {
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic => Fault::Misdirected {
            reason: format!("there is no topic `{topic}`: create it, then resume the group"),
        },
        Code::InvalidTopic => Fault::Misdirected {
            reason: format!(
                "Kafka takes no topic with the name `{topic}`: change `topic`, then start the server again"
            ),
        },
        Code::TopicAuthorizationFailed => of_missing_right(topic, "Describe and Write on the topic"),
        code => Fault::Broken { reason: format!("cannot look up the topic `{topic}`: {code}") },
    }
}

fn of_missing_right(topic: &str, right: &str) -> Fault {
    Fault::Misdirected {
        reason: format!(
            "the user may not publish to `{topic}`: give it the right {right}, then resume the group"
        ),
    }
}

/// Whether a refusal is about a whole batch, and a record of it may fit alone.
pub(super) fn is_of_batch(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::MessageSizeTooLarge
                | Code::MessageBatchTooLarge
                | Code::InvalidRecord
                | Code::InvalidDifferentRecord
                | Code::InvalidTimestamp
        )
    )
}

/// Why a message was not taken that went alone, or whose refusal is not about its batch.
pub(super) fn of_delivery(topic: &str, answer_time: Duration, refused: &Refused, last: &Notice) -> Fault {
    let words = &refused.words;
    match refused.code {
        code if is_of_batch(code) => Fault::Unfit {
            reason: match code {
                Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) => {
                    format!("the message is too large for the topic `{topic}` (`max.message.bytes`): {words}")
                }
                _ => format!("the topic `{topic}` refuses the message: {words}"),
            },
        },
        Some(Code::TopicAuthorizationFailed) => of_missing_right(topic, "Write on the topic"),
        Some(Code::ClusterAuthorizationFailed) => {
            of_missing_right(topic, "IdempotentWrite on the cluster, as brokers before 3.0 want it")
        }
        Some(
            Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::KafkaStorageError
            | Code::ThrottlingQuotaExceeded
            | Code::QueueFull,
        ) => Fault::Away { after: None, reason: format!("Kafka takes no message for now: {words}") },
        Some(Code::MessageTimedOut) => {
            let cause = match last.words.as_str() {
                "" => String::new(),
                words => format!(": {words}"),
            };
            Fault::Broken { reason: format!("Kafka gave no confirmation within {answer_time:?}{cause}") }
        }
        // The next connection looks the topic up.
        _ => Fault::Broken { reason: format!("Kafka took no message: {words}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(code: Code) -> Fault {
        let refused = Refused { code: Some(code), words: code.to_string() };
        of_delivery("shop", Duration::from_secs(1), &refused, &Notice::default())
    }

    #[test]
    fn each_answer_has_one_fate() {
        use Code::*;
        for code in [MessageSizeTooLarge, MessageBatchTooLarge, InvalidRecord, InvalidTimestamp] {
            assert!(is_of_batch(Some(code)) && matches!(delivery(code), Fault::Unfit { .. }), "{code}");
        }
        for code in [TopicAuthorizationFailed, ClusterAuthorizationFailed] {
            assert!(matches!(delivery(code), Fault::Misdirected { .. }), "{code}");
        }
        for code in [NotEnoughReplicas, KafkaStorageError, ThrottlingQuotaExceeded, QueueFull] {
            assert!(matches!(delivery(code), Fault::Away { after: None, .. }), "{code}");
        }
        for code in [MessageTimedOut, UnknownTopicOrPartition, PurgeQueue, OutOfOrderSequenceNumber] {
            assert!(!is_of_batch(Some(code)) && matches!(delivery(code), Fault::Broken { .. }), "{code}");
        }
        for code in [UnknownTopicOrPartition, InvalidTopic, TopicAuthorizationFailed] {
            assert!(matches!(of_topic("shop", code), Fault::Misdirected { .. }), "{code}");
        }
        assert!(matches!(of_topic("shop", LeaderNotAvailable), Fault::Broken { .. }));
    }

    #[test]
    fn a_connection_that_fails_names_what_the_client_said_last() {
        let error = KafkaError::MetadataFetch(Code::BrokerTransportFailure);
        let last = |code, words: &str| Notice { code: Some(code), words: words.to_owned() };
        let of = |notice: &Notice| of_connect(&error, notice);
        let lost = of(&last(Code::BrokerTransportFailure, "127.0.0.1:9: Connect failed"));
        assert_eq!(
            lost,
            Fault::Broken { reason: "cannot connect to Kafka: 127.0.0.1:9: Connect failed".to_owned() }
        );
        let refused = of(&last(Code::Authentication, "SASL authentication error"));
        assert!(
            matches!(refused, Fault::Misdirected { .. }) && refused.reason().contains("check the secret")
        );
        assert!(of(&Notice::default()).reason().contains("transport failure"));
    }
}
