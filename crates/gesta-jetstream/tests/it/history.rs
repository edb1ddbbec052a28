//! Clusters that lose the end of a stream, as after disks that were emptied.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap, Request, RequestErrorKind};
use bytes::Bytes;
use gesta_jetstream::JetStreamUrl;
use tokio::runtime::{Builder, Runtime};

/// The messages that the streams of a store had at one moment.
pub(crate) struct Kept {
    servers: String,
    streams: Vec<KeptStream>,
}

struct KeptStream {
    config: Config,
    messages: Vec<(HeaderMap, Bytes)>,
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) async fn connect(servers: &str) -> (Client, Context) {
    let client = async_nats::connect(servers.split(',').collect::<Vec<_>>()).await.unwrap();
    (client.clone(), jetstream::new(client))
}

impl Kept {
    /// Keeps what the streams of a store have.
    pub(crate) fn of(servers: &str, url: &JetStreamUrl) -> Self {
        runtime().block_on(async {
            let (_, context) = connect(servers).await;
            let mut streams = Vec::new();
            for partition in 0..url.partitions().unwrap_or(1) {
                let stream = context.get_stream(format!("ES_{}_{partition}", url.name())).await.unwrap();
                let info = stream.cached_info();
                let (config, last) = (info.config.clone(), info.state.last_sequence);
                let mut messages = Vec::new();
                for number in 1..=last {
                    messages.push(message(&stream, number).await);
                }
                streams.push(KeptStream { config, messages });
            }
            Self { servers: servers.to_owned(), streams }
        })
    }

    /// Has the server look for repeats for as short a time as it can.
    pub(crate) fn shorten_window(&self) {
        runtime().block_on(async {
            let (_, context) = connect(&self.servers).await;
            let duplicate_window = Duration::from_millis(100);
            for KeptStream { config, .. } in &self.streams {
                context.update_stream(Config { duplicate_window, ..config.clone() }).await.unwrap();
            }
        });
    }

    /// Loses all messages since then.
    pub(crate) fn put_back(&self) {
        runtime().block_on(async {
            let (client, context) = connect(&self.servers).await;
            for KeptStream { config, messages } in &self.streams {
                context.delete_stream(&config.name).await.unwrap();
                context.create_stream(config.clone()).await.unwrap();
                for (headers, payload) in messages {
                    let answer = loop {
                        let request = Request::new().headers(headers.clone()).payload(payload.clone());
                        match client.send_request(config.subjects[0].clone(), request).await {
                            // The stream was just made, and has no leader yet.
                            Err(error) if error.kind() == RequestErrorKind::NoResponders => {}
                            answer => break answer.unwrap(),
                        }
                    };
                    let answer = String::from_utf8_lossy(&answer.payload).into_owned();
                    assert!(answer.contains("\"seq\""), "{answer}");
                }
            }
        });
    }
}

async fn message(stream: &Stream, number: u64) -> (HeaderMap, Bytes) {
    let message = stream.get_raw_message(number).await.unwrap();
    (message.headers, message.payload)
}
