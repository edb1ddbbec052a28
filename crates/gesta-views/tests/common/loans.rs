//! The loan applications of a bank, and three views over them in Rust and in SQL: the outcomes of a month, the hours of a
//! resource, and the open applications at the end of each day.
#![allow(clippy::print_stdout, reason = "a test that is passed over says so")]

mod loans_by_hand;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use gesta::{Event, Key, Recorded, Row, RowView, ViewError, row_view};
use gesta_core::{Batch, Checkpoint, EventId, MemoryStore, NewEvent, Timestamp};
use gesta_views::{Definition, Dialect, Options, QueryLimits, SqlValue, Views};
use serde_json::Value;

use loans_by_hand::Lines;

const FILE: &str = "loan-applications.jsonl.gz";

/// The file, in `shared/data` beside the checkout or above it. Without it, a test says so and passes.
pub(crate) fn file() -> Option<PathBuf> {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = folders.map(|folder| folder.join("shared/data").join(FILE)).find(|path| path.exists());
    if found.is_none() {
        let text = format!("not run: no `{FILE}` in `shared/data` beside the checkout\n");
        std::io::stdout().write_all(text.as_bytes()).unwrap();
    }
    found
}

/// The events of the file that a test takes: enough for all types, and quick. `GESTA_ALL_DATA=1` takes all of them.
pub(crate) fn events() -> usize {
    match std::env::var("GESTA_ALL_DATA").is_ok_and(|value| value == "1") {
        true => usize::MAX,
        false => 20_000,
    }
}

/// Appends events of the file up to [`events`], a hundred in a batch, and shows each to `see`.
pub(crate) fn append(store: &MemoryStore, path: &Path, mut see: impl FnMut(&Value)) -> Checkpoint {
    let lines = BufReader::new(GzDecoder::new(std::fs::File::open(path).unwrap())).lines();
    let (mut head, mut batch) = (None, Vec::new());
    let mut append = |batch: &mut Vec<NewEvent>| {
        head = Some(store.append_now(Batch::new(std::mem::take(batch))).unwrap().checkpoint);
    };
    for line in lines.take(events()) {
        let read = serde_json::from_str::<Value>(&line.unwrap()).unwrap();
        let text = |name: &str| read[name].as_str().unwrap();
        let (id, time) = (text("id").parse::<EventId>().unwrap(), Timestamp::from_nanos(nanos(text("time"))));
        let (stream, kind) = (text("subject").parse().unwrap(), text("type").parse().unwrap());
        batch.push(NewEvent::json(id, stream, kind, time, read["data"].to_string()));
        see(&read);
        if batch.len() == 100 {
            append(&mut batch);
        }
    }
    if !batch.is_empty() {
        append(&mut batch);
    }
    head.unwrap()
}

/// The nanoseconds of a time in RFC 3339 with milliseconds, by a plain count of days.
fn nanos(time: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum::<i64>();
    let months = lengths[..usize::try_from(month).unwrap() - 1].iter().sum::<i64>();
    let days = years + months + day - 1;
    let seconds = days * 86_400 + part(11..13) * 3_600 + part(14..16) * 60 + part(17..19);
    (seconds * 1_000 + part(20..23)) * 1_000_000
}

/// Appends events of the file, and builds each view in Rust and in SQL. Their tables are equal, row by row, and the first one of
/// each is equal to what the lines of the file say.
pub(crate) fn check(store: &std::sync::Arc<MemoryStore>, path: &Path, dialect: Dialect, options: &Options) {
    let mut lines = Lines::default();
    let head = append(store, path, |line| lines.see(line));
    let all = [
        (
            [row_view(Outcomes, dialect), outcomes(dialect)],
            lines.outcomes(),
            vec!["select * from outcomes order by month, outcome"],
        ),
        (
            [row_view(Hours, dialect), hours(dialect)],
            lines.hours(),
            vec!["select * from hours order by resource", "select * from begun order by loan, work"],
        ),
        (
            [row_view(Stock, dialect), stock(dialect)],
            lines.stock(),
            vec![
                "select * from days order by day",
                "select * from stock",
                "select * from open order by loan",
            ],
        ),
    ];
    for (definitions, expected, queries) in all {
        let [in_rust, in_sql] = definitions.map(|definition| {
            let (folder, name) = (tempfile::tempdir().unwrap(), definition.name().to_owned());
            let views =
                Views::open_with(store.clone(), folder.path().to_owned(), vec![definition], options).unwrap();
            pollster::block_on(views.wait_for(&name, &head)).unwrap();
            let limits = QueryLimits { rows: 100_000, ..QueryLimits::default() };
            let ask = |sql: &&str| views.query(&name, sql, &[], &limits).unwrap();
            queries.iter().map(ask).collect::<Vec<_>>()
        });
        assert_rows(queries[0], &in_sql[0].rows, &expected);
        for ((in_rust, in_sql), sql) in in_rust.iter().zip(&in_sql).zip(queries) {
            assert_eq!(in_rust.columns, in_sql.columns);
            assert_rows(sql, &in_rust.rows, &in_sql.rows);
        }
    }
}

/// Two tables are equal and not empty. Otherwise the first rows that differ are shown, and not the whole tables.
fn assert_rows(sql: &str, found: &[Vec<SqlValue>], expected: &[Vec<SqlValue>]) {
    let different = found.iter().zip(expected).find(|(one, other)| one != other);
    assert_eq!(different, None, "{sql}");
    assert_eq!(found.len(), expected.len(), "{sql}");
    assert!(!expected.is_empty(), "{sql}");
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Key)]
#[key("loan")]
pub(crate) struct LoanId(String);

/// The day or month of an event, as `$time` has it.
fn calendar(event: &gesta_core::RecordedEvent, length: usize) -> String {
    let days = event.time().as_nanos().div_euclid(86_400_000_000_000);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}")[..length].to_owned()
}

/// Year, month and day of a day since 1970, by a plain count.
fn civil(mut days: i64) -> (i64, i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

const fn bigint(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "integer",
        _ => "bigint",
    }
}

fn text(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "text",
        _ => "text collate \"C\"",
    }
}

fn parse(name: &str, text: &str) -> Definition {
    Definition::parse(name, text).unwrap()
}

/// How an application ended.
#[derive(Debug, Event)]
#[event(prefix = "loan")]
pub(crate) enum Ending {
    #[event(name = "loan.a_approved")]
    Approved,
    #[event(name = "loan.a_declined")]
    Declined,
    #[event(name = "loan.a_cancelled")]
    Cancelled,
}

#[derive(Clone, Row)]
#[row("outcomes")]
pub(crate) struct Outcome {
    #[row(key)]
    month: String,
    #[row(key)]
    outcome: String,
    applications: u32,
}

/// The outcomes of each month.
pub(crate) struct Outcomes;

impl RowView for Outcomes {
    const NAME: &'static str = "outcomes";
    type Event = Ending;
    type Rows = Outcome;

    fn apply(&self, rows: &mut gesta::Rows<Outcome>, event: &Recorded<Ending>) -> Result<(), ViewError> {
        let outcome = match event.event {
            Ending::Approved => "approved",
            Ending::Declined => "declined",
            Ending::Cancelled => "cancelled",
        };
        let key = (calendar(event, 7), outcome.to_owned());
        let new = || Outcome { month: key.0.clone(), outcome: key.1.clone(), applications: 0 };
        rows.get_or_put(&key, new)?.applications += 1;
        Ok(())
    }
}

fn outcomes(dialect: Dialect) -> Definition {
    let (big, text) = (bigint(dialect), text(dialect));
    let on = |outcome: &str| {
        format!(
            "-- on loan.a_{outcome}
            insert into outcomes values (substr($time, 1, 7), '{outcome}', 1)
            on conflict (month, outcome) do update set applications = outcomes.applications + 1;\n"
        )
    };
    let handlers = ["approved", "declined", "cancelled"].map(on).concat();
    parse(
        "outcomes_in_sql",
        &format!(
            "-- dialect: {dialect}
            create table outcomes (month {text}, outcome {text}, applications {big}, primary key (month, outcome));
            {handlers}"
        ),
    )
}

/// Work on an application: it is scheduled, begins and ends.
#[derive(Debug, Event)]
#[event(prefix = "loan")]
pub(crate) enum Work {
    #[event(
        name = "loan.w_completeren_aanvraag",
        alias = "loan.w_nabellen_offertes",
        alias = "loan.w_nabellen_incomplete_dossiers",
        alias = "loan.w_valideren_aanvraag",
        alias = "loan.w_afhandelen_leads",
        alias = "loan.w_beoordelen_fraude",
        alias = "loan.w_wijzigen_contractgegevens"
    )]
    Any { lifecycle: String, resource: Option<String> },
}

#[derive(Clone, Row)]
#[row("begun")]
pub(crate) struct Begun {
    #[row(key)]
    loan: LoanId,
    #[row(key)]
    work: String,
    at: i64,
}

#[derive(Clone, Row)]
#[row("hours")]
pub(crate) struct Spent {
    #[row(key)]
    resource: String,
    items: u32,
    nanoseconds: i64,
    hours: f64,
}

/// The hours that each resource worked.
pub(crate) struct Hours;

impl RowView for Hours {
    const NAME: &'static str = "hours";
    type Event = Work;
    type Rows = (Begun, Spent);

    fn apply(
        &self,
        (begun, hours): (&mut gesta::Rows<Begun>, &mut gesta::Rows<Spent>),
        event: &Recorded<Work>,
    ) -> Result<(), ViewError> {
        let Work::Any { lifecycle, resource } = &event.event;
        let loan = event.key::<LoanId>().ok_or("not a loan")?;
        let (key, now) = ((loan, event.event_type().to_owned()), event.time().as_nanos());
        match lifecycle.as_str() {
            "start" => begun.put(Begun { loan: key.0, work: key.1, at: now }),
            "complete" => {
                let Some(Begun { at, .. }) = begun.get(&key)? else { return Ok(()) };
                let took = now - at;
                let resource = resource.clone().unwrap_or_else(|| "nobody".to_owned());
                let new = || Spent { resource: resource.clone(), items: 0, nanoseconds: 0, hours: 0.0 };
                let spent = hours.get_or_put(&resource, new)?;
                (spent.items, spent.nanoseconds) = (spent.items + 1, spent.nanoseconds + took);
                spent.hours = spent.nanoseconds as f64 / 3.6e12;
                begun.delete(&key);
            }
            _ => {}
        }
        Ok(())
    }
}

fn hours(dialect: Dialect) -> Definition {
    let (big, text) = (bigint(dialect), text(dialect));
    let (real, number) = match dialect {
        Dialect::Sqlite => ("real", "$time_ns"),
        _ => ("double precision", "$time_ns::bigint"),
    };
    let types = gesta::query::<Work>();
    let gesta_core::Query::Any(items) = types else { panic!("the types of an enum") };
    let types = items[0].types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    parse(
        "hours_in_sql",
        &format!(
            "-- dialect: {dialect}
            create table begun (loan {text}, work {text}, at {big} not null, primary key (loan, work));
            create table hours (resource {text} primary key, items {big}, nanoseconds {big}, hours {real});
            -- on {types}
            insert into begun select $entity, $type, {number} where :lifecycle = 'start'
            on conflict (loan, work) do update set at = excluded.at;
            insert into hours select coalesce(:resource, 'nobody'), 1, {number} - at, ({number} - at) / 3.6e12 from begun
            where loan = $entity and work = $type and :lifecycle = 'complete'
            on conflict (resource) do update set items = hours.items + 1, nanoseconds = hours.nanoseconds + excluded.nanoseconds,
                hours = (hours.nanoseconds + excluded.nanoseconds) / 3.6e12;
            delete from begun where loan = $entity and work = $type and :lifecycle = 'complete';"
        ),
    )
}

/// An application comes, and ends.
#[derive(Debug, Event)]
#[event(prefix = "loan")]
pub(crate) enum Application {
    #[event(name = "loan.a_submitted")]
    Submitted { amount_req: String },
    #[event(name = "loan.a_approved", alias = "loan.a_declined", alias = "loan.a_cancelled")]
    Ended,
}

#[derive(Clone, Row)]
#[row("open")]
pub(crate) struct Open {
    #[row(key)]
    loan: LoanId,
    amount: String,
    since: gesta::Timestamp,
}

#[derive(Clone, Row)]
#[row("stock")]
pub(crate) struct Current {
    #[row(key)]
    one: bool,
    applications: i64,
}

#[derive(Clone, Row)]
#[row("days")]
pub(crate) struct Day {
    #[row(key)]
    day: String,
    applications: i64,
}

/// The open applications, now and at the end of each day.
pub(crate) struct Stock;

impl RowView for Stock {
    const NAME: &'static str = "stock";
    type Event = Application;
    type Rows = (Open, Current, Day);

    fn apply(
        &self,
        (open, stock, days): (&mut gesta::Rows<Open>, &mut gesta::Rows<Current>, &mut gesta::Rows<Day>),
        event: &Recorded<Application>,
    ) -> Result<(), ViewError> {
        let loan = event.key::<LoanId>().ok_or("not a loan")?;
        let change = match &event.event {
            Application::Submitted { amount_req } => {
                open.put(Open { loan, amount: amount_req.clone(), since: event.time() });
                1
            }
            Application::Ended if open.get(&loan)?.is_some() => {
                open.delete(&loan);
                -1
            }
            Application::Ended => 0,
        };
        let current = stock.get_or_put(&true, || Current { one: true, applications: 0 })?;
        current.applications += change;
        days.put(Day { day: calendar(event, 10), applications: current.applications });
        Ok(())
    }
}

fn stock(dialect: Dialect) -> Definition {
    let (big, text) = (bigint(dialect), text(dialect));
    let (boolean, yes) = if dialect == Dialect::Sqlite { ("integer", "1") } else { ("boolean", "true") };
    let day = "insert into days select substr($time, 1, 10), applications from stock where true
        on conflict (day) do update set applications = excluded.applications;";
    parse(
        "stock_in_sql",
        &format!(
            "-- dialect: {dialect}
            create table open (loan {text} primary key, amount {text} not null, since {text} not null);
            create table stock (one {boolean} primary key, applications {big});
            create table days (day {text} primary key, applications {big});
            -- on loan.a_submitted
            insert into open values ($entity, :amount_req, $time);
            insert into stock values ({yes}, 1) on conflict (one) do update set applications = stock.applications + 1;
            {day}
            -- on loan.a_approved, loan.a_declined, loan.a_cancelled
            update stock set applications = applications - (select count(*) from open where loan = $entity);
            delete from open where loan = $entity;
            {day}"
        ),
    )
}
