//! Running: exact counts, restarts, crashes, retries, visible stops.

use std::sync::atomic::Ordering;

use gesta_core::*;
use gesta_views::*;

use crate::support::*;

#[test]
fn every_event_counts_exactly_once_in_catch_up_and_live() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    append_deposits(&store, 100);
    let views = open(&store, folder.path());
    for _ in 0..20 {
        append_deposits(&store, 5);
    }
    let last =
        append(&store, [event("account-3", "withdrawn", r#"{"amount": 50}"#), event("x-1", "other", "{}")]);
    wait(&views, &last);
    let answer = query(&views, TOTALS).unwrap();
    assert_eq!(answer.rows, integers(&[10, 150, 200]));
    assert_eq!(answer.columns, ["count(*)", "sum(amount)", "sum(deposits)"]);
    assert_eq!(answer.checkpoint, last);
    let status = status(&views);
    assert!(matches!(status.state, State::Live), "{status:?}");
    assert_eq!(
        (status.checkpoint, status.head, status.lag_events),
        (Some(last.clone()), Some(last), Some(0))
    );
    assert_eq!(views.names(), ["balances"]);
}

#[test]
fn a_view_goes_on_after_a_restart_and_is_the_same_after_its_folder_was_deleted() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let all = "select * from balances order by account";
    let first = append_deposits(&store, 50);
    let views = open(&store, folder.path());
    wait(&views, &first);
    drop(views);
    let second = append_deposits(&store, 50);
    let views = open(&store, folder.path());
    wait(&views, &second);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 100, 100]));
    let before = rows(&views, all);
    drop(views);
    std::fs::remove_dir_all(folder.path()).unwrap();
    let views = open(&store, folder.path());
    wait(&views, &second);
    assert_eq!(rows(&views, all), before);
}

#[test]
fn a_view_that_is_dropped_in_the_middle_goes_on_exactly() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let last = append_deposits(&store, 3_000);
    let mut reached = 0;
    for round in 1_u64.. {
        let views =
            Views::open_with(store.clone(), folder.path().into(), vec![definition(BALANCES)], &page_of(10))
                .unwrap();
        let next = Checkpoint::start(last.store(), 1).with(0, (round * 500).min(3_000));
        wait(&views, &next);
        let answer = query(&views, TOTALS).unwrap();
        let sequence = answer.checkpoint.sequence(0);
        assert!(sequence >= reached);
        reached = sequence;
        let count = i64::try_from(sequence).unwrap();
        assert_eq!(answer.rows, integers(&[10, count, count]), "rows and checkpoint are one");
        if reached == 3_000 {
            break;
        }
    }
}

#[test]
fn a_store_that_fails_in_the_middle_stops_the_view_and_a_restart_goes_on_exactly() {
    for fault in [Fault::Closed, Fault::Panic] {
        let (inner, folder) = (store(), tempfile::tempdir().unwrap());
        let last = append_deposits(&inner, 300);
        let failing = Failing::after(&inner, 7, 1, fault);
        let views =
            Views::open_with(failing.clone(), folder.path().into(), vec![definition(BALANCES)], &page_of(10))
                .unwrap();
        let error = stopped(&views, &last);
        match fault {
            Fault::Panic => {
                assert_eq!(error.to_string(), "the view failed unexpectedly: the store fell over")
            }
            _ => assert_eq!(error.to_string(), "cannot read the log: the store is closed"),
        }
        // Seven pages of four batches.
        assert_eq!(rows(&views, TOTALS), integers(&[10, 84, 84]));
        let stopped = status(&views);
        assert!(matches!(stopped.state, State::Stopped { .. }));
        assert_eq!(stopped.lag_events, Some(300 - 84));
        failing.pages_before.store(3, Ordering::SeqCst);
        failing.failures.store(1, Ordering::SeqCst);
        views.restart("balances").unwrap();
        crate::support::stopped(&views, &last);
        views.restart("balances").unwrap();
        views.restart("balances").unwrap();
        wait(&views, &last);
        assert_eq!(rows(&views, TOTALS), integers(&[10, 300, 300]));
    }
}

#[test]
fn a_store_that_asks_for_a_pause_is_asked_again() {
    let (inner, folder) = (store(), tempfile::tempdir().unwrap());
    let last = append_deposits(&inner, 30);
    let failing = Failing::after(&inner, 0, 2, Fault::Overloaded);
    let views = open_as(failing, folder.path(), BALANCES);
    wait(&views, &last);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
}

#[test]
fn an_unknown_schema_version_stops_the_view_with_the_line_to_write() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let good = append_deposits(&store, 6);
    let newer = NewEvent { schema_version: 2, ..deposited(1, 5) };
    let bad = append(&store, [deposited(1, 1), newer]);
    append_deposits(&store, 6);
    let views = open(&store, folder.path());
    let error = stopped(&views, &bad);
    assert_eq!(
        error.to_string(),
        "event `deposited`@2 at position 8 in stream `account-1`: no handler in `balances.sql` reads this version: \
         add a handler `-- on deposited@2` (or the version to an existing one), with `-- ignore` under it if there is nothing to do, \
         then reload the views with `gesta view reload`"
    );
    assert_eq!(error.retry(), Retry::Never);
    let answer = query(&views, TOTALS).unwrap();
    assert_eq!(answer.checkpoint, good, "the view shows everything before the batch that it cannot apply");
    assert_eq!(answer.rows, integers(&[6, 6, 6]));
    // A restart does not help. A handler does.
    views.restart("balances").unwrap();
    stopped(&views, &bad);
    drop(views);
    let views = open_as(store, folder.path(), &BALANCES.replace("-- on deposited", "-- on deposited@1-2"));
    wait(&views, &bad);
}

#[test]
fn an_event_that_a_handler_cannot_apply_stops_the_view() {
    let cases = [
        (
            deposited(1, -1),
            "UNIQUE",
            "the statement in `balances.sql`, line 5, failed: CHECK constraint failed: amount > 0",
        ),
        (
            event("account-1", "deposited", "{}"),
            "",
            "the required field `amount` is missing or null (handler in `balances.sql`, line 3)",
        ),
        (
            event("account-1", "deposited", r#"{"amount": null}"#),
            "",
            "the required field `amount` is missing or null",
        ),
        (
            event("account-1", "deposited", r#"{"amount": 9223372036854775808}"#),
            "",
            "the number 9223372036854775808 in field `amount` is out of range",
        ),
        (event("account-1", "deposited", "[]"), "", "its data is not a JSON object"),
        (NewEvent { kind: ContentKind::Octets, ..deposited(1, 1) }, "", "its data is not JSON"),
    ];
    for (poison, _, message) in cases {
        let (store, folder) = (store(), tempfile::tempdir().unwrap());
        let good = append_deposits(&store, 10);
        let bad = append(&store, [poison]);
        append_deposits(&store, 10);
        let views = open_as(
            store,
            folder.path(),
            &BALANCES.replace("amount integer not null", "amount integer not null check (amount > 0)"),
        );
        let error = stopped(&views, &bad);
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.event().unwrap().position.sequence, 11);
        assert_eq!(query(&views, TOTALS).unwrap().checkpoint, good);
    }
}

#[test]
fn an_event_that_makes_a_date_function_read_the_clock_stops_the_view() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let text = "-- dialect: sqlite\ncreate table balances (day);\n-- on placed\ninsert into balances values (date(:at));";
    let views = open_as(store.clone(), folder.path(), text);
    let good = append(&store, [event("order-1", "placed", r#"{"at": "2026-03-01T12:00:00Z"}"#)]);
    wait(&views, &good);
    let bad = append(&store, [event("order-1", "placed", r#"{"at": "now"}"#)]);
    let error = stopped(&views, &bad).to_string();
    assert!(error.contains("`date` would read the clock of the machine"), "{error}");
    assert_eq!(rows(&views, "select day from balances"), [[SqlValue::from("2026-03-01")]]);
}

#[test]
fn every_parameter_has_the_value_of_the_event() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let names = "stream category entity id type version schema_version position partition time time_ns recorded_at \
                 recorded_at_ns actor correlation causation tags data metadata";
    let names = names.split_whitespace().collect::<Vec<_>>();
    let values = names.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "-- dialect: sqlite\ncreate table balances ({});\n-- on a@3\ninsert into balances values ({values});",
        names.join(", ")
    );
    let tags = ["$actor:ann", "$correlation:c1", "$causation:c0", "k:\"v\""].map(|tag| tag.parse().unwrap());
    let new = NewEvent {
        id: EventId::from_u128(255),
        schema_version: 3,
        ..event("order-17-x", "a", r#"{"n": 1}"#)
    };
    let last = append(&store, [new.with_tags(tags).with_metadata("{}")]);
    let octets = NewEvent { schema_version: 3, kind: ContentKind::Octets, ..event("plain", "a", "xy") };
    let views = open_as(store.clone(), folder.path(), &text);
    wait(&views, &last);
    let answer = query(&views, "select * from balances").unwrap();
    let shown = answer.columns.iter().zip(&answer.rows[0]).map(|(name, value)| format!("{name} {value:?}\n"));
    expect_test::expect![[r#"
        stream Text("order-17-x")
        category Text("order")
        entity Text("17-x")
        id Text("00000000-0000-0000-0000-0000000000ff")
        type Text("a")
        version Integer(0)
        schema_version Integer(3)
        position Integer(1)
        partition Integer(0)
        time Text("1970-01-02T00:00:00.000000000Z")
        time_ns Integer(86400000000000)
        recorded_at Text("1970-01-01T00:00:00.000000000Z")
        recorded_at_ns Integer(0)
        actor Text("ann")
        correlation Text("c1")
        causation Text("c0")
        tags Text("[\"$actor:ann\",\"$causation:c0\",\"$correlation:c1\",\"k:\\\"v\\\"\"]")
        data Text("{\"n\": 1}")
        metadata Text("{}")
    "#]]
    .assert_eq(&shown.collect::<String>());
    wait(&views, &append(&store, [octets]));
    let answer = rows(&views, "select entity, actor, data, metadata from balances where stream = 'plain'");
    assert_eq!(answer, [[SqlValue::Null, SqlValue::Null, SqlValue::Blob(b"xy".to_vec()), SqlValue::Null]]);
}

#[test]
fn handlers_run_in_the_order_of_the_file_and_an_ignored_version_does_nothing() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let text = "-- dialect: sqlite
        create table balances (n integer primary key, what text);
        -- on a, b
        insert into balances (what) values ($type || ' first');
        -- on a@1, a@1-3
        insert into balances (what) values ($type || ' second');
        -- on b@2
        -- ignore";
    let views = open_as(store.clone(), folder.path(), text);
    let last = append(
        &store,
        [
            event("s-1", "b", "{}"),
            event("s-1", "a", "{}"),
            NewEvent { schema_version: 2, ..event("s-1", "b", "{}") },
        ],
    );
    wait(&views, &last);
    let expected = ["b first", "a first", "a second"].map(|what| vec![SqlValue::from(what)]);
    assert_eq!(rows(&views, "select what from balances order by n"), expected);
}

#[test]
fn a_handler_of_every_type_takes_all_events_but_a_named_type_keeps_its_versions() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let text = "-- dialect: sqlite
        create table balances (n integer primary key, what text);
        -- on *
        insert into balances (what) values ($type || '@' || $schema_version);
        -- on b
        insert into balances (what) values ('named');";
    let views = open_as(store.clone(), folder.path(), text);
    let newer = |name| NewEvent { schema_version: 2, ..event("s-1", name, "{}") };
    let good = append(&store, [event("s-1", "a", "{}"), newer("a"), event("other-1", "b", "{}")]);
    wait(&views, &good);
    let expected = ["a@1", "a@2", "b@1", "named"].map(|what| vec![SqlValue::from(what)]);
    assert_eq!(rows(&views, "select what from balances order by n"), expected);
    let error = stopped(&views, &append(&store, [newer("b")]));
    assert!(error.to_string().contains("add a handler `-- on b@2`"), "{error}");
}

#[test]
fn a_category_leaves_other_streams_out() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let text = BALANCES.replacen('\n', "\n-- category: account\n", 1);
    let views = open_as(store.clone(), folder.path(), &text);
    let last = append(&store, [deposited(1, 1), event("wallet-1", "deposited", r#"{"amount": 7}"#)]);
    wait(&views, &last);
    assert_eq!(rows(&views, TOTALS), integers(&[1, 1, 1]));
}

#[test]
fn a_store_of_several_partitions_is_shown_whole() {
    let (store, folder) = (store_of(7, 3), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    let mut all = Checkpoint::start(StoreId::from_bytes([7; 16]), 3);
    for number in 0..90 {
        let one = append(&store, [deposited(number % 10, 1)]);
        let (partition, sequence) = (0..3)
            .map(|partition| (partition, one.sequence(partition)))
            .find(|(_, sequence)| *sequence > 0)
            .unwrap();
        all = all.with(partition, sequence);
    }
    wait(&views, &all);
    let answer = query(&views, TOTALS).unwrap();
    assert_eq!(answer.rows, integers(&[10, 90, 90]));
    assert_eq!(answer.checkpoint, all);
    drop(views);
    let views = open(&store, folder.path());
    wait(&views, &all);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 90, 90]));
}

#[test]
fn two_runners_of_one_view_cannot_both_commit() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let first = append_deposits(&store, 9);
    let views = open(&store, folder.path());
    wait(&views, &first);
    let second = Views::open(store.clone(), folder.path().into(), vec![definition(BALANCES)]);
    assert!(matches!(second.err(), Some(OpenError::InUse { .. })));
    // Another process that ignores the lock.
    let file = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let file =
        file.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "db")).unwrap();
    let moved = first.clone().with(0, 5).to_string();
    rusqlite::Connection::open(file)
        .unwrap()
        .execute("update gesta_checkpoint set at = ?1", [moved])
        .unwrap();
    let last = append(&store, [deposited(1, 1)]);
    let error = stopped(&views, &last);
    assert!(matches!(&*error, RunError::CheckpointMoved { expected, .. } if *expected == first), "{error}");
    assert_eq!(rows(&views, "select sum(amount) from balances"), integers(&[9]));
}

#[test]
fn a_shutdown_interrupts_a_statement_that_would_run_for_ever() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let text = "-- dialect: sqlite\ncreate table balances (a);\n-- on a\ninsert into balances with recursive
        c(x) as (select :a union all select x from c) select x from c where x is null;";
    let views = open_as(store.clone(), folder.path(), text);
    append(&store, [event("s-1", "a", r#"{"a": 1}"#)]);
    views.shut_down();
    let status = status(&views);
    assert!(matches!(status.state, State::Stopped { error } if matches!(*error, RunError::ShutDown)));
    assert_eq!(rows_of(&views), 0);
}

fn rows_of(views: &Views) -> usize {
    query(views, "select * from balances").map_or(0, |answer| answer.rows.len())
}

/// Waits until the view tries again, and gives the reason.
fn retrying(views: &Views) -> std::sync::Arc<RunError> {
    loop {
        match views.state("balances").unwrap() {
            State::Retrying { error } => return error,
            State::Stopped { error } => panic!("the view has stopped: {error}"),
            _ => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_view_whose_file_cannot_be_opened_tries_again_until_it_can() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let last = append_deposits(&store, 30);
    let hash = definition(BALANCES).hash();
    let file = folder.path().join(format!("balances.{}.db", &hash[..8]));
    std::fs::create_dir(&file).unwrap();
    let views = open(&store, folder.path());
    let error = retrying(&views);
    assert_eq!(error.retry(), Retry::AfterPause, "{error}");
    assert!(error.to_string().contains("cannot open"), "{error}");
    assert_eq!(views.state("balances").unwrap().name(), "retrying");
    std::fs::remove_dir(&file).unwrap();
    wait(&views, &last);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
}

#[test]
fn a_view_with_a_busy_database_goes_on_when_it_is_free() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let views = open(&store, folder.path());
    wait(&views, &append_deposits(&store, 30));
    let file = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let file =
        file.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "db")).unwrap();
    let other = rusqlite::Connection::open(file).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let last = append_deposits(&store, 30);
    retrying(&views);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
    other.execute_batch("rollback").unwrap();
    wait(&views, &last);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 60, 60]));
}

#[test]
fn a_field_that_the_event_does_not_have_is_named_where_its_null_is_refused() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let text = BALANCES.replace("-- require: amount\n", "");
    let bad = append(&store, [event("account-1", "deposited", r#"{"amont": 1}"#)]);
    let views = open_as(store.clone(), folder.path(), &text);
    let error = stopped(&views, &bad).to_string();
    assert!(
        error.contains("NOT NULL constraint failed: balances.amount (the event has no amount, which is null then; `-- require: amount` makes it mandatory)"),
        "{error}"
    );
}

#[test]
fn half_a_surrogate_pair_reads_as_the_replacement_character() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let text = "-- dialect: sqlite
        create table balances (a text, b text, day text);
        -- on noted
        insert into balances values (:a, json_extract($data, '$.a'), date(json_extract($data, '$.a')));";
    let views = open_as(store.clone(), folder.path(), text);
    wait(&views, &append(&store, [event("note-1", "noted", r#"{"\udc00": 1, "a": "caf\ud83d"}"#)]));
    let replaced = SqlValue::from("caf\u{fffd}");
    assert_eq!(rows(&views, "select * from balances"), [[replaced.clone(), replaced, SqlValue::Null]]);
}
