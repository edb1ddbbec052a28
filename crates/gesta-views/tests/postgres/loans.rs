//! Real events in both databases, beside a computation of the test's own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gesta_core::*;
use gesta_views::*;

use crate::support::*;

#[path = "../common/loans.rs"]
mod common;

/// For each loan its amount and last event; for each day the number of events of each type.
fn view(dialect: &str) -> String {
    let day = if dialect == "sqlite" { "substr($time, 1, 10)" } else { "left($time, 10)" };
    format!(
        "-- dialect: {dialect}
        create table loans (loan text primary key, amount text, events integer not null, last text not null);
        create table days (day text, type text, events integer not null, primary key (day, type));
        -- on *
        insert into loans values ($entity, :amount_req, 1, $type)
        on conflict (loan) do update set amount = coalesce(loans.amount, excluded.amount), events = loans.events + 1,
            last = excluded.last;
        insert into days values ({day}, $type, 1) on conflict (day, type) do update set events = days.events + 1;"
    )
}

type Loans = BTreeMap<String, (Option<String>, i64, String)>;
type Days = BTreeMap<(String, String), i64>;

fn read(path: &Path) -> (Arc<MemoryStore>, Checkpoint, Loans, Days) {
    let store = store_of(1);
    let (mut loans, mut days) = (Loans::new(), Days::new());
    let head = common::append(&store, path, |read| {
        let amount = read["data"]["amount_req"].as_str().map(str::to_owned);
        let text = |name: &str| read[name].as_str().unwrap();
        let event_type = text("type").to_owned();
        let loan = text("subject").split_once('-').unwrap().1.to_owned();
        let entry = loans.entry(loan).or_insert_with(|| (None, 0, String::new()));
        entry.0 = entry.0.take().or(amount);
        (entry.1, entry.2) = (entry.1 + 1, event_type.clone());
        *days.entry((text("time")[..10].to_owned(), event_type)).or_default() += 1;
    });
    (store, head, loans, days)
}

#[test]
fn loans_in_both_databases_equal_a_computation_of_the_test() {
    let Some(path) = common::file() else { return };
    let Some(site) = Site::shared() else { return };
    let (store, head, loans, days) = read(&path);
    let text = |text: &str| SqlValue::from(text);
    let loans = loans.iter().map(|(loan, (amount, events, last))| {
        let amount = amount.as_deref().map_or(SqlValue::Null, text);
        vec![text(loan), amount, SqlValue::Integer(*events), text(last)]
    });
    let days =
        days.iter().map(|((day, kind), events)| vec![text(day), text(kind), SqlValue::Integer(*events)]);
    let (loans, days) = (loans.collect::<Vec<_>>(), days.collect::<Vec<_>>());
    for dialect in ["sqlite", "postgres"] {
        let folder = tempfile::tempdir().unwrap();
        let definitions = vec![definition(&view(dialect))];
        let views = Views::open_with(store.clone(), folder.path().into(), definitions, &site.options(5_000));
        let views = views.unwrap();
        wait(&views, &head);
        let limits = QueryLimits { rows: 100_000, ..QueryLimits::default() };
        let rows = |sql: &str| views.query("balances", sql, &[], &limits).unwrap().rows;
        let collate = if dialect == "sqlite" { "" } else { " collate \"C\"" };
        assert_eq!(rows(&format!("select * from loans order by loan{collate}")), loans, "{dialect}");
        let ordered = format!("select * from days order by day{collate}, type{collate}");
        assert_eq!(rows(&ordered), days, "{dialect}");
    }
}

#[test]
fn loans_in_rust_and_in_sql_are_those_of_the_file_in_postgresql() {
    let Some(path) = common::file() else { return };
    let Some(site) = Site::shared() else { return };
    common::check(&store_of(1), &path, Dialect::Postgres, &site.options(5_000));
}
