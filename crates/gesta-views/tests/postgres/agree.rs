//! One log gives the same rows in SQLite and in PostgreSQL, whatever the size of pages.

use gesta_core::*;
use gesta_views::*;
use proptest::prelude::*;

use crate::support::*;

/// The same view in a dialect: sums, a list in the order of events, and types that both databases have.
fn view(dialect: &str) -> String {
    let (big, real) = if dialect == "sqlite" { ("integer", "real") } else { ("bigint", "double precision") };
    format!(
        "-- dialect: {dialect}
        create table balances (account text primary key, amount {big} not null, last {big});
        create table entries (position {big} primary key, account text, kind text, note text, share {real}, time text);
        -- on deposited
        -- require: amount
        insert into balances values ($entity, :amount, $position)
        on conflict (account) do update set amount = balances.amount + excluded.amount, last = excluded.last;
        insert into entries values ($position, $entity, $type, :note, :share, $time);
        -- on withdrawn
        -- require: amount
        update balances set amount = amount - :amount, last = $position where account = $entity;
        insert into entries values ($position, $entity, $type, :note, :share, $time);
        -- on closed
        delete from balances where account = $entity;"
    )
}

fn outcome(
    site: &Site,
    store: &std::sync::Arc<MemoryStore>,
    head: &Checkpoint,
    dialect: &str,
    page: u32,
) -> Vec<Rows> {
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open_with(
        store.clone(),
        folder.path().into(),
        vec![definition(&view(dialect))],
        &site.options(page),
    );
    let views = views.unwrap();
    wait(&views, head);
    let tables = ["select * from balances order by account", "select * from entries order by position"];
    tables.map(|sql| query(&views, sql).unwrap()).to_vec()
}

fn data(note: u8, amount: i64) -> String {
    let note = match note {
        0 => String::new(),
        1 => r#", "note": null"#.to_owned(),
        2 => r#", "note": "é'\"\\ \n ; $1 :x", "share": 0.1"#.to_owned(),
        3 => r#", "note": "", "share": -1e300"#.to_owned(),
        _ => r#", "note": {"a": [1]}, "share": 3"#.to_owned(),
    };
    format!(r#"{{"amount": {amount}{note}}}"#)
}

type Entry = (u64, u8, i64, u8);

fn batches() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    let entry = (0..5_u64, 0..5_u8, prop_oneof![1_i64..100, Just(1 << 50)], 0..20_u8);
    prop::collection::vec(prop::collection::vec(entry, 1..5), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_and_postgresql_give_the_same_rows_with_pages_of_every_size(batches in batches()) {
        let store = store_of(1);
        let (mut number, mut head) = (0, None);
        for batch in &batches {
            let events = batch.iter().map(|(account, note, amount, kind)| {
                number += 1;
                let kind = match kind { 0..13 => "deposited", 13..19 => "withdrawn", _ => "closed" };
                event(number, &format!("account-{account}"), kind, &data(*note, *amount))
            });
            head = Some(store.append_now(Batch::new(events.collect::<Vec<_>>())).unwrap().checkpoint);
        }
        let Some(site) = Site::shared() else { return Ok(()) };
        let head = head.unwrap();
        let expected = outcome(&site, &store, &head, "sqlite", 1_000);
        for page in [1, 7, 1_000] {
            // Each size in schemas of its own: the same ones would only be found up to date.
            let site = Site::shared().unwrap();
            prop_assert_eq!(&outcome(&site, &store, &head, "postgres", page), &expected);
        }
    }
}

#[test]
fn values_of_other_types_are_read_and_written_as_the_server_does() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let text = "-- dialect: postgres
        create table balances (id uuid primary key, at timestamptz, day date, price numeric(10, 2), total numeric,
            is_open boolean, doc jsonb, tags text[], raw bytea, small smallint);
        -- on a
        insert into balances values ($id, $time, $time, :price, :total, :open, $data, array[:tag, 'x'], $data, :small::smallint);";
    let data = r#"{"price": "12.5", "total": 3, "open": true, "tag": "t", "small": 7}"#;
    let head = store.append_now(Batch::new([event(1, "s-1", "a", data)])).unwrap().checkpoint;
    let views = open(&site, &store, folder.path(), text);
    wait(&views, &head);
    let answer = rows(
        &views,
        "select at, day, price, total, is_open, doc->'open' as o, tags, raw, small, id is not null from balances",
    );
    let text = |text: &str| SqlValue::Text(text.to_owned());
    let expected = [
        text("1970-01-02 00:00:00+00"),
        text("1970-01-02"),
        text("12.50"),
        SqlValue::Integer(3),
        SqlValue::Integer(1),
        text("true"),
        text("{t,x}"),
        SqlValue::Blob(data.into()),
        SqlValue::Integer(7),
        SqlValue::Integer(1),
    ];
    assert_eq!(answer, [expected]);
    let by = |value: SqlValue| {
        let parameters = [("day".to_owned(), value)];
        views.query(
            "balances",
            "select small from balances where day = :day",
            &parameters,
            &QueryLimits::default(),
        )
    };
    assert_eq!(by(SqlValue::from("1970-01-02")).unwrap().rows, integers(&[7]));
    assert!(by(SqlValue::from("1970-01-03")).unwrap().rows.is_empty());
    let error = by(SqlValue::from("no day")).unwrap_err().to_string();
    assert_eq!(error, "PostgreSQL refuses the query: invalid input syntax for type date: \"no day\"");
}

#[test]
fn a_value_that_does_not_fit_names_event_line_and_type() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let good = append_deposits(&store, 0..3);
    let views = open(&site, &store, folder.path(), BALANCES);
    wait(&views, &good);
    let bad = event(9, "account-1", "deposited", r#"{"amount": "much"}"#);
    let head = store.append_now(Batch::new([bad])).unwrap().checkpoint;
    assert!(pollster::block_on(views.wait_for("balances", &head)).is_err());
    let error = views.state("balances").unwrap().error().unwrap().to_string();
    assert_eq!(
        error,
        "event `deposited`@1 at position 4 in stream `account-1`: the statement in `balances.sql`, line 5, failed: \
         invalid input syntax for type bigint: \"much\"; after a change to the file, reload the views with `gesta view reload`"
    );
    assert_eq!(rows(&views, TOTALS), integers(&[3, 3, 3]));
}
