//! The database away, without rights, tampered with: a clear state, nothing lost, other views run on.

use gesta_core::*;
use gesta_views::*;

use crate::support::*;

const IN_SQLITE: &str = "-- dialect: sqlite
create table counts (n integer not null);
insert into counts values (0);
-- on deposited
update counts set n = n + 1;";

#[test]
fn a_database_that_is_down_holds_up_its_views_only_and_they_go_on_when_it_is_back() {
    let Some(mut site) = Site::own() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    site.server.stop();
    let definitions = vec![definition(BALANCES), Definition::parse("counts", IN_SQLITE).unwrap()];
    let views =
        Views::open_with(store.clone(), folder.path().into(), definitions, &site.options(10)).unwrap();
    let counted = |expected: i64, head: &Checkpoint| {
        pollster::block_on(views.wait_for("counts", head)).unwrap();
        let answer = views.query("counts", "select n from counts", &[], &QueryLimits::default()).unwrap();
        assert_eq!(answer.rows, integers(&[expected]));
    };
    counted(30, &head);
    let error = error_in(&views, "retrying");
    assert!(error.contains("cannot connect in the PostgreSQL database `postgres`"), "{error}");
    assert!(error.contains("the view tries again until the database answers"), "{error}");
    site.server.start_again();
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
    // Gone later.
    site.server.stop();
    let head = append_deposits(&store, 30..60);
    counted(60, &head);
    error_in(&views, "retrying");
    let error = views.query("balances", TOTALS, &[], &QueryLimits::default()).unwrap_err();
    assert!(matches!(error, QueryError::Busy { .. }), "{error}");
    site.server.start_again();
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 60, 60]));
}

#[test]
fn missing_rights_and_logins_are_named_and_a_grant_is_enough() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    let (runner, reader) = (site.runner(), site.reader());
    site.sql(&format!("revoke create on database postgres from {runner}; drop role {reader}"));
    let views = open(&site, &store, folder.path(), BALANCES);
    let error = error_in(&views, "retrying");
    assert!(
        error.contains("permission denied for database") && error.contains("grant create on database"),
        "{error}"
    );
    site.sql(&format!("grant create on database postgres to {runner}"));
    let error = || views.state("balances").unwrap().error().map(ToString::to_string).unwrap_or_default();
    wait_until("the missing login", || error().contains("does not exist"));
    assert!(error().contains("`create role … login`"), "{}", error());
    site.sql(&format!("create role {reader} login"));
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
}

#[test]
fn tables_and_schemas_that_somebody_dropped_are_built_anew() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    let version = format!("\"{}_balances_{}\"", site.prefix, &definition(BALANCES).hash()[..8]);
    for harm in [format!("drop schema {version} cascade"), format!("drop table {version}.balances cascade")] {
        wait(&open(&site, &store, folder.path(), BALANCES), &head);
        site.sql(&harm);
        let views = open(&site, &store, folder.path(), BALANCES);
        let rebuilt = || pollster::block_on(views.status("balances")).unwrap().rebuilt;
        wait_until(&harm, || rebuilt().is_some());
        wait(&views, &head);
        assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]), "{harm}");
    }
}

#[test]
fn a_view_that_is_ahead_of_a_restored_log_is_rebuilt() {
    let Some(site) = Site::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let full = store_of(1);
    let head = append_deposits(&full, 0..30);
    wait(&open(&site, &full, folder.path(), BALANCES), &head);
    let restored = store_of(1);
    let head = append_deposits(&restored, 0..12);
    let views = open(&site, &restored, folder.path(), BALANCES);
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 12, 12]));
    let rebuilt = pollster::block_on(views.status("balances")).unwrap().rebuilt.unwrap();
    assert!(rebuilt.contains("lies beyond the head of the log"), "{rebuilt}");
}
