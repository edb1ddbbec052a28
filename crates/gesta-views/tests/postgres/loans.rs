//! Real events in both databases, beside a computation of the test's own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use gesta_core::*;
use gesta_views::*;
use serde_json::Value;

use crate::support::*;

const FILE: &str = "loan-applications.jsonl.gz";

/// Events of the file that the test reads: enough for all types, and quick.
const EVENTS: usize = 20_000;

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

/// The file, in `shared/data` beside the checkout or above it.
fn file() -> Option<PathBuf> {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.map(|folder| folder.join("shared/data").join(FILE)).find(|path| path.exists())
}

type Loans = BTreeMap<String, (Option<String>, i64, String)>;
type Days = BTreeMap<(String, String), i64>;

fn read(path: &Path) -> (Arc<MemoryStore>, Checkpoint, Loans, Days) {
    let lines = BufReader::new(GzDecoder::new(std::fs::File::open(path).unwrap())).lines();
    let store = store_of(1);
    let (mut loans, mut days, mut batch) = (Loans::new(), Days::new(), Vec::new());
    let mut head = None;
    for (number, line) in lines.take(EVENTS).enumerate() {
        let read = serde_json::from_str::<Value>(&line.unwrap()).unwrap();
        let text = |name: &str| read[name].as_str().unwrap().to_owned();
        let (subject, event_type, time) = (text("subject"), text("type"), text("time"));
        let amount = read["data"]["amount_req"].as_str().map(str::to_owned);
        let loan = subject.split_once('-').unwrap().1.to_owned();
        let entry = loans.entry(loan).or_insert_with(|| (None, 0, String::new()));
        entry.0 = entry.0.take().or(amount);
        (entry.1, entry.2) = (entry.1 + 1, event_type.clone());
        *days.entry((time[..10].to_owned(), event_type.clone())).or_default() += 1;
        let event = event(number as u64 + 1, &subject, &event_type, &read["data"].to_string());
        let seconds = seconds(&time);
        batch.push(NewEvent { time: Timestamp::from_nanos(seconds * 1_000_000_000), ..event });
        if batch.len() == 100 {
            head = Some(store.append_now(Batch::new(std::mem::take(&mut batch))).unwrap().checkpoint);
        }
    }
    (store, head.unwrap(), loans, days)
}

/// The seconds of a time in RFC 3339, by a plain count of days.
fn seconds(time: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum::<i64>();
    let months = lengths[..usize::try_from(month).unwrap() - 1].iter().sum::<i64>();
    (years + months + day - 1) * 86_400 + part(11..13) * 3_600 + part(14..16) * 60 + part(17..19)
}

#[test]
fn loans_in_both_databases_equal_a_computation_of_the_test() {
    let Some(path) = file() else {
        println!("not run: no `{FILE}` in `shared/data` beside the checkout");
        return;
    };
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
        let collate = if dialect == "sqlite" { "" } else { " collate \"C\"" };
        assert_eq!(rows(&views, &format!("select * from loans order by loan{collate}")), loans, "{dialect}");
        let ordered = format!("select * from days order by day{collate}, type{collate}");
        assert_eq!(rows(&views, &ordered), days, "{dialect}");
    }
}
