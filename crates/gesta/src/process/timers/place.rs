//! The place of the timers in a key-value store: where the scan goes on after a restart. Without it, it starts at the start.

use std::sync::Arc;

use bytes::Bytes;
use gesta_core::{Checkpoint, KeyName, KeyValueError, KeyValueStore, Revision};
use serde::{Deserialize, Serialize};

/// The value under `timers/NAME`.
#[derive(Serialize, Deserialize)]
struct Value {
    v: u32,
    /// The log of both places.
    store: String,
    place: String,
    scanned: String,
}

const VERSION: u32 = 1;

/// A place that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptPlace {
    /// Every timer before it is settled.
    pub(super) place: Checkpoint,
    /// How far the log was scanned. Its marks show if the log has another history now.
    pub(super) scanned: Checkpoint,
}

fn key(process: &str) -> KeyName {
    KeyName::new(format!("timers/{process}")).expect("a process's name is part of a key")
}

/// The place that was kept. `None` if there is none, or one that this program cannot read.
pub(super) async fn load(
    values: &dyn KeyValueStore,
    process: &str,
) -> Result<Option<KeptPlace>, KeyValueError> {
    let entry = values.get(key(process)).await?;
    Ok(entry.and_then(|entry| decode(&entry.value)))
}

fn decode(value: &[u8]) -> Option<KeptPlace> {
    let value = serde_json::from_slice::<Value>(value).ok().filter(|value| value.v == VERSION)?;
    Some(KeptPlace { place: value.place.parse().ok()?, scanned: value.scanned.parse().ok()? })
}

/// Keeps the place of one process. Two hosts may do so at once: the place of either is right.
pub(super) struct Keeper {
    values: Arc<dyn KeyValueStore>,
    key: KeyName,
    /// The revision to replace; `None` if it must be looked up.
    revision: Option<Option<Revision>>,
}

impl Keeper {
    pub(super) fn new(values: Arc<dyn KeyValueStore>, process: &str) -> Self {
        Self { values, key: key(process), revision: None }
    }

    /// Puts the place. An error leaves an older one, so more is read after a restart.
    pub(super) async fn put(&mut self, kept: &KeptPlace) -> Result<(), KeyValueError> {
        let expect = match self.revision.take() {
            Some(revision) => revision,
            None => self.values.get(self.key.clone()).await?.map(|entry| entry.revision),
        };
        let value = Value {
            v: VERSION,
            store: kept.place.store().to_string(),
            place: kept.place.to_string(),
            scanned: kept.scanned.to_string(),
        };
        let value = serde_json::to_vec(&value).expect("texts and a number can be written as JSON");
        let revision = self.values.put(self.key.clone(), Bytes::from(value), expect).await?;
        self.revision = Some(Some(revision));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gesta_core::{MemoryKeyValueStore, StoreId};

    use super::*;
    use crate::testing::block_on;

    #[test]
    fn the_newest_place_of_either_host_is_found_again() {
        block_on(async {
            let values: Arc<dyn KeyValueStore> = Arc::new(MemoryKeyValueStore::new());
            assert_eq!(load(&*values, "p").await.unwrap(), None);
            let at = |sequence| {
                let place = Checkpoint::new(StoreId::from_bytes([1; 16]), [sequence]);
                KeptPlace { scanned: place.clone().with(0, sequence + 5), place }
            };
            let [mut one, mut other] = [(); 2].map(|()| Keeper::new(values.clone(), "p"));
            one.put(&at(1)).await.unwrap();
            one.put(&at(2)).await.unwrap();
            other.put(&at(3)).await.unwrap();
            assert_eq!(load(&*values, "p").await.unwrap(), Some(at(3)));
            let changed = one.put(&at(4)).await.unwrap_err();
            assert!(matches!(changed, KeyValueError::Changed { .. }), "{changed}");
            one.put(&at(4)).await.unwrap();
            assert_eq!(load(&*values, "p").await.unwrap(), Some(at(4)));
            assert_eq!(load(&*values, "q").await.unwrap(), None);
        });
    }

    #[test]
    fn a_value_of_another_form_is_no_place() {
        for value in ["", "7", "{}", r#"{"v":2,"store":"","place":"","scanned":""}"#] {
            assert_eq!(decode(value.as_bytes()), None, "{value}");
        }
    }
}
