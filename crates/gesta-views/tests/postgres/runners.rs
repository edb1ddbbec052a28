//! Several runners of one view: one writes, the others stand by. And several stores with one prefix.

use gesta_views::*;

use crate::support::*;

#[test]
fn a_second_runner_stands_by_and_takes_over_once_the_first_one_is_silent() {
    let Some(site) = Site::shared() else { return };
    let (store, first, second) = (store_of(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    let one = open(&site, &store, first.path(), BALANCES);
    wait(&one, &head);
    let two = open(&site, &store, second.path(), BALANCES);
    let error = error_in(&two, "retrying");
    assert!(
        error.contains("stands by, and takes over once the other one's heartbeat is 15 s old"),
        "{error}"
    );
    // It answers queries meanwhile, and its places follow.
    assert_eq!(rows(&two, TOTALS), integers(&[10, 30, 30]));
    let head = append_deposits(&store, 30..45);
    wait(&two, &head);
    assert_eq!(query(&two, TOTALS).unwrap().checkpoint, head);
    let shared = format!("\"{}\"", site.prefix);
    assert_eq!(site.one(&format!("select fence from {shared}.view")), "1");
    // The first one falls silent, as a process does that is stopped by a signal: its id is no longer the one that beats.
    site.sql(&format!("update {shared}.view set runner = 'silent'"));
    site.until(&format!("select fence from {shared}.view"), |fence| fence != "1");
    wait(&two, &head);
    // The first one finds out at its next page.
    let head = append_deposits(&store, 45..60);
    wait(&two, &head);
    let error = error_in(&one, "retrying");
    assert!(error.contains("stands by"), "{error}");
    assert_eq!(rows(&two, TOTALS), integers(&[10, 60, 60]));
    // And takes over when the second one ends.
    drop(two);
    let head = append_deposits(&store, 60..90);
    wait(&one, &head);
    assert_eq!(rows(&one, TOTALS), integers(&[10, 90, 90]));
}

#[test]
fn the_same_folder_goes_on_at_once_though_its_heartbeat_is_fresh() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    let views = open(&site, &store, folder.path(), BALANCES);
    wait(&views, &head);
    drop(views);
    // As after a kill: nothing was given up.
    let id = std::fs::read_to_string(folder.path().join("postgres-runner")).unwrap();
    site.sql(&format!(
        "insert into \"{}\".runner values ('{id}', clock_timestamp() + interval '1 hour')",
        site.prefix
    ));
    let head = append_deposits(&store, 30..60);
    let views = open(&site, &store, folder.path(), BALANCES);
    wait(&views, &head);
    assert_eq!(rows(&views, TOTALS), integers(&[10, 60, 60]));
}

#[test]
fn a_second_store_with_the_same_prefix_is_refused() {
    let Some(site) = Site::shared() else { return };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, other) = (store_of(1), store_of(2));
    let head = append_deposits(&store, 0..30);
    let views = open(&site, &store, one.path(), BALANCES);
    wait(&views, &head);
    append_deposits(&other, 0..3);
    let error = error_in(&open(&site, &other, two.path(), BALANCES), "stopped");
    assert!(
        error.contains("belongs to the views of the store") && error.contains("choose another `prefix`"),
        "{error}"
    );
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
}

/// View `a_b` of `shop` and view `b` of `shop_a` would share a schema.
#[test]
fn a_prefix_that_continues_another_one_is_refused() {
    let Some(site) = Site::shared() else { return };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store_of(1);
    let head = append_deposits(&store, 0..3);
    wait(&open(&site, &store, one.path(), BALANCES), &head);
    let longer = site
        .url()
        .to_string()
        .replace(&format!("prefix={}", site.prefix), &format!("prefix={}_a", site.prefix));
    let options = Options { postgres: Some(longer.parse().unwrap()), ..Options::default() };
    let definitions = vec![definition(BALANCES)];
    let views = Views::open_with(store_of(2), two.path().to_owned(), definitions, &options).unwrap();
    let error = error_in(&views, "stopped");
    assert!(error.contains(&format!("the views of `{}` could have the same names", site.prefix)), "{error}");
}

#[test]
fn an_older_version_stops_where_it_ran_and_comes_back_where_it_is_started_again() {
    let Some(site) = Site::shared() else { return };
    let (store, first, second) = (store_of(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    let old = open(&site, &store, first.path(), BALANCES);
    wait(&old, &head);
    let cents = BALANCES.replace(":amount, 1)", ":amount * 100, 1)");
    let new = open(&site, &store, second.path(), &cents);
    // The runner of the old version finds that out at its next page.
    site.until(&format!("select sum(amount) from \"{}_balances\".balances", site.prefix), |sum| {
        sum == "3000"
    });
    let head = append_deposits(&store, 30..60);
    let error = error_in(&old, "stopped");
    assert!(error.contains("another process serves a newer version"), "{error}");
    wait(&new, &head);
    assert_eq!(rows(&new, TOTALS), integers(&[10, 6_000, 60]));
    // A deployment that is taken back.
    drop(new);
    old.restart("balances").unwrap();
    wait(&old, &head);
    site.until(&format!("select sum(amount) from \"{}_balances\".balances", site.prefix), |sum| sum == "60");
    assert_eq!(rows(&old, TOTALS), integers(&[10, 60, 60]));
}

#[test]
fn a_runner_that_stands_by_with_an_older_version_does_not_take_the_view_back() {
    let Some(site) = Site::shared() else { return };
    let (store, folders) = (store_of(1), [(); 3].map(|()| tempfile::tempdir().unwrap()));
    let head = append_deposits(&store, 0..30);
    let old = open(&site, &store, folders[0].path(), BALANCES);
    wait(&old, &head);
    let standby = open(&site, &store, folders[1].path(), BALANCES);
    let error = error_in(&standby, "retrying");
    assert!(error.contains("stands by"), "{error}");
    let new = open(&site, &store, folders[2].path(), &BALANCES.replace(":amount, 1)", ":amount * 100, 1)"));
    let sum = format!("select sum(amount) from \"{}_balances\".balances", site.prefix);
    site.until(&sum, |sum| sum == "3000");
    drop(old);
    let error = error_in(&standby, "stopped");
    assert!(error.contains("another process serves a newer version"), "{error}");
    let head = append_deposits(&store, 30..60);
    wait(&new, &head);
    assert_eq!(rows(&new, TOTALS), integers(&[10, 6_000, 60]));
}

#[test]
fn a_runner_that_stands_by_does_not_end_a_rollback() {
    let Some(site) = Site::shared() else { return };
    let (store, first, second) = (store_of(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    wait(&open(&site, &store, first.path(), BALANCES), &head);
    let cents = BALANCES.replace(":amount, 1)", ":amount * 100, 1)");
    let views = open(&site, &store, first.path(), &cents);
    let sum = format!("select sum(amount) from \"{}_balances\".balances", site.prefix);
    site.until(&sum, |sum| sum == "3000");
    views.roll_back("balances").unwrap();
    site.until(&sum, |sum| sum == "30");
    let standby = open(&site, &store, second.path(), BALANCES);
    let error = error_in(&standby, "retrying");
    assert!(error.contains("stands by"), "{error}");
    let rollbacks = format!("select count(*) from \"{}\".view where instead_of is not null", site.prefix);
    assert_eq!(site.one(&rollbacks), "1");
}

#[test]
fn a_view_needs_its_database_and_names_that_fit() {
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let open = |name: &str, url: Option<&str>| {
        let definition = Definition::parse(name, BALANCES).unwrap();
        let postgres = url.map(|url| url.parse().unwrap());
        let options = Options { postgres, ..Options::default() };
        Views::open_with(store.clone(), folder.path().into(), vec![definition], &options)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        open("balances", None),
        "the view `balances` is one for PostgreSQL, and no database was given: name it with `--views-db postgres://…` \
         (in the library, `Options::postgres`), or let the dialect be `sqlite`"
    );
    let long = "a".repeat(45);
    assert_eq!(
        open(&long, Some("postgres://u@127.0.0.1/d?prefix=a_long_prefix&reader=r")),
        format!(
            "the view `{long}` with the prefix `a_long_prefix` needs names that are 5 bytes too long for PostgreSQL: shorten one of them"
        )
    );
}

/// An event that is applied twice fails.
const ENTRIES: &str = "-- dialect: postgres
create table entries (position bigint primary key);
-- on deposited
insert into entries values ($position);
";

#[test]
fn a_runner_that_was_taken_over_stands_by_though_the_rows_of_the_other_one_are_in_its_way() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    let views = open(&site, &store, folder.path(), ENTRIES);
    wait(&views, &head);
    // Another process takes the view over, and applies the next event first.
    let schema = format!("\"{}_balances_{}\"", site.prefix, &definition(ENTRIES).hash()[..8]);
    site.sql(&format!(
        "begin; insert into \"{0}\".runner values ('other', clock_timestamp() + interval '1 hour');
         update \"{0}\".view set runner = 'other', fence = fence + 1; insert into {schema}.entries values (31); commit",
        site.prefix
    ));
    append_deposits(&store, 30..33);
    wait_until("it stands by", || {
        let state = views.state("balances").unwrap();
        assert_ne!(state.name(), "stopped", "{:?}", state.error());
        state.error().is_some_and(|error| matches!(**error, RunError::StandsBy { .. }))
    });
}

#[test]
fn a_runner_that_stands_by_claims_no_older_version() {
    let Some(site) = Site::shared() else { return };
    let (store, first, second) = (store_of(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    wait(&open(&site, &store, first.path(), ENTRIES), &head);
    let one = open(&site, &store, first.path(), BALANCES);
    pollster::block_on(one.wait_until_built("balances")).unwrap();
    let old = &definition(ENTRIES).hash();
    let row = format!(
        "select coalesce(runner, 'nobody') || fence from \"{}\".view where hash = '{old}'",
        site.prefix
    );
    // The one that runs the view follows the older version too. It seems to have given it up.
    let runner = std::fs::read_to_string(first.path().join("postgres-runner")).unwrap();
    site.until(&row, |row| row.starts_with(&runner));
    site.sql(&format!("update \"{}\".view set runner = null where hash = '{old}'", site.prefix));
    let given_up = site.one(&row);
    let two = open(&site, &store, second.path(), BALANCES);
    // It shows this place once it has tried again, and stood by again.
    assert!(error_in(&two, "retrying").contains("stands by"));
    wait(&two, &append_deposits(&store, 30..33));
    drop(two);
    assert_eq!(site.one(&row), given_up);
}
