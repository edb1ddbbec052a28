//! The settings of a producer, from the keys of a publisher.

use std::time::Duration;

use rdkafka::ClientConfig;

/// The port of a broker whose address names none.
const PORT: u16 = 9_092;
/// The most characters of a topic's name, as brokers have it.
const TOPIC_CHARACTERS_MAX: usize = 249;
/// The largest message that the client takes, in bytes: its own highest bound. The broker's bound counts.
const MESSAGE_BYTES_MAX: &str = "1000000000";

/// What a producer needs to know.
#[derive(Clone)]
pub(super) struct Settings {
    /// Hosts and ports, separated by commas.
    pub(super) servers: String,
    /// The user and the password.
    pub(super) user: Option<(String, String)>,
    pub(super) answer_time: Duration,
}

/// How many records a producer sends in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Batches {
    /// What waits for a partition goes together.
    Shared,
    /// Each record goes alone.
    Alone,
}

impl Settings {
    /// The configuration of the client.
    pub(super) fn to_client(&self, batches: Batches) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.servers)
            .set("client.id", "gesta")
            // The client's own retries neither repeat a record nor change the order in a partition.
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // With several requests, the client takes the answer to a later one as that to an earlier one that failed. Only a broker that
            // checks sequence numbers, as Kafka does, makes that true. With one request, nothing rests on it.
            .set("max.in.flight.requests.per.connection", "1")
            // The partition of a key is that of Kafka's client in Java, so that topics keyed alike can be joined.
            .set("partitioner", "murmur2_random")
            // A misspelled topic is an error, and no new topic.
            .set("allow.auto.create.topics", "false")
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            .set("message.timeout.ms", self.answer_time.as_millis().to_string())
            // What comes while requests are under way makes a batch; a record alone does not wait for others.
            .set("linger.ms", "0")
            // A broker that is back is noticed within it.
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            // Brokers get events, and no figures about this process.
            .set("enable.metrics.push", "false");
        if batches == Batches::Alone {
            client.set("batch.num.messages", "1");
        }
        if let Some((user, password)) = &self.user {
            client
                .set("security.protocol", "sasl_plaintext")
                .set("sasl.mechanisms", "PLAIN")
                .set("sasl.username", user)
                .set("sasl.password", password);
        }
        client
    }
}

/// Reads the addresses of brokers, `kafka://HOST:PORT,HOST:PORT`. The error says what is wrong and what helps.
pub(super) fn servers_of(to: &str) -> Result<String, String> {
    let (_, list) = to.split_once("://").unwrap_or_default();
    let list = list.strip_suffix('/').unwrap_or(list);
    let servers = list.split(',').map(server_of).collect::<Result<Vec<_>, _>>()?;
    Ok(servers.join(","))
}

/// Reads one address; an IPv6 address is in brackets.
fn server_of(text: &str) -> Result<String, String> {
    let wrong = || format!("names the broker `{text}`: write `kafka://HOST:PORT,HOST:PORT`");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (text, PORT),
    };
    let is_address = host.starts_with('[') && host.ends_with(']');
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    let is_part = |c: char| c.is_alphanumeric() || "-._".contains(c) || is_address && ":%".contains(c);
    match !inner.is_empty() && inner.chars().all(is_part) && port != 0 {
        true => Ok(format!("{host}:{port}")),
        false => Err(wrong()),
    }
}

/// Checks the name of a topic. The error says what is wrong and what helps.
pub(crate) fn check_topic(topic: &str) -> Result<(), String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let has_form = (1..=TOPIC_CHARACTERS_MAX).contains(&topic.len()) && topic.chars().all(is_part);
    match has_form && topic != "." && topic != ".." {
        true => Ok(()),
        false => Err(format!(
            "is no name of a topic: write 1 to {TOPIC_CHARACTERS_MAX} of the characters `a` to `z`, `A` to `Z`, `0` to `9`, `.`, `_` and `-`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_hosts_and_ports() {
        for (to, servers) in [
            ("kafka://h", "h:9092"),
            ("kafka://h:9093/", "h:9093"),
            ("kafka://a:1,b,c.d-e:3", "a:1,b:9092,c.d-e:3"),
            ("kafka://[::1]", "[::1]:9092"),
            ("kafka://[::1]:9093,127.0.0.1:65535", "[::1]:9093,127.0.0.1:65535"),
        ] {
            assert_eq!(servers_of(to).as_deref(), Ok(servers), "{to}");
        }
        for to in [
            "kafka://",
            "kafka://a,",
            "kafka://a:x",
            "kafka://a:0",
            "kafka://a:65536",
            "kafka://a/b",
            "kafka://::1",
        ] {
            let error = servers_of(to).expect_err(to);
            assert!(error.contains("write `kafka://HOST:PORT,HOST:PORT`"), "{error}");
        }
    }

    #[test]
    fn a_topic_has_a_name_that_brokers_take() {
        let longest = "x".repeat(TOPIC_CHARACTERS_MAX);
        for (topic, is_right) in [
            ("shop", true),
            ("Shop.orders_v1-a", true),
            (longest.as_str(), true),
            (&format!("{longest}x"), false),
            ("", false),
            (".", false),
            ("..", false),
            ("größe", false),
            ("{category}", false),
            ("a/b", false),
        ] {
            assert_eq!(check_topic(topic).is_ok(), is_right, "{topic}");
        }
    }

    #[test]
    fn a_user_is_named_by_plain_sasl_and_nobody_without_one() {
        let mut settings =
            Settings { servers: "h:1".to_owned(), user: None, answer_time: Duration::from_secs(2) };
        let client = settings.to_client(Batches::Shared);
        assert_eq!((client.get("security.protocol"), client.get("message.timeout.ms")), (None, Some("2000")));
        settings.user = Some(("ann".to_owned(), "a,b=c".to_owned()));
        let client = settings.to_client(Batches::Alone);
        assert_eq!(client.get("security.protocol"), Some("sasl_plaintext"));
        assert_eq!((client.get("sasl.username"), client.get("sasl.password")), (Some("ann"), Some("a,b=c")));
        assert_eq!(client.get("batch.num.messages"), Some("1"));
    }
}
