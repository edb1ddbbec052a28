//! The laws of a key-value store on SQLite.

use std::sync::Arc;

use gesta_conformance::{KeyValueHarness, compare_key_values_with_memory};
use gesta_core::KeyValueStore;
use gesta_state::{FILE_NAME, StateStore};

struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn open(&self) -> Arc<dyn KeyValueStore> {
        Arc::new(super::open(&self.0.path().join(FILE_NAME)))
    }
}

impl KeyValueHarness for Sqlite {
    fn store(&self) -> Arc<dyn KeyValueStore> {
        self.open()
    }

    fn restart(&self, store: Arc<dyn KeyValueStore>) -> Arc<dyn KeyValueStore> {
        assert_eq!(Arc::strong_count(&store), 1, "a restart has the only reference");
        drop::<Arc<dyn KeyValueStore>>(store);
        self.open()
    }
}

mod plain {
    use super::Sqlite;

    gesta_conformance::key_value_laws!(Sqlite::new());
}

mod restarted {
    use gesta_conformance::RestartingKeyValues;

    use super::Sqlite;

    gesta_conformance::key_value_laws!(RestartingKeyValues::every(5, Sqlite::new()));
}

#[test]
fn other_random_histories_get_the_same_answers_as_in_memory() {
    for seed in 0..4 {
        compare_key_values_with_memory(&Sqlite::new(), seed, 200);
    }
}

#[test]
fn a_closed_store_refuses_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let store: StateStore = super::open(&folder.path().join(FILE_NAME));
    super::set(&store, "a", "1");
    store.close();
    let closed = pollster::block_on(store.get(super::key("a")));
    assert_eq!(closed, Err(gesta_core::KeyValueError::Closed));
    store.close();
}
