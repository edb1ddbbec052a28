//! A figure: a million events into a view in PostgreSQL, beside a projector that commits each event.
//!
//! `cargo run -p test-servers -- with postgres -- cargo test --profile simulation -p gesta-views --features postgres --test postgres speed
//! -- --ignored --nocapture`

use std::time::Instant;

use gesta_core::*;
use gesta_views::*;
use tokio_postgres::NoTls;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

use crate::support::*;

const EVENTS: u64 = 1_000_000;
const ACCOUNTS: u64 = 4_500;

/// Events that the slow projector commits: it would take minutes for all.
const SINGLE: u64 = 20_000;

#[test]
#[ignore = "a figure, not a check"]
fn a_million_events_into_a_view() {
    // A server of its own, as it comes: it syncs.
    let Some(server) = test_servers::Postgres::start(&[]) else { return };
    let site = Site::on(server);
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let numbers = (0..EVENTS).collect::<Vec<_>>();
    let deposit = |number: &u64| {
        // A multiplier spreads the accounts, so that neighbours differ.
        let account = number.wrapping_mul(2_654_435_761) % ACCOUNTS;
        event(number + 1, &format!("account-{account}"), "deposited", r#"{"amount": 1}"#)
    };
    let mut head = None;
    for chunk in numbers.chunks(1_000) {
        let batch = Batch::new(chunk.iter().map(deposit).collect::<Vec<_>>());
        head = Some(store.append_now(batch).unwrap().checkpoint);
    }
    let begun = Instant::now();
    let definitions = vec![definition(BALANCES)];
    let views =
        Views::open_with(store.clone(), folder.path().into(), definitions, &site.options(10_000)).unwrap();
    wait(&views, &head.unwrap());
    let view = begun.elapsed().as_secs_f64();
    let sums = [SqlValue::Integer(4_500), SqlValue::Integer(1_000_000), SqlValue::Integer(1_000_000)];
    assert_eq!(rows(&views, TOTALS), [sums]);
    let single = single(&site);
    let rate = |events: u64, seconds: f64| events as f64 / seconds;
    println!("view, pages of 10,000: {EVENTS} events in {view:.1} s, {:.0} events/s", rate(EVENTS, view));
    println!(
        "a transaction an event: {SINGLE} events in {single:.1} s, {:.0} events/s",
        rate(SINGLE, single)
    );
    println!("the view is {:.0} times as fast", rate(EVENTS, view) / rate(SINGLE, single));
}

/// The seconds of a projector that writes the row and its place in one transaction for each event, with the same statements.
fn single(site: &Site) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut client, connection) = tokio_postgres::connect(site.server.url(), NoTls).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        client
            .batch_execute(
                "create table single (account text primary key, amount bigint not null, deposits bigint not null);
                 create table place (at bigint not null); insert into place values (0)",
            )
            .await
            .unwrap();
        let row = "insert into single values ($1, $2, 1) on conflict (account)
            do update set amount = single.amount + excluded.amount, deposits = single.deposits + 1";
        let (row, place) = (client.prepare(row).await.unwrap(), client.prepare("update place set at = $1").await.unwrap());
        let begun = Instant::now();
        for number in 0..SINGLE {
            let account = (number.wrapping_mul(2_654_435_761) % ACCOUNTS).to_string();
            let at = i64::try_from(number).unwrap();
            let transaction = client.transaction().await.unwrap();
            transaction.execute(&row, &[&account, &1_i64]).await.unwrap();
            transaction.execute(&place, &[&at]).await.unwrap();
            transaction.commit().await.unwrap();
        }
        begun.elapsed().as_secs_f64()
    })
}

/// Rows of a page that is written, and pages of each way.
const ROWS: usize = 4_500;
const PAGES: usize = 50;

const TABLE: &str =
    "(account text collate \"C\" primary key, amount bigint not null, deposits bigint not null)";
const CONFLICT: &str =
    "on conflict (account) do update set amount = excluded.amount, deposits = excluded.deposits";
const BEGIN: &str = "begin; set local synchronous_commit = off";

/// A connection to a server, and the process behind it.
async fn connect(server: &test_servers::Postgres) -> (tokio_postgres::Client, i32) {
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let backend = client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    (client, backend)
}

/// Makes the empty tables `one` and `two`. Returns the statement that writes a page into the first one by arrays.
async fn make_tables(client: &tokio_postgres::Client) -> tokio_postgres::Statement {
    let make = format!("drop table if exists one, two; create table one {TABLE}; create table two {TABLE}");
    client.batch_execute(&make).await.unwrap();
    let arrays =
        format!("insert into one select * from unnest($1::text[], $2::bigint[], $3::bigint[]) {CONFLICT}");
    client.prepare(&arrays).await.unwrap()
}

/// Writes a page of rows by arrays, in a transaction of its own.
async fn write_arrays(
    client: &tokio_postgres::Client,
    arrays: &tokio_postgres::Statement,
    names: &[String],
    amount: i64,
) {
    let amounts = vec![amount; names.len()];
    client.batch_execute(BEGIN).await.unwrap();
    client.execute(arrays, &[&names, &amounts, &amounts]).await.unwrap();
    client.batch_execute("commit").await.unwrap();
}

/// Copies rows into a table, in the transaction that is open.
async fn copy_rows(client: &tokio_postgres::Client, table: &str, names: &[String], amount: i64) {
    let sink = client.copy_in(&format!("copy {table} from stdin binary")).await.unwrap();
    let writer = BinaryCopyInWriter::new(sink, &[Type::TEXT, Type::INT8, Type::INT8]);
    let mut writer = std::pin::pin!(writer);
    for name in names {
        writer.as_mut().write(&[name, &amount, &amount]).await.unwrap();
    }
    writer.finish().await.unwrap();
}

/// The two ways to write many rows of a view in Rust: an array for each column, and `COPY` into a temporary table.
#[test]
#[ignore = "a figure, not a check"]
fn rows_written_by_arrays_and_by_copy() {
    let Some(server) = test_servers::Postgres::start(&[]) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, backend) = connect(&server).await;
        let names = (0..ROWS).map(|account| format!("account-{account}")).collect::<Vec<_>>();
        for round in 0..3 {
            let arrays = make_tables(&client).await;
            let begun = server_seconds(backend);
            for page in 0..PAGES {
                write_arrays(&client, &arrays, &names, i64::try_from(page).unwrap()).await;
            }
            let by_arrays = server_seconds(backend) - begun;
            client.batch_execute("create temporary table page (account text, amount bigint, deposits bigint) on commit delete rows").await.unwrap();
            let copied = client.prepare(&format!("insert into two select * from page {CONFLICT}")).await.unwrap();
            let begun = server_seconds(backend);
            for page in 0..PAGES {
                let amount = i64::try_from(page).unwrap();
                client.batch_execute(BEGIN).await.unwrap();
                copy_rows(&client, "page", &names, amount).await;
                client.execute(&copied, &[]).await.unwrap();
                client.batch_execute("commit").await.unwrap();
            }
            let by_copy = server_seconds(backend) - begun;
            client.batch_execute("drop table page").await.unwrap();
            let micros = |seconds: f64| seconds * 1e6 / (ROWS * PAGES) as f64;
            println!(
                "round {round}: the server's time a row is {:.2} µs by arrays, {:.2} by copy",
                micros(by_arrays),
                micros(by_copy)
            );
        }
    });
}

/// New rows in all, as of the larger view of `bench row-view`, and those of a page.
const NEW_ROWS: usize = 100_000;
const NEW_ROWS_A_PAGE: usize = 20_000;

/// The two ways to write rows whose keys are new, into a table with its primary key: an array for each column, and `COPY`.
#[test]
#[ignore = "a figure, not a check"]
fn new_rows_written_by_arrays_and_by_copy() {
    let Some(server) = test_servers::Postgres::start(&[]) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, backend) = connect(&server).await;
        // A multiplier spreads the accounts, so that neighbours in the index come apart.
        let names = (0..NEW_ROWS).map(|row| format!("account-{}", row * 7_919 % NEW_ROWS)).collect::<Vec<_>>();
        for round in 0..3 {
            let arrays = make_tables(&client).await;
            let begun = (Instant::now(), server_seconds(backend));
            for names in names.chunks(NEW_ROWS_A_PAGE) {
                write_arrays(&client, &arrays, names, 1).await;
            }
            let by_arrays = (begun.0.elapsed().as_secs_f64(), server_seconds(backend) - begun.1);
            let begun = (Instant::now(), server_seconds(backend));
            for names in names.chunks(NEW_ROWS_A_PAGE) {
                client.batch_execute(BEGIN).await.unwrap();
                copy_rows(&client, "two", names, 1).await;
                client.batch_execute("commit").await.unwrap();
            }
            let by_copy = (begun.0.elapsed().as_secs_f64(), server_seconds(backend) - begun.1);
            let micros = |seconds: f64| seconds * 1e6 / NEW_ROWS as f64;
            println!(
                "round {round}: a new row takes {:.2} µs by arrays, {:.2} of them the server's; {:.2} and {:.2} by copy",
                micros(by_arrays.0),
                micros(by_arrays.1),
                micros(by_copy.0),
                micros(by_copy.1)
            );
        }
    });
}

/// The processor time of a backend so far. Other work on the machine does not change it much.
fn server_seconds(backend: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{backend}/stat")).unwrap();
    // The name in brackets may have blanks. After it, the times are the 12th and 13th word, in hundredths of a second.
    let words = stat.rsplit(')').next().unwrap().split_whitespace().collect::<Vec<_>>();
    let ticks = |at: usize| words[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}
