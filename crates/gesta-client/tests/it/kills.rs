//! Many clients at once while their server is killed and started again.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use event_listener::{Event, Listener as _};
use gesta_client::{ClientOptions, RemoteStore};
use gesta_conformance::check_linear_history;
use gesta_core::{EventStore, When};
use gesta_log::{LogStore, Options};
use pollster::block_on;

use crate::server::Running;

const CLIENTS: usize = 32;
const APPENDS: u32 = 40;
/// A server is killed as soon as it has written this many events, wherever its clients are then. 1,280 appends outlive
/// at least 3 such servers on any machine: a fast one writes more before it is killed, and still far from all.
const EVENTS: u64 = 50;
/// How often the killer looks at the head.
const LOOK: Duration = Duration::from_millis(2);
/// How long a client without a server waits to hear of the next one before it tries again.
const PATIENCE: Duration = Duration::from_millis(150);

#[test]
fn the_answers_to_32_clients_are_true_in_the_order_of_the_log_while_servers_are_killed() {
    let folder = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn EventStore> {
        let options = Options { segment_size_bytes: 1 << 20, ..Options::default() };
        Arc::new(LogStore::open(folder.path(), &options).unwrap())
    };
    let mut log = open();
    let mut server = Running::start(Arc::clone(&log));
    let head = |log: &dyn EventStore| block_on(log.locate(When::Head)).unwrap().sequence(0);
    let mut begin = 0;
    let address = server.address;
    let connect = || RemoteStore::connect(&format!("http://{address}"), &ClientOptions::default()).unwrap();
    let handles = (0..CLIENTS).map(|_| Arc::new(connect()) as Arc<dyn EventStore>).collect::<Vec<_>>();
    let is_up = Event::new();
    let kills = std::thread::scope(|scope| {
        let (done, ended) = mpsc::channel::<()>();
        let (handles, is_up) = (&handles, &is_up);
        let checking = scope.spawn(move || {
            let _done = done;
            check_linear_history(handles, APPENDS, &|| {
                is_up.listen().wait_timeout(PATIENCE);
            });
        });
        let mut kills = 0;
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if head(&*log) < begin + EVENTS {
                continue;
            }
            server.kill();
            kills += 1;
            // The log is opened again, as a new process would.
            drop(log);
            log = open();
            begin = head(&*log);
            server = Running::start_at(address, Arc::clone(&log));
            is_up.notify(usize::MAX);
        }
        checking.join().unwrap();
        kills
    });
    assert!(kills >= 3, "{kills} kills");
}
