//! The interface between groups and their laws, and the harness of local groups.

use std::sync::Arc;
use std::time::Duration;

use gesta_consumer::group::{Groups, LocalGroups, LocalGroupsOptions};
use gesta_consumer::{Clock as _, TestClock};
use gesta_core::{EventStore, KeyValueStore, MemoryKeyValueStore, MemoryStore, StoreId};

/// The most that a clock moves before the groups look at their deadlines. A longer step would be a stall.
const ADVANCE_STEP: Duration = Duration::from_millis(400);

/// The setup of groups for a law. Each law gets a new harness.
pub trait GroupHarness: Send + Sync + 'static {
    /// Serves groups over an empty log. No group exists.
    fn serve(&self) -> Served;

    /// Ends the groups in order, and serves them again over the same log and the same key-value store.
    ///
    /// It is called while no call is under way.
    fn restart(&self, served: Served) -> Served;

    /// Ends the groups without a last write, as a crash does, and serves them again.
    ///
    /// It is called while no call is under way. What was settled in the last moments may be forgotten.
    fn crash(&self, served: Served) -> Served;

    /// Moves the clock of the groups, in steps that are no stall of their dealers. Everything that is due by then has happened afterwards.
    fn advance(&self, served: &Served, by: Duration);
}

/// Groups, and the log that they read.
pub struct Served {
    /// The groups.
    pub groups: Arc<dyn Groups>,
    /// Their log.
    pub store: Arc<dyn EventStore>,
    /// Whatever keeps them alive, for the harness.
    pub owner: Box<dyn std::any::Any + Send + Sync>,
}

/// The harness of local groups over the stores in memory, with any number of partitions.
pub struct LocalHarness {
    clock: TestClock,
    partitions: u16,
}

/// The stores under local groups.
struct Stores {
    store: Arc<MemoryStore>,
    values: Arc<MemoryKeyValueStore>,
    /// Openings so far.
    boots: u64,
}

impl LocalHarness {
    /// Creates a harness for stores with `partitions` partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        Self { clock: TestClock::default(), partitions }
    }

    /// Returns the clock of the groups.
    #[must_use]
    pub const fn clock(&self) -> &TestClock {
        &self.clock
    }

    fn start(&self, stores: Stores) -> Served {
        let store = Arc::clone(&stores.store) as Arc<dyn EventStore>;
        let values = Arc::clone(&stores.values) as Arc<dyn KeyValueStore>;
        let options =
            LocalGroupsOptions { boot_epoch: stores.boots, is_alone: true, ..LocalGroupsOptions::default() };
        let groups = LocalGroups::start(Arc::clone(&store), values, Arc::new(self.clock.clone()), options);
        let groups = Arc::new(groups.expect("a thread for the groups"));
        Served { groups: groups.clone(), store, owner: Box::new((groups, stores)) }
    }
}

impl GroupHarness for LocalHarness {
    fn serve(&self) -> Served {
        let clock = self.clock.clone();
        let id = StoreId::from_bytes([9; 16]);
        let store = Arc::new(MemoryStore::new(id, self.partitions, move || clock.now()));
        self.start(Stores { store, values: Arc::default(), boots: 1 })
    }

    fn restart(&self, served: Served) -> Served {
        let owner = served.owner.downcast::<(Arc<LocalGroups>, Stores)>();
        let (groups, stores) = *owner.expect("the groups are of this harness");
        drop(served.groups);
        groups.close();
        self.start(Stores { boots: stores.boots + 1, ..stores })
    }

    fn crash(&self, served: Served) -> Served {
        let owner = served.owner.downcast::<(Arc<LocalGroups>, Stores)>();
        let (groups, stores) = *owner.expect("the groups are of this harness");
        drop(served.groups);
        // The end of the thread writes once more. A crash does not, so the groups go on with what was there before.
        let values = Arc::new(stores.values.copy());
        groups.close();
        self.start(Stores { values, boots: stores.boots + 1, ..stores })
    }

    fn advance(&self, served: &Served, by: Duration) {
        let mut left = by;
        while !left.is_zero() {
            let step = left.min(ADVANCE_STEP);
            self.clock.advance(step);
            left -= step;
            // The thread of the groups answers first and looks at its deadlines second, so the second answer shows what was due.
            for _ in 0..2 {
                pollster::block_on(served.groups.list()).unwrap_or_else(|error| panic!("list: {error}"));
            }
        }
    }
}
