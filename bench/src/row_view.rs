//! Builds the same view in SQL and in Rust from a million events of the log, in SQLite and in PostgreSQL.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bench_core::{Meter, Process, Rival as _, append_line, median_by, runtime};
use gesta::{Event, Recorded, Row, RowView, Rows, ViewError, row_view};
use gesta_core::{EventStore, When};
use gesta_log::LogStore;
use gesta_views::{Definition, Dialect, Options, PostgresUrl, QueryLimits, SqlValue, Views};
use tokio_postgres::NoTls;

use crate::asked::Asked;
use crate::rivals::postgres::{CommitDelay, Postgres};
use crate::view::{EVENTS, fill};

/// Keys that repeat, as in the data of a bank, and keys that repeat ten times.
const ACCOUNTS: [u64; 2] = [4_500, 100_000];

#[derive(Debug, Event)]
#[event(prefix = "bank")]
enum Deposits {
    #[event(name = "deposited")]
    Deposited { amount: i64 },
}

#[derive(Clone, Row)]
#[row("balances")]
struct Balance {
    #[row(key)]
    account: String,
    amount: i64,
    deposits: i64,
}

struct Balances;

impl RowView for Balances {
    const NAME: &'static str = "balances";
    type Event = Deposits;
    type Rows = Balance;

    fn apply(&self, rows: &mut Rows<Balance>, event: &Recorded<Deposits>) -> Result<(), ViewError> {
        let Deposits::Deposited { amount } = event.event;
        let (_, account) = event.stream().split_once('-').ok_or("not the stream of an account")?;
        let new = || Balance { account: account.to_owned(), amount: 0, deposits: 0 };
        let row = rows.get_or_put(account, new)?;
        (row.amount, row.deposits) = (row.amount + amount, row.deposits + 1);
        Ok(())
    }
}

/// The same in SQL.
fn in_sql(dialect: Dialect) -> Definition {
    let (big, end) = match dialect {
        Dialect::Sqlite => ("integer", "strict, without rowid"),
        _ => ("bigint", ""),
    };
    let text = format!(
        "-- dialect: {dialect}
        create table balances (account text primary key, amount {big} not null, deposits {big} not null) {end};
        -- on deposited
        -- require: amount
        insert into balances values ($entity, :amount, 1)
        on conflict (account) do update set amount = balances.amount + excluded.amount, deposits = balances.deposits + 1;"
    );
    Definition::parse("balances", &text).expect("a definition")
}

pub fn run(asked: &Asked) {
    let folder = bench_core::folder();
    let server = Postgres::start(folder.path(), CommitDelay::None);
    let site = Site { server, prefixes: Cell::new(0) };
    site.make_logins();
    println!("\n### a view of 1,000,000 events, in SQL and in Rust\n");
    println!("| rows | database | view in | s | events/s | processor, s |");
    println!("| ---: | --- | --- | ---: | ---: | ---: |");
    for accounts in ACCOUNTS {
        let folder = bench_core::folder();
        let log = LogStore::open(folder.path(), &gesta_log::Options::default()).expect("a log");
        let log = Arc::new(log);
        fill(&log, accounts);
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            for language in ["SQL", "Rust"] {
                let definition = || match language {
                    "SQL" => in_sql(dialect),
                    _ => row_view(Balances, dialect),
                };
                let round = |_| build(&log, definition(), &site, accounts);
                let rounds = (0..asked.rounds).map(round).collect::<Vec<_>>();
                let Built { seconds, processor } = *median_by(&rounds, |built| built.seconds);
                let rate = EVENTS as f64 / seconds;
                println!(
                    "| {accounts} | {dialect} | {language} | {seconds:.2} | {rate:.0} | {processor:.2} |"
                );
                let heading = "rows,database,view_in,seconds,events_per_second,processor_seconds";
                let row = format!("{accounts},{dialect},{language},{seconds:.2},{rate:.0},{processor:.2}");
                append_line(&asked.out.join("row_views.csv"), heading, &row);
            }
        }
    }
}

/// The times that the build of a view took.
struct Built {
    seconds: f64,
    /// The processor time of this process and of the server, which other work on the machine changes little.
    processor: f64,
}

fn build(log: &Arc<LogStore>, definition: Definition, site: &Site, accounts: u64) -> Built {
    let folder = bench_core::folder();
    let options = Options { postgres: Some(site.next()), ..Options::default() };
    let meters = [Process::Own, site.server.process()].map(|process| Meter::start(process, folder.path()));
    let begun = Instant::now();
    let store = Arc::clone(log) as Arc<dyn EventStore>;
    let views = Views::open_with(store, Path::new(folder.path()).join("views"), vec![definition], &options);
    let views = views.expect("views");
    let head = pollster::block_on(log.locate(When::Head)).expect("the head");
    pollster::block_on(views.wait_for("balances", &head)).expect("the view catches up");
    let seconds = begun.elapsed().as_secs_f64();
    let processor = meters.into_iter().map(|meter| meter.stop().processor.as_secs_f64()).sum();
    let sums = "select count(*), cast(sum(deposits) as bigint) from balances";
    let answer = views.query("balances", sums, &[], &QueryLimits::default()).expect("an answer");
    let expected = [accounts, EVENTS].map(|n| SqlValue::Integer(i64::try_from(n).expect("it fits")));
    assert_eq!(answer.rows, [expected]);
    Built { seconds, processor }
}

/// A server, and the prefixes that are taken.
struct Site {
    server: Postgres,
    prefixes: Cell<u32>,
}

impl Site {
    fn make_logins(&self) {
        let sql =
            "create role runner login; create role reader login; grant create on database postgres to runner";
        runtime().block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.server.url(), NoTls).await.expect("a server");
            runtime().spawn(async move { drop(connection.await) });
            client.batch_execute(sql).await.expect("two logins");
        });
    }

    /// The address of a prefix of its own.
    fn next(&self) -> PostgresUrl {
        let number = self.prefixes.get();
        self.prefixes.set(number + 1);
        let address = self.server.url().replace("postgres@", "runner@");
        format!("{address}?prefix=bench{number}x&reader=reader").parse().expect("an address")
    }
}
