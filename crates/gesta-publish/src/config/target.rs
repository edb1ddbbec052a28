//! The target of a publisher: which broker an address means, and what its adapter needs.

use std::path::Path;

use crate::broker::Broker;
use crate::secret::Secret;
use crate::subject::Template;

use super::{KeyError, PublisherToml, at};

/// The kinds of targets, by the scheme of their address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Webhook,
    Nats,
    Rabbitmq,
    Kafka,
}

const SCHEMES: [(&str, Kind); 7] = [
    ("http", Kind::Webhook),
    ("https", Kind::Webhook),
    ("nats", Kind::Nats),
    ("tls", Kind::Nats),
    ("amqp", Kind::Rabbitmq),
    ("amqps", Kind::Rabbitmq),
    ("kafka", Kind::Kafka),
];

/// The schemes of targets with TLS.
const ENCRYPTED: [&str; 3] = ["https", "tls", "amqps"];

/// What a publisher's table says of its target, with files and variables read.
#[cfg_attr(
    not(any(feature = "kafka", feature = "nats", feature = "rabbitmq", feature = "webhook")),
    expect(dead_code, reason = "no adapter takes it")
)]
pub(super) struct Target<'a> {
    pub(super) toml: &'a PublisherToml<'a>,
    pub(super) subject: Option<&'a Template>,
    pub(super) secret: Option<Secret>,
    /// The file with the authorities that are trusted.
    pub(super) ca: Option<&'a Path>,
}

impl Target<'_> {
    /// The adapter of the target.
    pub(super) fn broker(self) -> Result<Box<dyn Broker>, KeyError> {
        let to = self.toml.to.as_deref().ok_or_else(|| {
            at("to")("is missing: give the address of the target, such as `nats://127.0.0.1:4222`")
        })?;
        let kind = kind_of(to)?;
        self.check_keys(kind)?;
        if self.ca.is_some() && !ENCRYPTED.iter().any(|scheme| to.starts_with(&format!("{scheme}://"))) {
            return Err(at("ca_file")(
                "is for targets with TLS: write `https://`, `tls://` or `amqps://`, or remove it",
            ));
        }
        match kind {
            #[cfg(feature = "webhook")]
            Kind::Webhook => self.webhook(to),
            #[cfg(feature = "nats")]
            Kind::Nats => self.nats(to),
            #[cfg(feature = "rabbitmq")]
            Kind::Rabbitmq => self.rabbitmq(to),
            #[cfg(feature = "kafka")]
            Kind::Kafka => self.kafka(to),
            #[cfg(not(all(feature = "kafka", feature = "nats", feature = "rabbitmq", feature = "webhook")))]
            left_out => Err(left_out.not_built()),
        }
    }

    /// Refuses keys that mean nothing for the target.
    fn check_keys(&self, kind: Kind) -> Result<(), KeyError> {
        let PublisherToml { stream, exchange, topic, subject, .. } = self.toml;
        let keys = [
            ("stream", stream, Kind::Nats, "NATS"),
            ("exchange", exchange, Kind::Rabbitmq, "RabbitMQ"),
            ("topic", topic, Kind::Kafka, "Kafka"),
        ];
        if let Some((key, .., name)) =
            keys.into_iter().find(|(_, given, of, _)| given.is_some() && *of != kind)
        {
            return Err(at(key)(format!("is for {name} alone: remove it")));
        }
        match (kind, subject) {
            (Kind::Kafka, Some(_)) => {
                Err(at("subject")("is not for Kafka, where the stream is the key: name the topic in `topic`"))
            }
            _ => Ok(()),
        }
    }

    #[cfg(feature = "webhook")]
    fn webhook(self, to: &str) -> Result<Box<dyn Broker>, KeyError> {
        use crate::webhook::{Webhook, keys_of};
        let secret = self.secret.ok_or_else(|| {
            at("secret_env")("is missing: name a variable with the secret that signs, `whsec_` and base64")
        })?;
        let keys = keys_of(&secret).map_err(at("secret_env"))?;
        let tls = crate::authorities::client_of(self.ca).map_err(|(key, reason)| KeyError { key, reason })?;
        let webhook = Webhook::new(to, self.subject, keys, tls, self.toml.answer_time()?);
        Ok(Box::new(webhook.map_err(at("to"))?))
    }

    #[cfg(feature = "nats")]
    fn nats(self, to: &str) -> Result<Box<dyn Broker>, KeyError> {
        use crate::nats::{Nats, check_subject};
        check_subject(required_subject(self.subject)?).map_err(at("subject"))?;
        let stream = self.toml.stream.clone();
        let stream = stream
            .ok_or_else(|| at("stream")("is missing: name the stream of JetStream that takes the subject"))?;
        let nats = Nats::new(to, stream, self.secret, self.ca, self.toml.answer_time()?);
        Ok(Box::new(nats.map_err(|(key, reason)| KeyError { key, reason })?))
    }

    #[cfg(feature = "rabbitmq")]
    fn rabbitmq(self, to: &str) -> Result<Box<dyn Broker>, KeyError> {
        use crate::rabbitmq::Rabbitmq;
        required_subject(self.subject)?;
        let exchange = self.toml.exchange.as_deref();
        let exchange = exchange
            .ok_or_else(|| at("exchange")("is missing: name the topic exchange that takes the events"))?;
        let rabbitmq = Rabbitmq::new(to, exchange, self.secret.as_ref(), self.ca, self.toml.answer_time()?);
        Ok(Box::new(rabbitmq.map_err(|(key, reason)| KeyError { key, reason })?))
    }

    #[cfg(feature = "kafka")]
    fn kafka(self, to: &str) -> Result<Box<dyn Broker>, KeyError> {
        use crate::kafka::{Kafka, check_topic};
        let topic = self.toml.topic.as_deref();
        let topic = topic.ok_or_else(|| at("topic")("is missing: name the topic that takes the events"))?;
        check_topic(topic).map_err(at("topic"))?;
        let kafka = Kafka::new(to, topic, self.secret.as_ref(), self.toml.answer_time()?);
        Ok(Box::new(kafka.map_err(|(key, reason)| KeyError { key, reason })?))
    }
}

/// The subject of a target that needs one.
#[cfg(any(feature = "nats", feature = "rabbitmq"))]
fn required_subject(subject: Option<&Template>) -> Result<&Template, KeyError> {
    subject.ok_or_else(|| at("subject")("is missing: give one such as `shop.{category}.{type}`"))
}

/// The kind of a target. Refuses credentials in its address.
fn kind_of(to: &str) -> Result<Kind, KeyError> {
    let known = || SCHEMES.map(|(scheme, _)| format!("`{scheme}://`")).join(", ");
    let (scheme, rest) = to
        .split_once("://")
        .ok_or_else(|| at("to")(format!("has no scheme: begin it with one of {}", known())))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(at("to")(
            "holds a user or a password: leave out the part before `@`, put it into an environment variable, and name that in `secret_env`",
        ));
    }
    if scheme == "kafkas" {
        return Err(at("to")(
            "asks for Kafka with TLS, which no build of Gesta has: write `kafka://` and a listener without TLS in a network that you trust, such as that of a proxy which encrypts",
        ));
    }
    let kind = SCHEMES.iter().find(|(known, _)| *known == scheme).map(|(_, kind)| *kind);
    kind.ok_or_else(|| at("to")(format!("begins with `{scheme}://`: begin it with one of {}", known())))
}

#[cfg(not(all(feature = "kafka", feature = "nats", feature = "rabbitmq", feature = "webhook")))]
impl Kind {
    /// The error for a target whose adapter was left out.
    fn not_built(self) -> KeyError {
        let feature = match self {
            Self::Webhook => "webhook",
            Self::Nats => "nats",
            Self::Rabbitmq => "rabbitmq",
            Self::Kafka => "kafka",
        };
        at("to")(format!("needs a program that was built with the feature `publish-{feature}`"))
    }
}
