//! The laws of an event store, of a key-value store and of a snapshot store, on one schema of the shared server.

use std::sync::Arc;

use gesta_conformance::{
    Clock, Harness, KeyValueHarness, Memory, MemoryKeyValues, MemorySnapshots, Restarting,
    RestartingKeyValues, Snapshot, SnapshotHarness,
};
use gesta_core::{EventStore, KeyValueStore, SnapshotStore};
use gesta_postgres::Options;

use crate::database::{Schema, shared, with_clock};

/// A store in a schema. Without a server the in-memory store stands in, and the test says that it was skipped.
struct Postgres {
    clock: Clock,
    schema: Option<Schema>,
    stand_in: Memory,
}

impl Postgres {
    fn new() -> Self {
        let schema = shared().map(|server| Schema::new(&server));
        Self { clock: Clock::default(), schema, stand_in: Memory::new(1) }
    }
}

/// The tables that a copy of a store needs.
const TABLES: [&str; 6] = ["history", "stream", "event", "term", "command", "value"];

/// Copies the rows of a schema into tables of another one, or back.
fn copy(from: &str, to: &str) -> String {
    let copied = TABLES.map(|table| {
        format!(
            "alter table {to}.{table} disable trigger user; truncate {to}.{table}; \
             insert into {to}.{table} select * from {from}.{table}; alter table {to}.{table} enable trigger user;"
        )
    });
    copied.concat()
}

impl Harness for Postgres {
    fn store(&self) -> Arc<dyn EventStore> {
        match &self.schema {
            Some(schema) => schema.open(&with_clock(&self.clock)),
            None => self.stand_in.store(),
        }
    }

    fn clock(&self) -> &Clock {
        match &self.schema {
            Some(_) => &self.clock,
            None => self.stand_in.clock(),
        }
    }

    fn restart(&self, store: Arc<dyn EventStore>) -> Arc<dyn EventStore> {
        match &self.schema {
            Some(_) => {
                drop(store);
                self.store()
            }
            None => self.stand_in.restart(store),
        }
    }

    fn second(&self, _: &Arc<dyn EventStore>) -> Option<Arc<dyn EventStore>> {
        Some(self.schema.as_ref()?.open(&with_clock(&self.clock)))
    }

    fn snapshot(&self, store: Arc<dyn EventStore>) -> (Arc<dyn EventStore>, Snapshot) {
        let Some(schema) = &self.schema else { return self.stand_in.snapshot(store) };
        let kept = Schema::new(&shared().expect("it was there"));
        let made =
            TABLES.map(|table| format!("create table {}.{table} (like {}.{table});", kept.name, schema.name));
        schema.run(&format!(
            "create schema {}; {} {}",
            kept.name,
            made.concat(),
            copy(&schema.name, &kept.name)
        ));
        (store, Box::new(kept))
    }

    fn put_back(&self, snapshot: Snapshot) -> Option<Arc<dyn EventStore>> {
        let Some(schema) = &self.schema else { return self.stand_in.put_back(snapshot) };
        let kept = snapshot.downcast::<Schema>().expect("the snapshot is of this harness");
        schema.run(&copy(&kept.name, &schema.name));
        Some(self.store())
    }
}

/// A key-value store in a schema. Without a server the in-memory store stands in.
struct Values(Option<Schema>);

impl Values {
    fn new() -> Self {
        Self(shared().map(|server| Schema::new(&server)))
    }
}

impl KeyValueHarness for Values {
    fn store(&self) -> Arc<dyn KeyValueStore> {
        match &self.0 {
            Some(schema) => Arc::new(schema.open(&Options::default()).values()),
            None => MemoryKeyValues::new().store(),
        }
    }

    fn restart(&self, store: Arc<dyn KeyValueStore>) -> Arc<dyn KeyValueStore> {
        match &self.0 {
            Some(_) => {
                drop(store);
                self.store()
            }
            None => store,
        }
    }
}

/// A snapshot store in a schema. Without a server the in-memory store stands in.
struct Snapshots(Option<Schema>);

impl Snapshots {
    fn new() -> Self {
        Self(shared().map(|server| Schema::new(&server)))
    }
}

impl SnapshotHarness for Snapshots {
    fn store(&self) -> Arc<dyn SnapshotStore> {
        match &self.0 {
            Some(schema) => Arc::new(schema.open(&Options::default()).snapshots()),
            None => MemorySnapshots::new().store(),
        }
    }

    fn lose_all(&self, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
        match &self.0 {
            Some(schema) => {
                schema.run("truncate snapshot");
                store
            }
            None => MemorySnapshots::new().lose_all(store),
        }
    }
}

mod plain {
    use super::Postgres;
    gesta_conformance::laws!(Postgres::new());
}

/// Every few calls, all connections are closed and made again.
mod under_restarts {
    use super::{Postgres, Restarting};
    gesta_conformance::laws!(Restarting::every(12, Postgres::new()));
}

mod values {
    use super::Values;
    gesta_conformance::key_value_laws!(Values::new());
}

mod snapshots {
    use super::Snapshots;
    gesta_conformance::snapshot_laws!(Snapshots::new());
}

mod values_under_restarts {
    use super::{RestartingKeyValues, Values};
    gesta_conformance::key_value_laws!(RestartingKeyValues::every(3, Values::new()));
}
