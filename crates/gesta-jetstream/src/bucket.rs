//! A bucket of JetStream: a stream that keeps the last message of each subject. It is laid out as the key-value stores of NATS, so their tools show it.
//!
//! *Invariant*: every read asks the leader of the stream, which has all that was acknowledged. Other servers may lag.

use std::fmt::Display;
use std::time::Instant;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RawMessageErrorKind, StorageType, Stream};
use async_nats::jetstream::{Context, message::StreamMessage};
use async_nats::{HeaderMap, Request, header};
use bytes::Bytes;
use futures_util::TryStreamExt;
use gesta_core::StoreId;

use crate::error::OpenError;
use crate::limits::{ANSWER_TIME, BUCKET_TIME, BUSY_PAUSE, UNREACHED_PAUSE, UNREACHED_PAUSE_MAX};
use crate::link::{DUPLICATE_WINDOW, IfMissing, STORE, find_or_make, outcome_of, why};
use crate::machine::Refusal;

/// The header of a message that removes a value, and what it says.
const OPERATION: &str = "KV-Operation";
const REMOVED: &str = "DEL";

/// The values of a bucket by key. A key is one or more parts of a subject.
#[derive(Clone)]
pub(crate) struct Bucket {
    context: Context,
    stream: Stream<()>,
    /// The beginning of the subject of every key.
    prefix: String,
}

/// The purpose of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Values that are replaced by compare-and-set. Nothing is purged.
    Values,
    /// Snapshots, which are purged.
    Snapshots,
}

/// The last message of a key.
pub(crate) struct Last {
    /// Its number in the stream.
    pub(crate) number: u64,
    /// `None` if the value was removed.
    pub(crate) value: Option<Bytes>,
    /// The id that its publish had.
    id: Option<String>,
}

/// Why a publish to a bucket has no number.
#[derive(Debug)]
pub(crate) enum NotPut {
    /// The key has another last message than the expected one. Nothing was written.
    Changed,
    /// There is no room. Nothing was written.
    Full,
    /// Nothing was written.
    Unavailable(String),
    /// The message may be written.
    InDoubt(String),
}

impl Bucket {
    /// Finds a bucket, or makes it. It belongs to one store.
    pub(crate) async fn open(
        context: &Context,
        (name, content): (&str, Content),
        of: StoreId,
        servers: usize,
    ) -> Result<Self, OpenError> {
        let wanted = config(name, content, of, servers);
        let (found, _) = find_or_make(context, &wanted, IfMissing::Make).await?;
        check(&found, &wanted).map_err(|reason| OpenError::Refused { reason })?;
        let stream = context.get_stream_no_info(&wanted.name).await;
        let stream = stream.map_err(|error| OpenError::Unreachable { reason: why(&error) })?;
        Ok(Self { context: context.clone(), stream, prefix: prefix(name) })
    }

    /// Returns the last message of a key. Wildcards stand for any part; then it is the last one of all keys that match.
    pub(crate) async fn last(&self, key: &str) -> Result<Option<Last>, String> {
        let subject = format!("{}{key}", self.prefix);
        tried(|| async {
            match self.stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => Ok(Some(last(message))),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Returns the keys that match a filter of subjects, in no order. Those whose value was removed are among them.
    pub(crate) async fn keys(&self, filter: &str) -> Result<Vec<String>, String> {
        let filter = format!("{}{filter}", self.prefix);
        let subjects = tried(|| async {
            self.stream.info_with_subjects(&filter).await?.map_ok(|(subject, _)| subject).try_collect().await
        });
        let subjects: Vec<String> = subjects.await?;
        let key = |subject: &String| subject.strip_prefix(&self.prefix).map(str::to_owned);
        Ok(subjects.iter().filter_map(key).collect())
    }

    /// Removes all messages of the keys that match, or those before a number.
    pub(crate) async fn purge(&self, filter: &str, before: Option<u64>) -> Result<(), String> {
        let filter = format!("{}{filter}", self.prefix);
        tried(|| async {
            let purge = self.stream.purge().filter(filter.clone());
            match before {
                Some(number) => purge.sequence(number).await,
                None => purge.await,
            }
        })
        .await
        .map(drop)
    }

    /// Puts a value, or removes it, if the last message of the key has that number; 0 means none. Without a number, in any case.
    pub(crate) async fn put(
        &self,
        key: &str,
        value: Option<Bytes>,
        expect: Option<u64>,
    ) -> Result<u64, NotPut> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let headers = headers(&id, value.is_none(), expect);
        let (subject, value) = (format!("{}{key}", self.prefix), value.unwrap_or_default());
        let (begun, mut pause, mut is_in_doubt) = (Instant::now(), UNREACHED_PAUSE, false);
        loop {
            // The same id each time: a message that is written already is answered with its number.
            let request =
                Request::new().headers(headers.clone()).payload(value.clone()).timeout(Some(ANSWER_TIME));
            let answer = self.context.client().send_request(subject.clone(), request).await;
            match outcome_of(answer) {
                Some(Ok(number)) => return Ok(number),
                Some(Err(Refusal::OtherNumber | Refusal::OtherDigest)) => {
                    return self.refused(key, &id, is_in_doubt).await;
                }
                Some(Err(Refusal::Busy)) => tokio::time::sleep(BUSY_PAUSE).await,
                Some(Err(Refusal::Full)) if !is_in_doubt => return Err(NotPut::Full),
                Some(Err(Refusal::Never(reason))) if !is_in_doubt => return Err(NotPut::Unavailable(reason)),
                Some(Err(_)) => {
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(UNREACHED_PAUSE_MAX);
                }
                None => is_in_doubt = true,
            }
            if begun.elapsed() > BUCKET_TIME {
                return Err(match is_in_doubt {
                    true => NotPut::InDoubt("the cluster gave no answer in time".to_owned()),
                    false => NotPut::Unavailable(NO_LEADER.to_owned()),
                });
            }
        }
    }

    /// The outcome of a write that was refused because the last message of its key is another one than expected. That message may be
    /// the write itself, whose answer was lost.
    async fn refused(&self, key: &str, id: &str, is_in_doubt: bool) -> Result<u64, NotPut> {
        let doubt = |reason| if is_in_doubt { Err(NotPut::InDoubt(reason)) } else { Err(NotPut::Changed) };
        match self.last(key).await {
            Ok(Some(last)) if last.id.as_deref() == Some(id) => Ok(last.number),
            Ok(_) => doubt("an answer was lost, and another value has come since".to_owned()),
            Err(reason) => doubt(reason),
        }
    }
}

const NO_LEADER: &str = "the cluster took no message in time: a majority of its servers must run";

fn prefix(name: &str) -> String {
    format!("$KV.{name}.")
}

fn config(name: &str, content: Content, of: StoreId, servers: usize) -> Config {
    Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("{}>", prefix(name))],
        num_replicas: servers,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        max_messages_per_subject: 1,
        deny_delete: true,
        deny_purge: content == Content::Values,
        duplicate_window: DUPLICATE_WINDOW,
        metadata: [(STORE.to_owned(), of.to_string())].into(),
        ..Config::default()
    }
}

/// Checks that a bucket is that of the store, and as safe as the one that would have been made.
fn check(found: &Config, wanted: &Config) -> Result<(), String> {
    let name = &found.name;
    match found.metadata.get(STORE) {
        None => return Err(format!("the stream `{name}` is none of Gesta: give the store another name")),
        Some(of) if Some(of) != wanted.metadata.get(STORE) => {
            return Err(format!(
                "the stream `{name}` belongs to the store {of}, and this one is another: if that store was lost, keep the folders of its copies, which may be all that is left of it; if nobody needs it, remove the stream with the tools of NATS"
            ));
        }
        Some(_) => {}
    }
    if found.num_replicas < wanted.num_replicas {
        return Err(format!("the stream `{name}` is kept by {} server: it needs three", found.num_replicas));
    }
    let is_kept = found.max_age.is_zero() && found.max_messages <= 0 && found.discard == DiscardPolicy::New;
    let is_same = found.subjects == wanted.subjects
        && found.storage == wanted.storage
        && found.max_messages_per_subject == 1
        && (found.deny_purge || !wanted.deny_purge);
    match is_kept && is_same && !found.allow_direct {
        true => Ok(()),
        false => Err(format!(
            "the stream `{name}` may lose values or show old ones: its configuration was changed (one message a subject, `discard: new`, no limits of age and number, in files, not `allow_direct`)"
        )),
    }
}

fn headers(id: &str, removes: bool, expect: Option<u64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_MESSAGE_ID, id);
    if let Some(number) = expect {
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, number.to_string());
    }
    if removes {
        headers.insert(OPERATION, REMOVED);
    }
    headers
}

fn last(message: StreamMessage) -> Last {
    let id = message.headers.get(header::NATS_MESSAGE_ID).map(ToString::to_string);
    let is_removed = message.headers.get(OPERATION).is_some();
    Last { number: message.sequence, value: (!is_removed).then_some(message.payload), id }
}

/// Asks until there is an answer, for the time that an election may take at most.
async fn tried<T, E: Display, F: Future<Output = Result<T, E>>>(ask: impl Fn() -> F) -> Result<T, String> {
    let (begun, mut pause) = (Instant::now(), UNREACHED_PAUSE);
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if begun.elapsed() > BUCKET_TIME => return Err(error.to_string()),
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(UNREACHED_PAUSE_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_of_another_store_or_with_other_settings_is_refused() {
        let id = StoreId::from_bytes([7; 16]);
        let wanted = config("shop", Content::Values, id, 3);
        assert_eq!(check(&wanted, &wanted), Ok(()));
        let refused = |change: fn(&mut Config)| {
            let mut found = wanted.clone();
            change(&mut found);
            check(&found, &wanted).unwrap_err()
        };
        assert!(refused(|config| config.metadata.clear()).contains("none of Gesta"));
        let other = |config: &mut Config| _ = config.metadata.insert(STORE.into(), "other".into());
        assert!(refused(other).contains("belongs to the store other"));
        assert!(refused(|config| config.num_replicas = 1).contains("needs three"));
        for change in [
            |config: &mut Config| config.allow_direct = true,
            |config: &mut Config| config.max_age = ANSWER_TIME,
            |config: &mut Config| config.deny_purge = false,
            |config: &mut Config| config.max_messages_per_subject = 5,
        ] {
            assert!(refused(change).contains("may lose values"));
        }
    }
}
