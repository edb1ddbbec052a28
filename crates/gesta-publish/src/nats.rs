//! NATS JetStream: each event is a message in binary mode, and the stream's acknowledgement confirms it.
//!
//! `Nats-Msg-Id` is the message id, so JetStream itself drops repeats within the duplicate window of the stream.

mod connection;
mod fate;
mod headers;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{ContextBuilder, GetStreamErrorKind};
use async_nats::{ConnectOptions, ServerAddr};
use gesta_core::BoxFuture;
use gesta_tls::Client;
use tokio::sync::watch;

use crate::authorities::{client_of, of_certificate};
use crate::broker::{Broker, Connection};
use crate::fault::Fault;
use crate::limits::CONNECT_TIME;
use crate::secret::Secret;
use crate::subject::Template;
use connection::{Jetstream, Notice, notice_of};
use fate::{of_connect, of_lookup};

/// The shortest duplicate window of a stream. What was sent before a broken connection is sent again within it.
const DUPLICATE_WINDOW_MIN: Duration = Duration::from_secs(120);

/// A stream of JetStream that events are sent to.
pub(crate) struct Nats {
    address: String,
    stream: String,
    secret: Option<Secret>,
    /// For a server with TLS.
    tls: Option<Client>,
    answer_time: Duration,
}

impl Nats {
    /// Takes the address of a server and the name of a stream there. The secret is a token, `user:password`, or the text of a credentials
    /// file. `ca` is the file with the authorities of `tls`. The error is the key that is wrong, and what is wrong with it.
    pub(crate) fn new(
        to: &str,
        stream: String,
        secret: Option<Secret>,
        ca: Option<&Path>,
        answer_time: Duration,
    ) -> Result<Self, (&'static str, String)> {
        let address = to.parse::<ServerAddr>();
        let address = address.map_err(|error| ("to", format!("is no address of a NATS server: {error}")))?;
        let tls = address.tls_required().then(|| client_of(ca)).transpose()?;
        let nats = Self { address: to.to_owned(), stream, secret, tls, answer_time };
        nats.options()
            .map_err(|error| ("secret_env", format!("names credentials that cannot be read: {error}")))?;
        Ok(nats)
    }

    fn options(&self) -> io::Result<ConnectOptions> {
        let options = ConnectOptions::new()
            .name("gesta")
            .connection_timeout(CONNECT_TIME)
            .request_timeout(Some(CONNECT_TIME));
        let options = match &self.tls {
            Some(client) => options.tls_client_config((**client.config()).clone()),
            None => options,
        };
        match self.secret.as_ref().map(Secret::reveal) {
            None => Ok(options),
            Some(secret) if secret.starts_with("-----BEGIN") => options.credentials(secret),
            Some(secret) => Ok(match secret.split_once(':') {
                Some((user, password)) => options.user_and_password(user.to_owned(), password.to_owned()),
                None => options.token(secret.to_owned()),
            }),
        }
    }

    async fn open(&self) -> Result<Arc<dyn Connection>, Fault> {
        let (tell, notices) = watch::channel(Notice::Well);
        let options = self.options().map_err(|error| Fault::Misdirected { reason: error.to_string() })?;
        let options = options.event_callback(move |event| {
            if let Some(notice) = notice_of(&event) {
                tell.send_replace(notice);
            }
            async {}
        });
        let client = options.connect(self.address.as_str()).await.map_err(|error| {
            let refused = self.tls.as_ref().and_then(|client| client.explain(&error));
            refused.map_or_else(|| of_connect(&error), |reason| of_certificate("NATS", &reason))
        })?;
        let looked_up = jetstream::new(client.clone()).get_stream(&self.stream).await;
        let stream = looked_up.map_err(|error| {
            let code = match error.kind() {
                GetStreamErrorKind::JetStream(error) => Some(error.error_code().0),
                _ => None,
            };
            of_lookup(&self.stream, code, &error.to_string())
        })?;
        let config = &stream.cached_info().config;
        if config.duplicate_window < DUPLICATE_WINDOW_MIN {
            return Err(Fault::Misdirected {
                reason: format!(
                    "the stream `{}` drops repeats within {:?} only: set its duplicate window to {DUPLICATE_WINDOW_MIN:?} or longer, then resume the group",
                    self.stream, config.duplicate_window
                ),
            });
        }
        let subjects = config.subjects.clone();
        let context =
            ContextBuilder::new().timeout(self.answer_time).ack_timeout(self.answer_time).build(client);
        Ok(Arc::new(Jetstream { context, stream: self.stream.clone(), subjects, notices }))
    }
}

impl Broker for Nats {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, Fault>> {
        Box::pin(self.open())
    }
}

/// Checks that a template makes subjects that NATS takes. The error says what is wrong and what helps.
pub(crate) fn check_subject(template: &Template) -> Result<(), String> {
    let sample = template.sample();
    if sample.starts_with('$') {
        return Err(
            "begins with `$`, which is for the server's own subjects: begin it with another word".into()
        );
    }
    let is_token = |token: &str| {
        !token.is_empty()
            && !token.contains(|c: char| c.is_whitespace() || c.is_control() || "*>".contains(c))
    };
    match sample.split('.').all(is_token) {
        true => Ok(()),
        false => Err("is no subject of NATS: write words without `*`, `>` and white space, with single dots between them".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_words_between_single_dots() {
        for (template, is_right) in [
            ("shop.{category}.{type}", true),
            ("shop", true),
            ("{stream}", true),
            ("shop.größe-1_{type}x", true),
            ("", false),
            (".a", false),
            ("a.", false),
            ("a..b", false),
            ("a.*", false),
            ("a.>", false),
            ("a b", false),
            ("$JS.x", false),
        ] {
            assert_eq!(check_subject(&Template::parse(template).unwrap()).is_ok(), is_right, "{template}");
        }
    }
}
