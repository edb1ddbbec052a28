//! A figure: a million events into a view in PostgreSQL, beside a projector that commits each event.
//!
//! `cargo run -p test-servers -- with postgres -- cargo test --profile simulation -p gesta-views --features postgres --test postgres speed
//! -- --ignored --nocapture`

use std::time::Instant;

use gesta_core::*;
use gesta_views::*;
use tokio_postgres::NoTls;

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
