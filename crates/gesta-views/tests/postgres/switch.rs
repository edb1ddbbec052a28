//! A new version takes over under queries: each one sees a whole version, and the answers advance.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use gesta_views::*;

use crate::shared::{WHOLE, check};
use crate::support::*;

fn version(number: u32) -> String {
    crate::shared::version("postgres", number)
}

#[test]
fn queries_see_whole_versions_and_their_answers_advance() {
    const VERSIONS: u32 = 5;
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let mut head = append_deposits(&store, 0..300);
    wait(&open(&site, &store, folder.path(), &version(1)), &head);
    // Queries of another program, with the login of readers.
    let is_over = AtomicBool::new(false);
    let reader = site.address_of(&site.reader());
    // The version of the newest answer of each loop.
    let answered = [0, 0].map(AtomicI64::new);
    std::thread::scope(|scope| {
        let loops = answered.iter().map(|answered| {
            let (reader, site, is_over) = (&reader, &site, &is_over);
            scope.spawn(move || {
                let mut last = (0, 0);
                while !is_over.load(Ordering::SeqCst) {
                    let answer = ask(reader, &site.prefix);
                    let now = check(&answer);
                    assert!(now.0 >= last.0 && now.1 >= last.1, "{now:?} after {last:?}");
                    last = now;
                    answered.store(now.0, Ordering::SeqCst);
                }
            })
        });
        let loops = loops.collect::<Vec<_>>();
        for number in 2..=VERSIONS {
            head = append_deposits(&store, u64::from(number) * 300..u64::from(number) * 300 + 300);
            let views = open(&site, &store, folder.path(), &version(number));
            let serving = format!("select version from \"{}_balances\".counts", site.prefix);
            site.until(&serving, |serving| serving == number.to_string());
            wait(&views, &head);
            assert_eq!(check(&query(&views, WHOLE).unwrap()), (i64::from(number), head.sequence(0)));
            let has_new = |answered: &AtomicI64| answered.load(Ordering::SeqCst) == i64::from(number);
            wait_until("every loop has an answer of the new version", || answered.iter().all(has_new));
        }
        is_over.store(true, Ordering::SeqCst);
        for one in loops {
            one.join().unwrap();
        }
    });
    let schemas =
        format!("select count(*) from pg_namespace where nspname like '{}_balances_%'", site.prefix);
    // The last one, and the one before. What a stop or a query kept from being removed goes with the next open.
    let _views = open(&site, &store, folder.path(), &version(VERSIONS));
    site.until(&schemas, |schemas| schemas == "2");
}

/// One query as a program of somebody else asks it: with the reader's login, on the serving views.
fn ask(address: &str, prefix: &str) -> Rows {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(address, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(&format!("set search_path = \"{prefix}_balances\"")).await.unwrap();
        let whole = format!("{WHOLE}, (select at from gesta_checkpoint)");
        let row = client.query_one(&whole, &[]).await.unwrap();
        let value = |at: usize| row.get::<_, Option<i64>>(at).map_or(SqlValue::Null, SqlValue::Integer);
        let checkpoint = row.get::<_, String>(4).parse().unwrap();
        Rows { columns: Vec::new(), rows: vec![(0..4).map(value).collect()], checkpoint, parked: Vec::new() }
    })
}

#[test]
fn rights_on_serving_views_are_kept_and_what_others_built_on_them_is_named() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    wait(&open(&site, &store, folder.path(), &version(1)), &head);
    let (schema, other) = (format!("\"{}_balances\"", site.prefix), format!("report_{}", site.prefix));
    site.sql(&format!(
        "create role {other} login; grant usage on schema {schema} to {other}; grant select on {schema}.balances to {other};
         create view public.{other} as select * from {schema}.counts"
    ));
    let views = open(&site, &store, folder.path(), &version(2));
    let error = error_in(&views, "retrying");
    assert!(error.contains("cannot drop view") && error.contains(&other), "{error}");
    // The old version is served meanwhile, whole.
    assert_eq!(check(&query(&views, WHOLE).unwrap()), (1, 30));
    site.sql(&format!("drop view public.{other}"));
    site.until(&format!("select version from {schema}.counts"), |version| version == "2");
    let sum = site.sql_as(&other, &format!("select sum(amount) from {schema}.balances")).unwrap();
    assert_eq!(sum, [["60"]]);
}

#[test]
fn a_version_that_serves_since_an_older_release_is_opened_to_the_reader() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    wait(&open(&site, &store, folder.path(), &version(1)), &head);
    let (shared, reader) = (format!("\"{}\"", site.prefix), site.reader());
    let schema = format!("\"{}_balances_{}\"", site.prefix, &definition(&version(1)).hash()[..8]);
    site.sql(&format!(
        "drop view {schema}.gesta_checkpoint; revoke all on all tables in schema {schema} from {reader};
         revoke usage on schema {schema}, {shared} from {reader}; revoke all on {shared}.view from {reader}"
    ));
    let views = open(&site, &store, folder.path(), &version(1));
    wait_until("the reader can read", || query(&views, WHOLE).is_ok());
    assert_eq!(check(&query(&views, WHOLE).unwrap()), (1, 30));
    let place = query(&views, "select at from gesta_checkpoint").unwrap().rows;
    assert_eq!(place, [[SqlValue::from(head.to_string().as_str())]]);
}
