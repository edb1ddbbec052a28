//! A standby is promoted: without a loss, and with one.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gesta_core::{
    AppendError, Batch, Checkpoint, EventId, EventStore, NewEvent, Place, Query, Read, ReadError, Retry,
    Timestamp,
};
use gesta_postgres::{Options, PostgresStore};
use pollster::block_on;
use test_servers::Postgres;

use crate::database::{Admin, Schema, shared};

/// How long a test waits for what must come. A busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

fn event(number: u128) -> NewEvent {
    let (stream, event_type) = ("a-1".parse().unwrap(), "a.b".parse().unwrap());
    NewEvent::json(EventId::from_u128(number), stream, event_type, Timestamp::from_nanos(0), "{}")
}

fn append(store: &dyn EventStore, number: u128) -> Checkpoint {
    loop {
        match block_on(store.append(Batch::new([event(number)]))) {
            Ok(appended) => return appended.checkpoint,
            // The standby is not promoted yet.
            Err(error) => assert_ne!(error.retry(), Retry::Never, "{error}"),
        }
    }
}

/// Appends events, and returns the place after the last one.
fn append_all(store: &dyn EventStore, numbers: std::ops::RangeInclusive<u128>) -> Checkpoint {
    numbers.fold(None, |_, number| Some(append(store, number))).expect("there are events")
}

/// The ids of all events.
fn ids(store: &dyn EventStore) -> Vec<u128> {
    let events = block_on(store.read(Read::log(Query::All))).expect("a primary is there").events;
    events.iter().map(|event| u128::from_be_bytes(*event.id().as_bytes())).collect()
}

/// A store at the addresses of two servers. One of them takes writes.
fn both(first: &Postgres, second: &Postgres, schema: &Schema) -> Arc<PostgresStore> {
    let host =
        |server: &Postgres| server.url().split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let url = format!("postgres://postgres@{},{}/postgres", host(first), host(second));
    let url = schema.url_at(&url);
    Arc::new(PostgresStore::open(&url, &Options::default()).expect("the primary is there"))
}

fn promote(server: &Postgres) {
    assert_eq!(Admin::connect(server.url()).run("select pg_promote(true, 120)"), [["t"]]);
}

#[test]
fn a_promoted_synchronous_standby_has_everything_that_was_acknowledged() {
    if shared().is_none() {
        return;
    }
    let Some(mut primary) = Postgres::start(&[]) else { return };
    let standby = primary.standby(&[]);
    Admin::connect(primary.url()).run("alter system set synchronous_standby_names = '*'");
    Admin::connect(primary.url()).run("select pg_reload_conf()");
    let schema = Schema::new(standby.url());
    let store = both(&primary, &standby, &schema);
    let place = append_all(&*store, 1..=20);
    primary.kill();
    promote(&standby);
    let newest = append(&*store, 21);
    assert_eq!(ids(&*store), (1..=21).collect::<Vec<_>>());
    assert_eq!(block_on(store.wait_past(place)), Ok(newest), "the place is of this history");
    assert_eq!(schema.run("select from_position from history order by timeline"), [["0"], ["21"]]);
}

#[test]
fn a_promoted_standby_that_lacks_events_tells_everybody_who_was_beyond_it() {
    if shared().is_none() {
        return;
    }
    let Some(mut primary) = Postgres::start(&[]) else { return };
    let mut standby = primary.standby(&[]);
    let schema = Schema::new(standby.url());
    let store = both(&primary, &standby, &schema);
    let kept = append_all(&*store, 1..=3);
    let wait = "select pg_current_wal_flush_lsn()";
    let sent = Admin::connect(primary.url()).run(wait)[0][0].clone();
    let replayed = format!("select pg_last_wal_replay_lsn() >= '{sent}'");
    while Admin::connect(standby.url()).run(&replayed) != [["t"]] {
        thread::yield_now();
    }
    standby.stop();
    let lost = append_all(&*store, 4..=6);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(store.wait_past(lost.clone())));
        primary.kill();
        standby.start_again();
        promote(&standby);
        // Asks until the new primary answers.
        while block_on(store.head_now()).is_err() {}
        let error = waiting.join().unwrap().expect_err("the place is lost");
        assert!(
            matches!(error, ReadError::CheckpointAhead { .. } | ReadError::Unavailable { .. }),
            "{error}"
        );
    });
    assert_eq!(ids(&*store), [1, 2, 3]);
    append_all(&*store, 14..=17);
    let after =
        |place: &Checkpoint| block_on(store.read(Read::log_from(Query::All, Place::At(place.clone()))));
    assert!(matches!(after(&lost), Err(ReadError::Diverged { .. })));
    assert_eq!(after(&kept).unwrap().events.len(), 4, "a place from before the loss goes on");
    assert_eq!(ids(&*store), [1, 2, 3, 14, 15, 16, 17]);
}

/// PostgreSQL keeps a commit whose wait for a standby is cancelled, and the standby may lack it.
#[test]
fn a_commit_whose_wait_for_a_standby_is_cancelled_is_in_doubt_until_the_standby_has_it() {
    if shared().is_none() {
        return;
    }
    let Some(server) = Postgres::start(&[]) else { return };
    let schema = Schema::new(server.url());
    let mut options = Options::default();
    options.settle_time = Duration::from_millis(500);
    let store = schema.open(&options);
    append(&*store, 1);
    let admin = Admin::connect(server.url());
    let wait_for_standby = |name: &str| {
        admin.run(&format!("alter system set synchronous_standby_names = '{name}'"));
        admin.run("select pg_reload_conf()");
        let deadline = Instant::now() + PATIENCE;
        while admin.run("show synchronous_standby_names") != [[name]] {
            assert!(Instant::now() < deadline, "the setting never came");
            thread::park_timeout(Duration::from_millis(20));
        }
    };
    wait_for_standby("absent");
    let batch = || Batch::new([event(2)]);
    let error = thread::scope(|scope| {
        let appending = scope.spawn(|| block_on(store.append(batch())).unwrap_err());
        let deadline = Instant::now() + PATIENCE;
        while !appending.is_finished() {
            assert!(Instant::now() < deadline, "the append never ends");
            admin.run("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'");
            thread::park_timeout(Duration::from_millis(20));
        }
        appending.join().unwrap()
    });
    assert!(matches!(error, AppendError::InDoubt { .. }), "{error}");
    wait_for_standby("");
    assert!(block_on(store.append(batch())).unwrap().repeated, "the commit was kept");
    assert_eq!(ids(&*store), [1, 2]);
}
