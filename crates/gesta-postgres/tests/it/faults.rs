//! Broken connections, failing statements, stopped and killed servers. Nothing that was acknowledged may be lost, nothing may be
//! applied twice, and every doubt must be settled.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use gesta_conformance::check_linear_history;
use gesta_core::{
    AppendError, Appended, Batch, CommandKey, EventId, EventStore, Expected, NewEvent, Query, Read,
    ReadError, Retry, StreamName, Timestamp,
};
use gesta_postgres::{Options, PostgresStore};
use pollster::block_on;
use test_servers::{Postgres, SmallDisk};

use crate::database::{Admin, Schema, shared};
use crate::proxy::{Harm, Proxy};

fn event(stream: &str, number: u128) -> NewEvent {
    let (stream, kind) = (stream.parse().unwrap(), "a.b".parse().unwrap());
    NewEvent::json(EventId::from_u128(number), stream, kind, Timestamp::from_nanos(0), "{}")
        .with_tags(["t:1".parse().unwrap()])
}

/// A batch with an event in a stream that all share and one in a stream of its own, and a command key.
fn batch(number: u32) -> Batch {
    let number = u128::from(number) * 2;
    let key = format!("command-{number}").into_bytes().into();
    Batch::new([event("all-1", number + 1), event(&format!("own-{number}"), number + 2)])
        .with_command(CommandKey { key, request: [1; 32] })
}

/// The numbers of all events in the order of the log, which must be dense.
fn numbers(store: &dyn EventStore) -> Vec<u128> {
    let (mut read, mut found) = (Read::log(Query::All), Vec::new());
    loop {
        let page = block_on(store.read(read)).expect("the server is there");
        for event in &page.events {
            found.push(u128::from_be_bytes(*event.id().as_bytes()));
            assert_eq!(event.position().sequence, found.len() as u64, "positions are dense");
        }
        if page.end {
            return found;
        }
        read = Read::log_from(Query::All, gesta_core::Place::At(page.scanned_to));
    }
}

/// The server of an address such as `postgres://postgres@127.0.0.1:5432/postgres`, and its database.
fn parts(url: &str) -> (std::net::SocketAddr, &str) {
    let (_, rest) = url.split_once('@').expect("a user");
    let (address, database) = rest.split_once('/').expect("a database");
    (address.parse().expect("an address"), database)
}

fn open(url: &str, schema: &Schema) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::open(&schema.url_at(url), &Options::default()).expect("the server is there"))
}

#[test]
fn a_connection_cut_at_any_message_of_an_append_loses_nothing_and_writes_nothing_twice() {
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    let (address, database) = parts(&server);
    let proxy = Proxy::start(address);
    let store = open(&proxy.url(database), &schema);
    // Statements are prepared by the first append.
    block_on(store.append(batch(0))).unwrap();
    let (mut number, mut repeated) = (0, 0);
    for harm in [Harm::Cut, Harm::Silence] {
        for after in 0.. {
            number += 1;
            proxy.arm(harm, after);
            let appended = block_on(store.append(batch(number))).expect("the doubt is settled");
            repeated += u32::from(appended.repeated);
            if !proxy.is_done() {
                assert!(after > 20, "an append has more than {after} messages");
                proxy.arm(Harm::Cut, usize::MAX);
                break;
            }
        }
    }
    assert!(repeated >= 1, "at least one commit arrived whose answer was lost");
    let expected = (0..=number).flat_map(|number| [1, 2].map(|own| u128::from(number) * 2 + own));
    assert_eq!(numbers(&*store), expected.collect::<Vec<_>>());
}

#[test]
fn a_writer_that_stands_still_with_the_lock_is_ended_and_others_go_on() {
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    let (address, database) = parts(&server);
    let proxy = Proxy::start(address);
    let (slow, other) = (open(&proxy.url(database), &schema), open(&server, &schema));
    block_on(slow.append(batch(0))).unwrap();
    let mut number = 0;
    // With the lock before its look-ups have ended, and between the rows and the commit.
    for after in [7, 22] {
        proxy.arm(Harm::Hold, after);
        thread::scope(|scope| {
            let held = scope.spawn(|| block_on(slow.append(batch(number + 1))));
            proxy.wait_until_done();
            block_on(other.append(batch(number + 2))).expect("the server ends the session that stands still");
            proxy.release();
            held.join().unwrap().expect("the doubt is settled");
        });
        number += 2;
    }
    let mut found = numbers(&*other);
    found.sort_unstable();
    assert_eq!(found, (1..=u128::from(number + 1) * 2).collect::<Vec<_>>());
}

#[test]
fn a_repeat_that_nothing_confirms_is_in_doubt() {
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    block_on(open(&server, &schema).append(batch(1))).unwrap();
    let (address, database) = parts(&server);
    let proxy = Proxy::start(address);
    let mut options = Options::default();
    options.settle_time = Duration::from_millis(200);
    let store = PostgresStore::open(&schema.url_at(&proxy.url(database)), &options).unwrap();
    // A new process cannot know if commits of another one have reached a standby, so its first answer needs a commit.
    proxy.cut_at(Some("pg_logical_emit_message"));
    let error = block_on(store.append(batch(1))).unwrap_err();
    assert!(matches!(error, AppendError::InDoubt { .. }), "{error}");
    proxy.cut_at(None);
    assert!(block_on(store.append(batch(1))).unwrap().repeated);
}

/// Appends a batch with a condition through `slow`. Meanwhile `other` appends events, after the search of the condition and before
/// the lock.
fn append_behind(
    (slow, proxy): (&PostgresStore, &Proxy),
    other: &PostgresStore,
    (conditional, meanwhile): (Batch, Vec<Batch>),
) -> Result<Appended, AppendError> {
    proxy.arm(Harm::Hold, 0);
    thread::scope(|scope| {
        let held = scope.spawn(|| block_on(slow.append(conditional)));
        proxy.wait_until_done();
        meanwhile.into_iter().for_each(|batch| drop(block_on(other.append(batch)).unwrap()));
        proxy.release();
        held.join().unwrap()
    })
}

#[test]
fn the_look_at_newer_events_under_the_lock_has_a_limit_and_misses_none() {
    const BATCHES: u128 = 3;
    const EVENTS: u128 = 8_000;
    const BYTES: usize = 200;
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    let (address, database) = parts(&server);
    let proxy = Proxy::start(address);
    let (slow, other) = (open(&proxy.url(database), &schema), open(&server, &schema));
    block_on(slow.append(batch(0))).unwrap();
    let data = format!("\"{}\"", "x".repeat(BYTES));
    let newer = |from: u128| {
        let many = |batch: u128| {
            let first = from + batch * EVENTS;
            let events = (first..first + EVENTS).map(|number| event("many-1", number));
            Batch::new(events.map(|event| NewEvent { data: data.clone().into(), ..event }))
        };
        (0..BATCHES).map(many).collect::<Vec<_>>()
    };
    let wanted = || Query::tags(["t:wanted".parse().unwrap()]);
    let conditional = |number| Batch::new([event("a-1", number)]).fail_if(wanted(), None);
    let appended = append_behind((&slow, &proxy), &other, (conditional(10), newer(1_000_000)));
    assert!(!appended.unwrap().repeated);
    let (answered, all) = (proxy.answered_bytes(), (BATCHES * EVENTS) as usize * BYTES);
    assert!(answered < all * 2 / 3, "{answered} of {all} bytes and more were read under the lock");
    // The match is the first of the newer events, so the look that has a limit does not show it.
    let matching = Batch::new([event("b-1", 11).with_tags(["t:wanted".parse().unwrap()])]);
    let meanwhile = std::iter::once(matching).chain(newer(2_000_000)).collect();
    let refused = append_behind((&slow, &proxy), &other, (conditional(12), meanwhile)).unwrap_err();
    assert!(matches!(refused, AppendError::ConditionFailed { index: 0, .. }), "{refused}");
}

#[test]
fn reads_that_wait_for_a_connection_fail_together() {
    const READS: usize = 32;
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    let (address, database) = parts(&server);
    let proxy = Proxy::start(address);
    let url = format!("{}?schema={}&connect_timeout=1", proxy.url(database), schema.name);
    let store = PostgresStore::open(&url.parse().unwrap(), &Options::default()).unwrap();
    proxy.darken();
    let start = Barrier::new(READS);
    thread::scope(|scope| {
        for _ in 0..READS {
            scope.spawn(|| {
                start.wait();
                let error = block_on(store.head_now()).unwrap_err();
                assert!(matches!(error, ReadError::Unavailable { .. }), "{error}");
            });
        }
    });
    // Each try takes a second, and a read gives up after five of them. One after the other, each would make its own.
    assert!(proxy.in_the_dark() < READS, "{} connections", proxy.in_the_dark());
}

/// Makes inserts into a table fail with an SQLSTATE.
fn fail(schema: &Schema, table: &str, state: &str) {
    schema.run(&format!(
        "create or replace function fail() returns trigger language plpgsql as $$ begin \
           raise exception 'planted' using errcode = '{state}'; end $$; \
         create trigger fails before insert on {table} execute function fail()"
    ));
}

#[test]
fn a_statement_that_fails_writes_nothing_and_acknowledges_nothing() {
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    let store = open(&server, &schema);
    block_on(store.append(batch(0))).unwrap();
    for (number, table) in (1..).zip(["stream", "event", "term", "command"]) {
        for (state, is_expected) in [
            ("53100", (|error| matches!(error, AppendError::StorageFull { .. })) as fn(&AppendError) -> bool),
            ("42501", |error| matches!(error, AppendError::ReadOnly { .. })),
        ] {
            fail(&schema, table, state);
            let error = block_on(store.append(batch(number))).unwrap_err();
            assert!(is_expected(&error), "{table}, {state}: {error}");
            assert_eq!(numbers(&*store).len(), 2 * number as usize, "{table}, {state}: nothing is written");
            schema.run(&format!("drop trigger fails on {table}"));
        }
        assert!(!block_on(store.append(batch(number))).unwrap().repeated);
    }
    // A constraint that refuses what was decided is a bug: the store writes no more, and still answers repeats.
    fail(&schema, "event", "23505");
    assert!(matches!(block_on(store.append(batch(9))), Err(AppendError::ReadOnly { .. })));
    schema.run("drop trigger fails on event");
    assert!(matches!(block_on(store.append(batch(9))), Err(AppendError::ReadOnly { .. })));
    assert!(block_on(store.append(batch(1))).unwrap().repeated);
    assert!(!block_on(open(&server, &schema).append(batch(9))).unwrap().repeated);
}

#[test]
fn the_database_refuses_every_change_of_an_event() {
    let Some(server) = shared() else { return };
    let schema = Schema::new(&server);
    let store = open(&server, &schema);
    block_on(store.append(batch(0))).unwrap();
    let admin = Admin::connect(&server);
    for table in ["store", "history", "stream", "event", "term", "command"] {
        let name = format!("{}.{table}", schema.name);
        let column = if table == "store" {
            "format = 2"
        } else if table == "history" {
            "timeline = 9"
        } else {
            ""
        };
        let changes = [
            format!("delete from {name}"),
            format!("truncate {name}"),
            if column.is_empty() {
                format!("delete from {name} where false")
            } else {
                format!("update {name} set {column}")
            },
        ];
        for change in changes {
            let error = admin.try_run(&change).expect_err("it is refused");
            assert_eq!(error.code().map(|code| code.code()), Some("23001"), "{change}");
        }
    }
    assert_eq!(numbers(&*store).len(), 2);
}

/// Harms a server while four threads append through two handles, and checks every answer against the log.
fn harm_under_load(settings: &[&str], times: usize, harm: impl Fn(&mut Postgres, usize) + Send) {
    if shared().is_none() {
        return;
    }
    let Some(mut server) = Postgres::start(settings) else { return };
    let schema = Schema::new(server.url());
    let handles = [open(server.url(), &schema), open(server.url(), &schema)];
    let handles = [0, 1, 0, 1].map(|at: usize| Arc::clone(&handles[at]) as Arc<dyn EventStore>);
    let (has_ended, name) = (AtomicBool::new(false), "load-1".parse::<StreamName>().unwrap());
    thread::scope(|scope| {
        let observer = Arc::clone(&handles[0]);
        let (has_ended, server) = (&has_ended, &mut server);
        scope.spawn(move || {
            for time in 0..times {
                harm(server, time);
                // The next harm meets a store that works again.
                let sent = || {
                    Batch::new([event("load-1", time as u128 + 1_000_000)])
                        .expect(name.clone(), Expected::Any)
                };
                while !has_ended.load(Ordering::SeqCst) && block_on(observer.append(sent())).is_err() {}
            }
        });
        check_linear_history(&handles, 60, &|| thread::park_timeout(Duration::from_millis(20)));
        has_ended.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_server_that_is_killed_under_load_loses_nothing_and_writes_nothing_twice() {
    harm_under_load(&[], 3, |server, _| {
        server.kill();
        server.start_again();
    });
}

#[test]
fn backends_that_are_terminated_under_load_lose_nothing_and_write_nothing_twice() {
    harm_under_load(&[], 12, |server, _| {
        let admin = Admin::connect(server.url());
        admin.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gesta'");
    });
}

#[test]
fn a_server_that_is_stopped_under_load_goes_on_where_it_was() {
    harm_under_load(&[], 2, |server, _| {
        server.signal("STOP");
        let admin = |server: &Postgres| {
            let output = std::process::Command::new("pgrep").args(["-P", &server.id().to_string()]).output();
            String::from_utf8(output.expect("pgrep starts").stdout).expect("numbers")
        };
        let backends = admin(server).lines().filter_map(|line| line.parse::<u32>().ok()).collect::<Vec<_>>();
        backends.iter().for_each(|backend| server.signal_backend(*backend, "STOP"));
        thread::park_timeout(Duration::from_millis(300));
        backends.iter().for_each(|backend| server.signal_backend(*backend, "CONT"));
        server.signal("CONT");
    });
}

#[test]
fn a_full_disk_loses_nothing_and_writes_nothing_twice() {
    if shared().is_none() {
        return;
    }
    let Some(disk) = SmallDisk::mount(192 << 20) else { return };
    let Some(mut server) = Postgres::start_on(&disk, &["max_wal_size=32MB", "min_wal_size=32MB"]) else {
        return;
    };
    let schema = Schema::new(server.url());
    let mut options = Options::default();
    options.settle_time = Duration::from_millis(200);
    let store = PostgresStore::open(&schema.url(), &options).unwrap();
    let large = format!("\"{}\"", "x".repeat(200_000));
    let append = |number: u128| {
        block_on(
            store.append(Batch::new([NewEvent { data: large.clone().into(), ..event("large-1", number) }])),
        )
    };
    let mut number = 1;
    for _ in 0..2 {
        disk.fill();
        // Three times the disk: one of them is refused.
        let last = number + 3_000;
        let error = loop {
            assert!(number < last, "the disk is full");
            match append(number) {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
        };
        assert_ne!(error.retry(), Retry::Never, "{error}");
        disk.make_room();
        let deadline = Instant::now() + Duration::from_secs(120);
        while let Err(error) = append(number) {
            assert!(Instant::now() < deadline, "{error}");
            // A full disk of its own log ends the server.
            if TcpStream::connect(parts(server.url()).0).is_err() {
                server.start_again();
            }
        }
        number += 1;
    }
    assert_eq!(numbers(&store), (1..number).collect::<Vec<_>>());
}
