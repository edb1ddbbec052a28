//! Connects, finds or makes the stream of a store, and refuses servers that do not keep the promises.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::{Client, ConnectOptions, Event, ServerInfo};
use gesta_core::StoreId;
use tokio::sync::mpsc;

use super::monitor;
use crate::address::JetStreamUrl;
use crate::error::OpenError;
use crate::limits::{ANSWER_TIME, MAX_PAYLOAD_MIN, SERVER_VERSION_MIN};
use crate::machine::Input;

/// The version of the layout of streams and messages.
const FORMAT: &str = "1";
/// How long a server may take to answer at the start: a stream that was just made has no leader yet.
const SET_UP_TIME: Duration = Duration::from_secs(15);
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long the server itself looks for repeats. Nothing relies on it, and each id costs memory.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What was found.
pub(crate) struct Found {
    pub(crate) id: StoreId,
    /// The number of the last message.
    pub(crate) last: u64,
}

/// Connects to a cluster. A lost connection is told.
pub(crate) async fn connect(url: &JetStreamUrl, inputs: mpsc::Sender<Input>) -> Result<Client, OpenError> {
    let options = ConnectOptions::new().name("gesta").connection_timeout(ANSWER_TIME);
    let options = options.event_callback(move |event| {
        let inputs = inputs.clone();
        async move {
            if matches!(event, Event::Disconnected | Event::Closed) {
                // The store may be closed.
                let _ = inputs.send(Input::ConnectionLost).await;
            }
        }
    });
    let connected = options.connect(url.servers()).await;
    let client = connected.map_err(|error| OpenError::Unreachable { reason: error.to_string() })?;
    check_server(&client.server_info())?;
    monitor::check_sync(url.monitors()).await?;
    Ok(client)
}

fn check_server(server: &ServerInfo) -> Result<(), OpenError> {
    let refused = |reason| Err(OpenError::Refused { reason });
    if version_of(&server.version) < SERVER_VERSION_MIN {
        let [major, minor, patch] = SERVER_VERSION_MIN;
        return refused(format!(
            "the server `{}` is NATS {}: {major}.{minor}.{patch} or newer is needed",
            server.server_name, server.version
        ));
    }
    if server.max_payload < MAX_PAYLOAD_MIN {
        return refused(format!(
            "the server `{}` takes messages of {} bytes: set `max_payload: 8MB` in its configuration",
            server.server_name, server.max_payload
        ));
    }
    Ok(())
}

/// The numbers of a version. A part that is no number counts as 0.
fn version_of(text: &str) -> [u64; 3] {
    let mut parts = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// Finds the stream of a partition, or makes it with the id of a new store.
pub(crate) async fn set_up(
    client: Client,
    url: &JetStreamUrl,
    partition: u16,
    new_id: StoreId,
    takes_single_server: bool,
) -> Result<(Context, Found), OpenError> {
    let context = ContextBuilder::new().timeout(ANSWER_TIME).build(client);
    let wanted = config(url, partition, new_id, if takes_single_server { 1 } else { 3 });
    let begun = std::time::Instant::now();
    loop {
        let found = match find(&context, &wanted).await {
            Ok(found) => found,
            Err(error) if begun.elapsed() < SET_UP_TIME => {
                tracing::debug!("the stream {} is not there yet: {error}", wanted.name);
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            Err(error) => return Err(OpenError::Unreachable { reason: error.to_string() }),
        };
        let (config, last) = found;
        return Ok((context, Found { id: check_stream(&config, &wanted)?, last }));
    }
}

/// Returns the configuration of the stream and its last message. The stream is made if it is not there.
async fn find(context: &Context, wanted: &Config) -> Result<(Config, u64), async_nats::Error> {
    // If it is there with another store id, this fails, and nothing is changed.
    let made = context.create_stream(wanted.clone()).await;
    if let Err(error) = made {
        tracing::debug!("the stream {} was not made: {error}", wanted.name);
    }
    let stream = context.get_stream(&wanted.name).await?;
    let info = stream.cached_info();
    Ok((info.config.clone(), info.state.last_sequence))
}

fn config(url: &JetStreamUrl, partition: u16, id: StoreId, num_replicas: usize) -> Config {
    let metadata = [("gesta_store", id.to_string()), ("gesta_format", FORMAT.to_owned())];
    Config {
        name: url.stream(partition),
        subjects: vec![url.subject(partition)],
        num_replicas,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        deny_delete: true,
        deny_purge: true,
        duplicate_window: DUPLICATE_WINDOW,
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into(),
        ..Config::default()
    }
}

/// Checks that a stream is one of ours, and as safe as the one that would have been made. Returns the id of its store.
fn check_stream(found: &Config, wanted: &Config) -> Result<StoreId, OpenError> {
    let refused = |reason| OpenError::Refused { reason };
    let name = &found.name;
    let text = |metadata: &HashMap<String, String>, key| metadata.get(key).cloned();
    let id = text(&found.metadata, "gesta_store").and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| {
        refused(format!("the stream `{name}` is no store of Gesta: give the store another name"))
    })?;
    if text(&found.metadata, "gesta_format").as_deref() != Some(FORMAT) {
        return Err(refused(format!("the stream `{name}` is of a newer format: use a newer program")));
    }
    if found.num_replicas < wanted.num_replicas {
        return Err(refused(format!(
            "the stream `{name}` is kept by {} server: acknowledged events would be lost with its disk. It needs three",
            found.num_replicas
        )));
    }
    let is_kept = found.deny_delete && found.deny_purge && found.max_age.is_zero();
    let is_whole = found.max_messages <= 0 && found.discard == DiscardPolicy::New;
    if !is_kept || !is_whole || found.storage != StorageType::File || found.subjects != wanted.subjects {
        return Err(refused(format!(
            "the stream `{name}` may lose messages: its configuration was changed (`deny_delete`, `deny_purge`, `discard: new`, no limits of age and number, in files)"
        )));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(version_of("2.15.1") >= SERVER_VERSION_MIN);
        assert!(version_of("2.16.0-RC.1") >= SERVER_VERSION_MIN);
        assert!(version_of("2.9.25") < SERVER_VERSION_MIN);
        assert!(version_of("") < SERVER_VERSION_MIN);
    }

    #[test]
    fn a_server_that_is_old_or_takes_small_messages_is_refused() {
        let server = |version: &str, max_payload| {
            let version = version.to_owned();
            check_server(&ServerInfo { version, max_payload, ..ServerInfo::default() })
        };
        assert!(server("2.15.1", 8 << 20).is_ok());
        assert!(server("2.14.9", 8 << 20).unwrap_err().to_string().contains("2.15.1 or newer"));
        assert!(server("2.15.1", 1 << 20).unwrap_err().to_string().contains("max_payload"));
    }

    #[test]
    fn a_stream_that_may_lose_messages_is_refused() {
        let url = "nats://localhost/shop".parse().unwrap();
        let id = StoreId::from_bytes([7; 16]);
        let wanted = config(&url, 0, id, 3);
        assert_eq!(check_stream(&wanted, &wanted).unwrap(), id);
        let refused = |change: fn(&mut Config)| {
            let mut found = wanted.clone();
            change(&mut found);
            check_stream(&found, &wanted).unwrap_err().to_string()
        };
        assert!(refused(|config| config.num_replicas = 1).contains("needs three"));
        assert!(refused(|config| config.metadata.clear()).contains("no store of Gesta"));
        assert!(
            refused(|config| _ = config.metadata.insert("gesta_format".into(), "2".into())).contains("newer")
        );
        for change in [
            |config: &mut Config| config.deny_purge = false,
            |config: &mut Config| config.max_age = Duration::from_secs(1),
            |config: &mut Config| config.discard = DiscardPolicy::Old,
        ] {
            assert!(refused(change).contains("may lose messages"));
        }
    }
}
