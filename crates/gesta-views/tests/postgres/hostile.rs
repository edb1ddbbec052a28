//! What definitions and queries may not do, by their logins.

use std::time::Duration;

use gesta_views::*;

use crate::support::*;

#[test]
fn a_definition_that_a_rebuild_would_answer_differently_is_refused() {
    let Some(site) = Site::shared() else { return };
    let refused = |schema: &str, handler: &str, reason: &str| {
        let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
        append_deposits(&store, 0..3);
        let text = format!("-- dialect: postgres\n{schema};\n-- on deposited\n{handler};");
        let views = open(&site, &store, folder.path(), &text);
        let error = error_in(&views, "stopped");
        assert!(error.contains(reason), "{schema}; {handler}\n{error}");
    };
    let table = "create table t (a text, at timestamptz, n bigint)";
    for (handler, reason) in [
        (
            "insert into t (n) values (random() * 10)",
            "balances.sql:4: `insert into t (n) values (random() * 10)` is not allowed: the statement calls `random()`",
        ),
        ("insert into t (at) values (now())", "calls `now()`, whose result is another one in a rebuilt view"),
        ("insert into t (at) values (current_timestamp)", "reads the clock, the login or a sequence"),
        (
            "insert into t (at) values ('today 10:00 UTC')",
            "the statement names a time of the clock in a text",
        ),
        ("insert into t (at) values (timestamptz 'today 10:00 UTC')", "names a time of the clock"),
        ("insert into t (at) values (E'\\x6eow')", "names a time of the clock"),
        ("insert into t (at) values (U&'\\006eow')", "names a time of the clock"),
        ("insert into t (at) values (lower('[today 10:00 UTC,)'::tstzrange))", "names a time of the clock"),
        ("insert into t (at) select unnest('{today 10:00 UTC}'::timestamptz[])", "names a time of the clock"),
        ("insert into t (at) values ('today 10:00 UTC'::text::timestamptz)", "names a time of the clock"),
        ("insert into t (at) values (timestamptz_in('today UTC', 0, -1))", "names a time of the clock"),
        (
            "insert into t (at) select (jsonb_populate_record(null::t, '{\"at\": \"now\"}')).at",
            "names a time of the clock",
        ),
        ("insert into t (a) values (current_user)", "reads the clock, the login or a sequence"),
        ("insert into t (a) values (current_setting('timezone'))", "calls `current_setting()`"),
        ("insert into t (n) select lo_create(0)::bigint", "calls `lo_create()`"),
        ("insert into t (a) values (set_config('role', 'postgres', false))", "calls `set_config()`"),
        ("insert into t (a) values (pg_read_file('/etc/passwd'))", "calls `pg_read_file()`"),
        (
            "insert into t (a) select relname from pg_class",
            "uses the table pg_class, which is not of this view",
        ),
        ("delete from pg_catalog.pg_proc", "uses the table pg_proc"),
        (
            "insert into nothing values (1)",
            "balances.sql:4: PostgreSQL refuses `insert into nothing values (1)`: relation \"nothing\" does not exist",
        ),
        ("insert into t (a) values (:x) returning a", "returns rows"),
    ] {
        refused(table, handler, reason);
    }
    for (schema, reason) in [
        ("create table t (id bigserial, a text)", "the default of `t.id` calls `nextval()`"),
        ("create table t (id bigint generated always as identity, a text)", "the identity column `t.id`"),
        ("create table t (a text, at timestamptz default now())", "the default of `t.at` calls `now()`"),
        ("create table t (a text check (a <> random()::text))", "calls `random()`"),
        (
            "create table t (a nothing)",
            "balances.sql:2: PostgreSQL refuses `create table t (a nothing)`: type \"nothing\" does not exist",
        ),
    ] {
        refused(schema, "insert into t (a) values ('x')", reason);
    }
    let left = format!("select count(*) from pg_namespace where nspname like '{}_balances%'", site.prefix);
    assert_eq!(site.one(&left), "0", "a refused definition leaves nothing behind");
}

#[test]
fn a_text_with_a_word_of_the_clock_is_stored_as_it_is() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..1);
    let text = "-- dialect: postgres
        create table balances (a text, at timestamptz, n bigint);
        -- on deposited
        insert into balances values ('come now' || E' it\\'s today\\n', null, 1) on conflict do nothing;
        update balances set at = $recorded_at, n = 2::bigint where a like 'come now%' and a <> all ('{later,soon}');";
    let views = open(&site, &store, folder.path(), text);
    wait(&views, &head);
    let answer = query(&views, "select a, n from balances where at is not null").unwrap();
    let expected = vec![SqlValue::Text("come now it's today\n".to_owned()), SqlValue::Integer(2)];
    assert_eq!(answer.rows, [expected]);
}

#[test]
fn a_query_may_have_limits_without_end() {
    let Some((_site, views, _folder)) = served() else { return };
    let limits = QueryLimits { time: Duration::MAX, rows: usize::MAX, bytes: usize::MAX, cancel: None };
    let answer = views.query("balances", "select count(*) from balances", &[], &limits).unwrap();
    assert_eq!(answer.rows.len(), 1);
}

/// A view of balances with a few rows, on a server that nobody else uses.
fn served() -> Option<(Site, Views, tempfile::TempDir)> {
    let site = Site::shared()?;
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    let views = open(&site, &store, folder.path(), BALANCES);
    wait(&views, &head);
    Some((site, views, folder))
}

#[test]
fn a_query_cannot_write_or_leave_anything_behind() {
    let Some((site, views, _folder)) = served() else { return };
    let refused = [
        "delete from balances",
        "with gone as (delete from balances returning *) select * from gone",
        "select 1; delete from balances",
        "select 1; commit; delete from balances",
        "commit",
        "rollback",
        "begin",
        "set role postgres",
        "set session characteristics as transaction read write",
        "reset all",
        "copy balances to '/tmp/stolen'",
        "do $$ begin perform 1; end $$",
        "create temp table t (a int)",
        "select * into stolen from balances",
        "select * from balances for update",
        "listen x",
        "lock table balances",
        "prepare p as select 1",
        "explain analyze select 1",
        "select pg_read_file('/etc/passwd')",
        "select pg_ls_dir('/')",
        "select lo_import('/etc/passwd')",
        "select pg_reload_conf()",
        "",
        "-- nothing",
    ];
    for sql in refused {
        assert!(query(&views, sql).is_err(), "{sql}");
    }
    for table in ["view", "parked", "runner", "store"] {
        let error =
            query(&views, &format!("select * from \"{}\".{table}", site.prefix)).unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{table}: {error}");
    }
    // These succeed in a read-only transaction of PostgreSQL. The rollback and the next query's limits undo them.
    for sql in [
        "select set_config('role', 'postgres', false)",
        "select set_config('default_transaction_read_only', 'off', false), set_config('transaction_read_only', 'on', false)",
        "select set_config('statement_timeout', '0', false), set_config('search_path', 'public', false)",
        "select lo_create(0)",
        "select pg_notify('x', 'y')",
        "select pg_advisory_lock(7), pg_try_advisory_lock(8)",
    ] {
        drop(query(&views, sql));
        assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]), "after {sql}");
        assert!(query(&views, "delete from balances").is_err());
    }
    let reader = site.reader();
    assert_eq!(
        site.one(&format!(
            "select count(*) from pg_largeobject_metadata where lomowner = '{reader}'::regrole"
        )),
        "0"
    );
    let held = "select count(*) from pg_locks l join pg_stat_activity a using (pid) where locktype = 'advisory' and usename";
    assert_eq!(site.one(&format!("{held} = '{reader}'")), "0");
    let user = rows(&views, "select current_user::text, current_setting('transaction_read_only')");
    assert_eq!(user, [[SqlValue::from(reader.as_str()), SqlValue::from("on")]]);
}

#[test]
fn a_query_ends_at_each_of_its_limits() {
    let Some((site, views, _folder)) = served() else { return };
    let limited = |sql: &str, limits: &QueryLimits| views.query("balances", sql, &[], limits);
    let base = || QueryLimits { time: Duration::from_secs(60), ..QueryLimits::default() };
    let short = QueryLimits { time: Duration::from_millis(200), ..base() };
    let error = limited("select pg_sleep(3600)::text", &short).unwrap_err();
    assert!(matches!(error, QueryError::TimeLimit { .. }), "{error}");
    // The server has stopped working on it too.
    let running = format!(
        "select count(*) from pg_stat_activity where usename = '{}' and state = 'active'",
        site.reader()
    );
    site.until(&running, |running| running == "0");
    let few = QueryLimits { rows: 1_500, ..base() };
    let error = limited("select n from generate_series(1, 1000000) n", &few).unwrap_err();
    assert!(matches!(error, QueryError::TooManyRows { rows: 1_500 }), "{error}");
    assert_eq!(limited("select n from generate_series(1, 1500) n", &few).unwrap().rows.len(), 1_500);
    for sql in ["select repeat('x', 300000000)", "select repeat('x', 100000) from generate_series(1, 1000)"] {
        let error = limited(sql, &base()).unwrap_err();
        assert!(matches!(error, QueryError::TooManyBytes { .. }), "{sql}: {error}");
    }
    let cancel = Cancel::default();
    let cancelled = QueryLimits { cancel: Some(cancel.clone()), ..base() };
    std::thread::scope(|scope| {
        let query = scope.spawn(|| limited("select pg_sleep(3600)::text", &cancelled));
        site.until(&running, |running| running == "1");
        cancel.cancel();
        assert!(matches!(query.join().unwrap().unwrap_err(), QueryError::Cancelled));
    });
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
}

#[test]
fn parameters_and_statements_are_checked_as_on_sqlite() {
    let Some((_place, views, _folder)) = served() else { return };
    let ask = |sql: &str, name: &str| {
        let parameters = [(name.to_owned(), SqlValue::Integer(3))];
        views.query("balances", sql, &parameters, &QueryLimits::default()).map(|answer| answer.rows)
    };
    assert_eq!(ask("select deposits from balances where amount = :n and :n > 0", "n").unwrap().len(), 10);
    let error = |sql: &str, name: &str| ask(sql, name).unwrap_err().to_string();
    assert!(error("select :m::int", "n").contains("the parameter `:m` of the query has no value"));
    assert!(error("select 1", "n").contains("the query has no parameter `n`"));
    assert!(error("select $1::int", "n").contains("parameter 1 of the query has no name"));
    assert!(error("select 1; select 2", "n").contains("more than one statement"));
    assert!(error("select nothing", "n").contains("the query has no parameter"));
    let error = query(&views, "select nothing").unwrap_err().to_string();
    assert_eq!(error, "PostgreSQL refuses the query: column \"nothing\" does not exist");
}

#[test]
fn the_lines_of_check_roles_leave_a_reader_nothing_but_reading() {
    let Some(site) = Site::own() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..30);
    let views = open(&site, &store, folder.path(), BALANCES);
    wait(&views, &head);
    site.sql(&format!("alter role {} createdb; grant pg_read_server_files to {0}", site.reader()));
    let lines = check_roles(&site.url()).unwrap();
    for expected in [
        "nocreatedb",
        "revoke pg_read_server_files",
        "lo_create(oid)",
        "pg_notify(text,text)",
        "revoke temporary",
    ] {
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected}: {lines:#?}");
    }
    site.sql(&lines.join("\n"));
    assert_eq!(check_roles(&site.url()).unwrap(), Vec::<String>::new());
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
    for sql in ["select lo_create(0)", "select pg_notify('x', 'y')", "select pg_advisory_lock(1)"] {
        let error = query(&views, sql).unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{sql}: {error}");
    }
    site.sql(&format!("drop owned by {0}; drop role {0}", site.reader()));
    let error = check_roles(&site.url()).unwrap_err().to_string();
    assert!(error.contains("create role"), "{error}");
}

#[test]
fn a_login_that_may_read_everything_answers_no_query() {
    let Some(site) = Site::shared() else { return };
    let (store, folder) = (store_of(1), tempfile::tempdir().unwrap());
    let head = append_deposits(&store, 0..1);
    let text = "-- dialect: postgres\ncreate table balances (n bigint);\n-- on deposited\ninsert into balances values (1);";
    for (grant, revoke) in [
        ("alter role ? superuser", "alter role ? nosuperuser"),
        ("grant pg_read_all_data to ?", "revoke pg_read_all_data from ?"),
        ("grant pg_read_server_files to ?", "revoke pg_read_server_files from ?"),
    ] {
        let views = open(&site, &store, folder.path(), text);
        wait(&views, &head);
        site.sql(&grant.replace('?', &site.reader()));
        let refused = query(&views, "select pg_read_file('/etc/hostname')").unwrap_err();
        assert!(matches!(refused, QueryError::NotAllowed { .. }), "{refused}");
        site.sql(&revoke.replace('?', &site.reader()));
        query(&views, "select n from balances").unwrap();
    }
}
