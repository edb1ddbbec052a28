//! Connects, finds or makes the stream of a store, and refuses servers that do not keep the promises.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::context::{
    ContextBuilder, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
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
/// The metadata of a stream that is an unfinished copy.
pub(crate) const COPYING: &str = "gesta_copying";
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
    /// True for a copy that is not finished.
    pub(crate) is_unfinished: bool,
}

/// Connects to a cluster whose servers keep the promises. A lost connection is told.
pub(crate) async fn connect(url: &JetStreamUrl, inputs: mpsc::Sender<Input>) -> Result<Client, OpenError> {
    let client = join(url, inputs).await?;
    check_server(&client.server_info())?;
    monitor::check_sync(url.monitors()).await?;
    Ok(client)
}

/// Connects to a cluster without a look at its servers. A lost connection is told.
pub(crate) async fn join(url: &JetStreamUrl, inputs: mpsc::Sender<Input>) -> Result<Client, OpenError> {
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
    connected.map_err(|error| OpenError::Unreachable { reason: why(&error) })
}

/// Checks the version of a server, and what it takes.
pub(crate) fn check_server(server: &ServerInfo) -> Result<(), OpenError> {
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

/// What a stream is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To use the store, which is made if it is not there.
    Store,
    /// To use a store that must be there.
    Existing,
    /// To fill a copy of the store with that id.
    Copy(StoreId),
}

/// Finds the stream of a partition, or makes it.
pub(crate) async fn set_up(
    client: Client,
    url: &JetStreamUrl,
    partition: u16,
    purpose: Purpose,
    takes_single_server: bool,
) -> Result<(Context, Found), OpenError> {
    let context = ContextBuilder::new().timeout(ANSWER_TIME).build(client);
    let id = match purpose {
        Purpose::Copy(id) => id,
        Purpose::Store | Purpose::Existing => StoreId::from_bytes(*uuid::Uuid::new_v4().as_bytes()),
    };
    let mut wanted = config(url, partition, id, if takes_single_server { 1 } else { 3 });
    if let Purpose::Copy(_) = purpose {
        wanted.metadata.insert(COPYING.to_owned(), "true".to_owned());
    }
    let (config, last) = find_or_make(&context, &wanted, purpose != Purpose::Existing).await?;
    let found = check_stream(&config, &wanted)?;
    let is_unfinished = config.metadata.contains_key(COPYING);
    match purpose {
        Purpose::Copy(of) if of != found => Err(refused(format!(
            "the stream `{}` holds the store {found}, and a copy of the store {of} would get its id: give the copy another name",
            wanted.name
        ))),
        Purpose::Store | Purpose::Existing if is_unfinished => Err(refused(format!(
            "the stream `{}` is an unfinished copy of another store: run `gesta copy` again, it goes on",
            wanted.name
        ))),
        _ => Ok((context, Found { id: found, last, is_unfinished })),
    }
}

/// Returns the configuration of a stream and its last message. Makes the stream if it is not there, unless `makes` is false.
pub(crate) async fn find_or_make(
    context: &Context,
    wanted: &Config,
    makes: bool,
) -> Result<(Config, u64), OpenError> {
    let begun = std::time::Instant::now();
    loop {
        // If it is there with another store id, this fails, and nothing is changed.
        let made = if makes { context.create_stream(wanted.clone()).await.err() } else { None };
        let error = match context.get_stream(&wanted.name).await {
            Ok(stream) => {
                let info = stream.cached_info();
                return Ok((info.config.clone(), info.state.last_sequence));
            }
            Err(error) => error,
        };
        let code = made.as_ref().and_then(|error| match error.kind() {
            CreateStreamErrorKind::JetStream(error) => Some(error.error_code()),
            _ => None,
        });
        if let Some(remedy) = code.and_then(remedy_of) {
            return Err(refused(remedy.to_owned()));
        }
        if !makes && is_missing(&error) {
            return Err(refused(format!(
                "there is no stream `{}`: check the name of the store",
                wanted.name
            )));
        }
        if begun.elapsed() > SET_UP_TIME {
            let reason = made.map_or_else(|| why(&error), |error| why(&error));
            return Err(OpenError::Unreachable { reason });
        }
        tracing::debug!("the stream {} is not there yet: {error}", wanted.name);
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn refused(reason: String) -> OpenError {
    OpenError::Refused { reason }
}

/// What helps if a stream was refused for good.
const fn remedy_of(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => Some(
            "the server stands alone, and its disk would be the only one: a store needs a cluster of three",
        ),
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => Some(
            "the servers run without JetStream: add `jetstream { store_dir: …, sync_interval: always }` to their configuration",
        ),
        _ => None,
    }
}

fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// An error with its causes.
pub(crate) fn why(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| match text.contains(&cause.to_string()) {
        true => text,
        false => format!("{text}: {cause}"),
    })
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
