//! Pauses in the key-value store: `consumers/{name}/paused`, as JSON.

use bytes::Bytes;
use gesta_core::{KeyName, KeyNameError, KeyValueError, KeyValueStore, Timestamp};
use serde::{Deserialize, Serialize};

use crate::consumer::Paused;

/// The version of the value.
const VERSION: u32 = 1;

/// Who paused a consumer whose value cannot be read.
const UNREADABLE: &str = "a value that cannot be read";

#[derive(Serialize, Deserialize)]
struct Value {
    v: u32,
    paused: Option<PausedValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PausedValue {
    by: String,
    since_ns: i64,
}

/// Returns the pause of a consumer that was kept by [`Consumers::pause`](crate::Consumers::pause), to start it with.
///
/// A value that cannot be read counts as a pause: an operator can end it, and nothing goes on against an operator's will.
///
/// # Errors
/// As [`KeyValueStore::get`].
pub async fn kept_pause(values: &dyn KeyValueStore, consumer: &str) -> Result<Option<Paused>, KeyValueError> {
    // A name that is no key cannot have been paused.
    let Ok(key) = key(consumer) else { return Ok(None) };
    Ok(values.get(key).await?.and_then(|entry| decode(&entry.value)))
}

pub(super) fn key(consumer: &str) -> Result<KeyName, KeyNameError> {
    KeyName::new(format!("consumers/{consumer}/paused"))
}

pub(super) fn encode(paused: Option<&Paused>) -> Bytes {
    let paused =
        paused.map(|paused| PausedValue { by: paused.by.to_string(), since_ns: paused.since.as_nanos() });
    let json = serde_json::to_vec(&Value { v: VERSION, paused });
    json.expect("texts and numbers can be written as JSON").into()
}

pub(super) fn decode(value: &[u8]) -> Option<Paused> {
    match serde_json::from_slice::<Value>(value) {
        Ok(Value { v: VERSION, paused }) => paused
            .map(|paused| Paused { by: paused.by.into(), since: Timestamp::from_nanos(paused.since_ns) }),
        _ => Some(Paused { by: UNREADABLE.into(), since: Timestamp::from_nanos(0) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_and_its_end_are_read_as_they_were_written() {
        let paused = Paused { by: "ann \"the\" operator".into(), since: Timestamp::from_nanos(-5) };
        let value = encode(Some(&paused));
        assert_eq!(&*value, br#"{"v":1,"paused":{"by":"ann \"the\" operator","sinceNs":-5}}"#);
        assert_eq!(decode(&value), Some(paused));
        assert_eq!(decode(&encode(None)), None);
    }

    #[test]
    fn a_value_that_cannot_be_read_counts_as_a_pause() {
        for value in ["", "no json", "{}", r#"{"v":2,"paused":null}"#, r#"{"v":1,"paused":{"by":1}}"#] {
            assert_eq!(&*decode(value.as_bytes()).unwrap().by, UNREADABLE, "{value}");
        }
    }
}
