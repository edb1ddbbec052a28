//! Many clients at once while their server is killed and started again.

use std::sync::Arc;
use std::time::Duration;

use event_listener::{Event, Listener as _};
use gesta_client::{ClientOptions, RemoteStore};
use gesta_conformance::check_linear_history;
use gesta_core::EventStore;
use gesta_log::{LogStore, Options};

use crate::probe::{Conduct, Probe};
use crate::server::Running;

const CLIENTS: usize = 32;
const APPENDS: u32 = 40;
/// A server lets this number of appends through and holds all later ones. It is killed when it has one to hold.
const LET_THROUGH: usize = 50;
const KILLS: usize = 10;
// However fast the clients are, they do not end before the last kill. Up to a kill, they get their answers to
// `LET_THROUGH` appends at most, and each gives up one at most, which found no server.
const _: () = assert!(KILLS * (LET_THROUGH + CLIENTS) < CLIENTS * APPENDS as usize);
/// How long a client without a server waits to hear of the next one before it tries again.
const PATIENCE: Duration = Duration::from_millis(150);

#[test]
fn the_answers_to_32_clients_are_true_in_the_order_of_the_log_while_servers_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    // The log is opened for each server, as a new process would.
    let open = |conduct| {
        let options = Options { segment_size_bytes: 1 << 20, ..Options::default() };
        Probe::before(Arc::new(LogStore::open(folder.path(), &options).unwrap()), conduct)
    };
    let conducts = (1..=KILLS).map(|kill| match kill {
        KILLS => Conduct::Answer,
        _ => Conduct::HoldAppendsAfter(LET_THROUGH),
    });
    let mut probe = open(Conduct::HoldAppendsAfter(LET_THROUGH));
    let mut server = Running::start(probe.clone());
    let address = server.address;
    let connect = || RemoteStore::connect(&format!("http://{address}"), &ClientOptions::default()).unwrap();
    let handles = (0..CLIENTS).map(|_| Arc::new(connect()) as Arc<dyn EventStore>).collect::<Vec<_>>();
    let is_up = Event::new();
    std::thread::scope(|scope| {
        let checking = scope.spawn(|| {
            check_linear_history(&handles, APPENDS, &|| {
                is_up.listen().wait_timeout(PATIENCE);
            });
        });
        for conduct in conducts {
            while !probe.wait_briefly_for_appends(LET_THROUGH + 1) {
                assert!(!checking.is_finished(), "the clients end while a server holds their appends");
            }
            server.kill();
            drop(probe);
            probe = open(conduct);
            server = Running::start_at(address, probe.clone());
            is_up.notify(usize::MAX);
        }
        checking.join().unwrap();
    });
}
