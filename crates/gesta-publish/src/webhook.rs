//! Webhooks: each event is a signed `POST` of structured JSON.
//!
//! The signature is that of Standard Webhooks 1.0, and `Idempotency-Key` has the message id too. Redirects are not followed.

mod answer;
mod client;
mod sign;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gesta_core::BoxFuture;
use gesta_wire::cloudevents::MEDIA_TYPE;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use tokio::time::timeout;

use crate::authorities::of_certificate;
use crate::broker::{Broker, Connection};
use crate::fault::Fault;
use crate::message::Message;
use crate::subject::Template;
use answer::classify;
use client::{Client, NoAnswer};
use sign::Key;
pub(crate) use sign::keys_of;

/// A URL that events are sent to.
#[derive(Clone)]
pub(crate) struct Webhook {
    client: Client,
    /// The URL up to the subject.
    to: String,
    keys: Arc<[Key]>,
    answer_time: Duration,
}

impl Webhook {
    /// Takes a URL, and what checks it if it has TLS. The subject, if there is one, is added to its path. The error says what is wrong and
    /// what helps.
    pub(crate) fn new(
        to: &str,
        subject: Option<&Template>,
        keys: Vec<Key>,
        tls: gesta_tls::Client,
        answer_time: Duration,
    ) -> Result<Self, String> {
        let uri = url_of(to, &subject.map(Template::sample).unwrap_or_default())
            .map_err(|error| format!("is no URL: {error}"))?;
        if subject.is_some() && uri.query().is_some() {
            return Err(
                "has a part from `?` on, and the subject is added to its path: leave out one of them".into(),
            );
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("names no host")?;
        client::check_host(host).map_err(|error| error.to_string())?;
        Ok(Self { client: Client::new(tls), to: to.to_owned(), keys: keys.into(), answer_time })
    }

    fn request(&self, message: &Message<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let id = message.id.to_string();
        let body = message.event.to_json();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let signature = sign::sign(&self.keys, &id, since.as_secs(), &body);
        Request::builder()
            .method(Method::POST)
            .uri(url_of(&self.to, &message.subject)?)
            .header(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))
            .header(USER_AGENT, HeaderValue::from_static(concat!("gesta/", env!("CARGO_PKG_VERSION"))))
            .header("idempotency-key", &id)
            .header("webhook-id", &id)
            .header("webhook-timestamp", since.as_secs())
            .header("webhook-signature", signature)
            .body(Full::from(body))
    }

    async fn post(&self, message: &Message<'_>) -> Result<(), Fault> {
        let request = self
            .request(message)
            .map_err(|error| Fault::Unfit { reason: format!("the request cannot be made: {error}") })?;
        let answered = timeout(self.answer_time, self.client.send(request)).await;
        let away = |reason| Fault::Away { after: None, reason };
        match answered {
            Ok(Ok(answer)) => classify(&answer, SystemTime::now()),
            Ok(Err(NoAnswer::Away(reason))) => Err(away(reason)),
            Ok(Err(NoAnswer::Certificate(reason))) => Err(of_certificate("the target", &reason)),
            Err(_) => Err(away(format!("no answer within {:?}", self.answer_time))),
        }
    }
}

/// The URL of a message: the subject follows the path after a slash.
fn url_of(to: &str, subject: &str) -> Result<Uri, hyper::http::uri::InvalidUri> {
    match subject {
        "" => to.parse(),
        subject => format!("{}/{}", to.trim_end_matches('/'), subject.trim_start_matches('/')).parse(),
    }
}

impl Broker for Webhook {
    /// Each message makes or finds a connection of its own.
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, Fault>> {
        Box::pin(async { Ok(Arc::new(self.clone()) as Arc<dyn Connection>) })
    }
}

impl Connection for Webhook {
    fn publish<'a>(&'a self, message: &'a Message<'a>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.post(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(to: &str, subject: Option<&str>) -> Result<Webhook, String> {
        let subject = subject.map(|subject| Template::parse(subject).unwrap());
        let tls = gesta_tls::Client::new(None, "`ca_file`").unwrap();
        Webhook::new(to, subject.as_ref(), Vec::new(), tls, Duration::from_secs(1))
    }

    #[test]
    fn the_subject_follows_the_path() {
        for (to, subject, url) in [
            ("http://h/hook?a=b", "", "http://h/hook?a=b"),
            ("http://h:81", "order/placed", "http://h:81/order/placed"),
            ("https://h/hooks/", "/x", "https://h/hooks/x"),
        ] {
            assert_eq!(url_of(to, subject).unwrap().to_string(), url);
        }
    }

    #[test]
    fn an_address_that_cannot_be_used_is_named() {
        assert!(webhook("http://h/hook?a=b", None).is_ok());
        for (to, subject, message) in [
            ("http://h/hook?a=b", Some("{type}"), "leave out one of them"),
            ("http://", None, "is no URL"),
            ("http://h/a b", None, "is no URL"),
            ("http://h/", Some("a b"), "is no URL"),
            ("http://169.254.169.254/latest", None, "link-local"),
            ("http://[fe80::1]/", None, "link-local"),
            ("http://[::ffff:169.254.1.1]/", None, "link-local"),
        ] {
            let error = webhook(to, subject).err().unwrap_or_default();
            assert!(error.contains(message), "{to}: {error}");
        }
    }
}
