//! Views over an encrypted connection.

use gesta_views::*;
use test_servers::{Authority, Postgres};

use crate::support::*;

#[test]
fn views_are_written_and_queried_over_tls_and_a_server_of_another_authority_is_refused() {
    if !is_wanted() {
        return;
    }
    let authority = Authority::new();
    let own = authority.issue("db", &["IP:127.0.0.1"]);
    let files = [("server.crt", own.certificate.as_bytes()), ("server.key", own.key.as_bytes())];
    let Some(server) = Postgres::start_with(&files, &["ssl=on", "fsync=off"]) else { return };
    let site = Site::on(server);
    let options = |authority: &Authority| {
        let roots = authority.file();
        let url = format!("{}&sslmode=verify-full&sslrootcert={}", site.url(), roots.display());
        Options { postgres: Some(url.parse().unwrap()), ..site.options(100) }
    };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let open = |options: &Options| {
        let definitions = vec![definition(BALANCES)];
        Views::open_with(store.clone(), folder.path().to_owned(), definitions, options).unwrap()
    };
    let other = Authority::new();
    let views = open(&options(&other));
    let said = error_in(&views, "retrying");
    assert!(said.contains("not signed by an authority of"), "{said}");
    drop(views);
    let views = open(&options(&authority));
    let place = append_deposits(&store, 0..30);
    wait(&views, &place);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
    // The reader's connection is kept.
    let encrypted =
        "select string_agg(distinct ssl::text, ' ') from pg_stat_ssl join pg_stat_activity using (pid)
        where application_name = 'gesta views'";
    assert_eq!(site.one(encrypted), "true");
}
