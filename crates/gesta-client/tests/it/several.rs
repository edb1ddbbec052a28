//! The laws of consumer groups over two servers of one store: one deals the groups, and the client calls the other one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use gesta::http::{Principal, Problem};
use gesta_client::{ClientOptions, RemoteGroups, RemoteStore};
use gesta_conformance::{AwayKeyValues, GroupHarness, Served};
use gesta_consumer::group::{GroupName, GroupSettings, GroupState, Groups, Peer, SharedGroups};
use gesta_consumer::{Clock as _, TestClock};
use gesta_core::{EventStore, KeyValueStore, MemoryKeyValueStore, MemoryStore, Query, Revision, StoreId};
use gesta_postgres::{Options, PostgresStore, PostgresUrl};
use gesta_server::Server;
use gesta_wire::kinds;
use pollster::block_on;
use test_servers::free_address;

use crate::server::{Running, listen};

/// The most that a clock moves before the groups look at their deadlines. A longer step would be a stall.
const ADVANCE_STEP: Duration = Duration::from_millis(400);
/// How often the process that deals puts its row.
const BEAT: Duration = Duration::from_secs(2);
/// More real time than anything takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The stores of all processes.
enum Stores {
    Memory(Arc<MemoryStore>, Arc<MemoryKeyValueStore>),
    /// Each process opens this schema.
    Postgres(PostgresUrl),
}

impl Stores {
    fn in_memory(clock: &TestClock) -> Self {
        let clock = clock.clone();
        let store = MemoryStore::new(StoreId::from_bytes([7; 16]), 1, move || clock.now());
        Self::Memory(Arc::new(store), Arc::default())
    }

    /// A schema of a random name in the shared server. Without a server, memory stands in, and the test says so.
    fn in_postgresql(clock: &TestClock) -> Self {
        let Some(server) = test_servers::given(test_servers::POSTGRES_URL) else {
            return Self::in_memory(clock);
        };
        let schema = uuid::Uuid::now_v7().simple();
        Self::Postgres(format!("{server}?schema=several{schema}").parse().unwrap())
    }

    /// The stores as one process has them, with the id of the event store.
    fn open(&self, clock: &TestClock) -> (StoreId, Arc<dyn EventStore>, Arc<dyn KeyValueStore>) {
        match self {
            Self::Memory(store, values) => (StoreId::from_bytes([7; 16]), store.clone(), values.clone()),
            Self::Postgres(url) => {
                let (mut options, clock) = (Options::default(), clock.clone());
                options.clock = Some(Arc::new(move || clock.now()));
                let store = PostgresStore::open(url, &options).unwrap();
                let values = Arc::new(store.values());
                (store.store_id(), Arc::new(store), values)
            }
        }
    }
}

/// A process with a server.
struct Process {
    groups: Arc<SharedGroups>,
    values: Arc<AwayKeyValues>,
    server: Running,
}

impl Process {
    fn start(stores: &Stores, clock: &TestClock, address: SocketAddr, asks_for_login: bool) -> Self {
        let (id, store, values) = stores.open(clock);
        let values = Arc::new(AwayKeyValues::new(values));
        let connect = move |peer: &Peer<'_>| {
            let groups = RemoteGroups::of_holder(peer, id, &ClientOptions::default());
            groups.map(|groups| Arc::new(groups) as _).map_err(|error| error.to_string())
        };
        let (process, secret) = (uuid::Uuid::now_v7().to_string(), uuid::Uuid::new_v4().to_string());
        let (clock, connect) = (Arc::new(clock.clone()), Box::new(connect));
        let groups =
            Arc::new(SharedGroups::new(process, secret, store.clone(), values.clone(), clock, connect));
        let server = Server::builder(store).groups(groups.clone());
        let server = if asks_for_login { server.authenticate(login).build() } else { server.build() };
        let server = Running::start_server(listen(address), server);
        groups.announce(server.url()).unwrap();
        Self { groups, values, server }
    }

    /// Waits until it is known whether this process deals.
    fn settle(self, deals: bool) -> Self {
        let begin = Instant::now();
        while self.groups.dealer().is_none_or(|dealer| dealer.is_here != deals) {
            assert!(begin.elapsed() < PATIENCE, "{:?}", self.groups.dealer());
            std::thread::yield_now();
        }
        self
    }

    fn stop(self) {
        drop(self.server);
        self.groups.close();
    }

    /// Ends it without a last write.
    fn kill(self) {
        self.values.set_away(true);
        self.server.kill();
        self.groups.close();
    }
}

/// What is behind the client.
struct Behind {
    stores: Stores,
    dealing: Process,
    passing: Process,
    /// The row of the process that deals, and the time at which it had it.
    beat: Mutex<(Duration, Option<Revision>)>,
}

impl Behind {
    fn row(&self) -> Option<Revision> {
        let row = block_on(self.dealing.values.get("groups-holder".parse().unwrap())).unwrap();
        row.map(|entry| entry.revision)
    }

    /// Waits for the next beat if it is due: the process that deals must not be late, however slow the machine is.
    fn wait_for_beat(&self, now: Duration) {
        let mut beat = self.beat.lock().unwrap();
        if now < beat.0 + BEAT {
            return;
        }
        let begin = Instant::now();
        let row = loop {
            let row = self.row();
            if row != beat.1 {
                break row;
            }
            assert!(begin.elapsed() < PATIENCE, "no beat after {row:?}");
            std::thread::yield_now();
        };
        *beat = (now, row);
    }
}

/// The harness of two servers of one store.
struct TwoServers {
    clock: TestClock,
    stores: fn(&TestClock) -> Stores,
}

impl TwoServers {
    fn new(stores: fn(&TestClock) -> Stores) -> Self {
        Self { clock: TestClock::default(), stores }
    }

    fn start(&self, stores: Stores, [first, second]: [SocketAddr; 2]) -> Served {
        let dealing = Process::start(&stores, &self.clock, first, false).settle(true);
        let passing = Process::start(&stores, &self.clock, second, false).settle(false);
        let client = RemoteStore::connect(&passing.server.url(), &ClientOptions::default()).unwrap();
        let behind = Behind { stores, dealing, passing, beat: Mutex::default() };
        *behind.beat.lock().unwrap() = (self.clock.elapsed(), behind.row());
        Served { groups: Arc::new(client.groups()), store: Arc::new(client), owner: Box::new(behind) }
    }

    /// Ends both processes, and starts two at the same addresses. A process that is gone is followed at once by one at its address.
    fn start_again(&self, served: Served, end: fn(Process)) -> Served {
        let Served { groups, store, owner } = served;
        drop((groups, store));
        let Behind { stores, dealing, passing, .. } = *owner.downcast::<Behind>().expect("of this harness");
        let addresses = [dealing.server.address, passing.server.address];
        end(passing);
        end(dealing);
        self.start(stores, addresses)
    }
}

impl GroupHarness for TwoServers {
    fn serve(&self) -> Served {
        self.start((self.stores)(&self.clock), [free_address(), free_address()])
    }

    fn restart(&self, served: Served) -> Served {
        self.start_again(served, Process::stop)
    }

    fn crash(&self, served: Served) -> Served {
        self.start_again(served, Process::kill)
    }

    fn advance(&self, served: &Served, by: Duration) {
        let behind = served.owner.downcast_ref::<Behind>().expect("of this harness");
        let mut left = by;
        while !left.is_zero() {
            let step = left.min(ADVANCE_STEP);
            self.clock.advance(step);
            left -= step;
            // As local groups: the second answer shows what was due.
            for _ in 0..2 {
                block_on(behind.dealing.groups.list()).unwrap();
            }
            behind.wait_for_beat(self.clock.elapsed());
        }
    }
}

/// Refuses everybody but Ann.
fn login(parts: &Parts) -> Result<Option<Principal>, Problem> {
    let login = parts.headers.get("authorization").and_then(|login| login.to_str().ok());
    match login {
        Some("Bearer ann") => Ok(Some(Principal("ann".to_owned()))),
        _ => Err(Problem::of(kinds::UNAVAILABLE, "nobody else".to_owned())),
    }
}

#[test]
fn a_call_that_is_passed_on_needs_no_login_of_its_sender() {
    let clock = TestClock::default();
    let stores = Stores::in_memory(&clock);
    let dealing = Process::start(&stores, &clock, free_address(), true).settle(true);
    let passing = Process::start(&stores, &clock, free_address(), true).settle(false);
    let settings = GroupSettings::new(Query::All);
    let name: GroupName = "mail".parse().unwrap();
    block_on(passing.groups.put(name.clone(), settings, None)).unwrap();
    block_on(passing.groups.pause(name.clone(), "ann".to_owned())).unwrap();
    let state = block_on(dealing.groups.get(name)).unwrap().state;
    assert!(matches!(&state, GroupState::Paused { by, .. } if by == "ann"), "{state:?}");
    // Everybody else needs one.
    let holder = dealing.groups.dealer().unwrap().id;
    let get = |login: &str| {
        let request = ureq::get(format!("{}/groups", dealing.server.url()))
            .header("gesta-holder", &holder)
            .header("authorization", login);
        request.config().http_status_as_error(false).build().call().unwrap().status().as_u16()
    };
    assert_eq!(get("Bearer ann"), 200);
    for login in ["Bearer eve", "Gesta-Peer", "Gesta-Peer ", "Gesta-Peer 0000"] {
        assert_eq!(get(login), 503, "{login}");
    }
    passing.stop();
    dealing.stop();
}

mod in_memory {
    use super::{Stores, TwoServers};

    gesta_conformance::group_laws!(TwoServers::new(Stores::in_memory));
}

mod in_postgresql {
    use super::{Stores, TwoServers};

    gesta_conformance::group_laws!(TwoServers::new(Stores::in_postgresql));
}
