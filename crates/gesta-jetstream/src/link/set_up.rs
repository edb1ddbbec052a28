//! Finds or makes the streams of a store, one for each partition.
//!
//! The stream of partition 0 says how many there are, and which store they belong to. It is made first, and marked as begun until the others
//! are there: an open that finds the mark goes on. Without the mark, a stream that is missing was lost, so it is not made again.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::context::{
    ContextBuilder, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use futures_util::{StreamExt, TryStreamExt};
use gesta_core::StoreId;

use super::connect::why;
use crate::address::JetStreamUrl;
use crate::error::OpenError;
use crate::limits::{ANSWER_TIME, PARTITIONS_MAX, STREAMS_AT_ONCE};

/// The layout of a store with one partition. Programs that know no other one refuse the rest.
const FORMAT_OF_ONE: &str = "1";
/// The layout of a store with several partitions.
const FORMAT_OF_SEVERAL: &str = "2";

// Metadata of streams.
/// The id of the store that a stream or a bucket belongs to.
pub(crate) const STORE: &str = "gesta_store";
const FORMAT: &str = "gesta_format";
/// The number of partitions, if there are several.
const PARTITIONS: &str = "gesta_partitions";
/// On the first stream, until the others are there.
const BEGUN: &str = "gesta_begun";
/// On the first stream, while it is an unfinished copy.
pub(crate) const COPYING: &str = "gesta_copying";

/// How long a server may take to answer at the start: a stream that was just made has no leader yet.
const SET_UP_TIME: Duration = Duration::from_secs(15);
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long the server itself looks for repeats. No event relies on it, a bucket repeats a publish for seconds only, and each id costs memory.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The purpose of an open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To use the store, which is made if it is not there.
    Store,
    /// The same with the copy that is there: a cluster without the store has lost it, and the copy may be all that is left.
    Kept,
    /// To use a store that must be there.
    Existing,
    /// To fill a copy of the store with that id and number of partitions.
    Copy(StoreId, u16),
}

/// The store that streams belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    id: StoreId,
    partitions: u16,
}

/// What was found.
pub(crate) struct Found {
    pub(crate) context: Context,
    pub(crate) id: StoreId,
    /// The number of the last message of each partition.
    pub(crate) last: Vec<u64>,
    /// True for a copy that is not finished.
    pub(crate) is_unfinished: bool,
}

/// The treatment of a stream that is not there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum IfMissing {
    /// Make it.
    Make,
    /// Refuse, with this advice.
    Refuse(&'static str),
}

/// Finds the streams of a store, or makes them.
pub(crate) async fn set_up(
    client: Client,
    url: &JetStreamUrl,
    purpose: Purpose,
    takes_single_server: bool,
) -> Result<Found, OpenError> {
    let context = ContextBuilder::new().timeout(ANSWER_TIME).build(client);
    let servers = if takes_single_server { 1 } else { 3 };
    let asked = asked_for(url, purpose)?;
    let (config, last) = first_stream(&context, url, (purpose, asked), servers).await?;
    let store = check_first(&config, url, (purpose, asked), servers)?;
    let is_begun = is_begun(&config);
    let missing = match is_begun {
        true => IfMissing::Make,
        false => {
            IfMissing::Refuse("the events of a partition were in it, and the store is not used without them")
        }
    };
    let others = futures_util::stream::iter(1..store.partitions);
    let others =
        others.map(|partition| other_stream(&context, config_of(url, partition, store, servers), missing));
    let mut lasts = vec![last];
    lasts.extend(others.buffered(STREAMS_AT_ONCE).try_collect::<Vec<_>>().await?);
    if is_begun {
        end_beginning(&context, &config.name).await?;
    }
    let is_unfinished = config.metadata.contains_key(COPYING);
    Ok(Found { context, id: store.id, last: lasts, is_unfinished })
}

/// The number of partitions that is asked for.
fn asked_for(url: &JetStreamUrl, purpose: Purpose) -> Result<Option<u16>, OpenError> {
    match (purpose, url.partitions()) {
        (Purpose::Copy(_, of), Some(asked)) if asked != of => Err(refused(format!(
            "the address asks for {asked} `partitions`, and the source has {of}: a copy has as many, so leave them out"
        ))),
        (Purpose::Copy(_, of), _) => Ok(Some(of)),
        (Purpose::Store | Purpose::Kept | Purpose::Existing, asked) => Ok(asked),
    }
}

/// Finds the stream of partition 0, or makes it for the partitions that are asked for.
async fn first_stream(
    context: &Context,
    url: &JetStreamUrl,
    (purpose, asked): (Purpose, Option<u16>),
    servers: usize,
) -> Result<(Config, u64), OpenError> {
    let partitions = asked.unwrap_or(1);
    let id = match purpose {
        Purpose::Copy(id, _) => id,
        Purpose::Store | Purpose::Kept | Purpose::Existing => {
            StoreId::from_bytes(*uuid::Uuid::new_v4().as_bytes())
        }
    };
    let mut wanted = config_of(url, 0, Identity { id, partitions }, servers);
    if partitions > 1 {
        wanted.metadata.insert(BEGUN.to_owned(), "true".to_owned());
    }
    if let Purpose::Copy(..) = purpose {
        wanted.metadata.insert(COPYING.to_owned(), "true".to_owned());
    }
    let missing = match purpose {
        Purpose::Existing => IfMissing::Refuse("check the name of the store"),
        Purpose::Kept => IfMissing::Refuse(
            "the folder of the copy holds a store, which may be all that is left of it: keep that folder, and check the address; `gesta copy` makes a store of a folder `p0`",
        ),
        Purpose::Store | Purpose::Copy(..) => IfMissing::Make,
    };
    find_or_make(context, &wanted, missing).await
}

/// Checks that the stream of partition 0 is what it is opened for. Returns the store that it belongs to.
fn check_first(
    config: &Config,
    url: &JetStreamUrl,
    (purpose, asked): (Purpose, Option<u16>),
    servers: usize,
) -> Result<Identity, OpenError> {
    let store = check_stream(config, &url.subject(0), servers)?;
    let (name, is_unfinished) = (&config.name, config.metadata.contains_key(COPYING));
    match purpose {
        Purpose::Copy(of, _) if of != store.id => {
            return Err(refused(format!(
                "the stream `{name}` holds the store {}, and a copy of the store {of} would get its id: give the copy another name",
                store.id
            )));
        }
        Purpose::Store | Purpose::Kept | Purpose::Existing if is_unfinished => {
            return Err(refused(format!(
                "the stream `{name}` is an unfinished copy of another store: run `gesta copy` again, it goes on"
            )));
        }
        _ => {}
    }
    match asked.filter(|asked| *asked != store.partitions) {
        None => Ok(store),
        Some(asked) => Err(refused(format!(
            "the store `{}` was made with `partitions={}`, not with {asked}, and that number never changes: leave it out of the address",
            url.name(),
            store.partitions
        ))),
    }
}

/// Finds the stream of another partition, or makes it. Returns its last message.
async fn other_stream(context: &Context, wanted: Config, missing: IfMissing) -> Result<u64, OpenError> {
    let (config, last) = find_or_make(context, &wanted, missing).await?;
    let found = check_stream(&config, &wanted.subjects[0], wanted.num_replicas)?;
    if identity_of(&wanted) == Some(found) {
        return Ok(last);
    }
    Err(refused(format!(
        "the stream `{}` belongs to the store {}: remove it if that store is gone, or give this one another name",
        config.name, found.id
    )))
}

/// Notes that all streams are there.
async fn end_beginning(context: &Context, name: &str) -> Result<(), OpenError> {
    let unreachable = |error: &dyn std::error::Error| OpenError::Unreachable { reason: why(error) };
    // It is read anew: another process may have changed it meanwhile.
    let stream = context.get_stream(name).await.map_err(|error| unreachable(&error))?;
    let mut config = stream.cached_info().config.clone();
    if config.metadata.remove(BEGUN).is_some() {
        context.update_stream(config).await.map_err(|error| unreachable(&error))?;
    }
    Ok(())
}

/// Returns the configuration of a stream and its last message. Makes the stream if it is not there, if that is wished.
pub(crate) async fn find_or_make(
    context: &Context,
    wanted: &Config,
    missing: IfMissing,
) -> Result<(Config, u64), OpenError> {
    let begun = std::time::Instant::now();
    loop {
        // If it is there with another store id, this fails, and nothing is changed.
        let made = match missing {
            IfMissing::Make => context.create_stream(wanted.clone()).await.err(),
            IfMissing::Refuse(_) => None,
        };
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
        if let IfMissing::Refuse(advice) = missing
            && is_missing(&error)
        {
            return Err(refused(format!("there is no stream `{}`: {advice}", wanted.name)));
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

fn config_of(url: &JetStreamUrl, partition: u16, store: Identity, num_replicas: usize) -> Config {
    let format = if store.partitions == 1 { FORMAT_OF_ONE } else { FORMAT_OF_SEVERAL };
    let mut metadata = HashMap::from([(STORE, store.id.to_string()), (FORMAT, format.to_owned())]);
    if store.partitions > 1 {
        metadata.insert(PARTITIONS, store.partitions.to_string());
    }
    Config {
        name: url.stream(partition),
        subjects: vec![url.subject(partition)],
        num_replicas,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        deny_delete: true,
        deny_purge: true,
        duplicate_window: DUPLICATE_WINDOW,
        metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Config::default()
    }
}

/// Returns the number of partitions that the configuration of a stream names; `None` if it is no stream of this layout.
pub(crate) fn partitions_of(config: &Config) -> Option<u16> {
    match config.metadata.get(FORMAT)?.as_str() {
        FORMAT_OF_ONE => Some(1),
        FORMAT_OF_SEVERAL => {
            let number = config.metadata.get(PARTITIONS)?.parse().ok();
            number.filter(|number| (2..=PARTITIONS_MAX).contains(number))
        }
        _ => None,
    }
}

/// True for the first stream of a store whose other streams may not be there yet.
pub(crate) fn is_begun(config: &Config) -> bool {
    config.metadata.contains_key(BEGUN)
}

fn identity_of(config: &Config) -> Option<Identity> {
    let id = config.metadata.get(STORE)?.parse().ok()?;
    Some(Identity { id, partitions: partitions_of(config)? })
}

/// Checks that a stream is one of ours, and as safe as one that would be made. Returns the store that it belongs to.
fn check_stream(found: &Config, subject: &str, servers: usize) -> Result<Identity, OpenError> {
    let name = &found.name;
    if !found.metadata.contains_key(STORE) {
        return Err(refused(format!(
            "the stream `{name}` is no store of Gesta: give the store another name"
        )));
    }
    let store = identity_of(found)
        .ok_or_else(|| refused(format!("the stream `{name}` is of a newer format: use a newer program")))?;
    if found.num_replicas < servers {
        return Err(refused(format!(
            "the stream `{name}` is kept by {} server: acknowledged events would be lost with its disk. It needs three",
            found.num_replicas
        )));
    }
    let is_kept = found.deny_delete && found.deny_purge && found.max_age.is_zero();
    let is_whole = found.max_messages <= 0 && found.discard == DiscardPolicy::New;
    if !is_kept || !is_whole || found.storage != StorageType::File || found.subjects != [subject] {
        return Err(refused(format!(
            "the stream `{name}` may lose messages: its configuration was changed (`deny_delete`, `deny_purge`, `discard: new`, no limits of age and number, in files)"
        )));
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> JetStreamUrl {
        text.parse().unwrap()
    }

    fn store(partitions: u16) -> Identity {
        Identity { id: StoreId::from_bytes([7; 16]), partitions }
    }

    #[test]
    fn a_stream_that_may_lose_messages_is_refused() {
        let wanted = config_of(&url("nats://localhost/shop"), 0, store(1), 3);
        assert_eq!(check_stream(&wanted, "es.shop.0", 3).unwrap(), store(1));
        let refused = |change: fn(&mut Config)| {
            let mut found = wanted.clone();
            change(&mut found);
            check_stream(&found, "es.shop.0", 3).unwrap_err().to_string()
        };
        assert!(refused(|config| config.num_replicas = 1).contains("needs three"));
        assert!(refused(|config| config.metadata.clear()).contains("no store of Gesta"));
        assert!(refused(|config| _ = config.metadata.insert(FORMAT.into(), "3".into())).contains("newer"));
        for change in [
            |config: &mut Config| config.deny_purge = false,
            |config: &mut Config| config.max_age = Duration::from_secs(1),
            |config: &mut Config| config.discard = DiscardPolicy::Old,
            |config: &mut Config| config.subjects = vec!["es.shop.1".to_owned()],
        ] {
            assert!(refused(change).contains("may lose messages"));
        }
    }

    #[test]
    fn a_stream_says_how_many_partitions_its_store_has() {
        let config = |partitions| config_of(&url("nats://localhost/shop"), 0, store(partitions), 3);
        for partitions in [1, 2, 64] {
            assert_eq!(partitions_of(&config(partitions)), Some(partitions));
        }
        assert_eq!(config(1).metadata.len(), 2, "the streams of one partition are as they were");
        for (key, value) in [(FORMAT, "3"), (PARTITIONS, "1"), (PARTITIONS, "65"), (PARTITIONS, "three")] {
            let mut changed = config(3);
            changed.metadata.insert(key.to_owned(), value.to_owned());
            assert_eq!(partitions_of(&changed), None, "{key} {value}");
        }
    }

    #[test]
    fn another_number_of_partitions_is_refused_with_the_way_out() {
        let three = config_of(&url("nats://localhost/shop"), 0, store(3), 3);
        let check = |text: &str, purpose| {
            let url = url(text);
            let asked = asked_for(&url, purpose)?;
            check_first(&three, &url, (purpose, asked), 3)
        };
        for purpose in [Purpose::Store, Purpose::Existing, Purpose::Copy(store(3).id, 3)] {
            for text in ["nats://localhost/shop", "nats://localhost/shop?partitions=3"] {
                assert_eq!(check(text, purpose).unwrap(), store(3));
            }
            for asked in ["1", "2", "4"] {
                let text = format!("nats://localhost/shop?partitions={asked}");
                let refused = check(&text, purpose).unwrap_err().to_string();
                assert!(refused.contains("out") && refused.contains(asked), "{refused}");
            }
        }
        let refused = check("nats://localhost/shop", Purpose::Copy(store(3).id, 2)).unwrap_err().to_string();
        assert!(refused.contains("partitions=3") && refused.contains("not with 2"), "{refused}");
    }
}
