//! Queries: permissions, limits, parameters.

use std::time::Duration;

use gesta_core::*;
use gesta_views::*;

use crate::support::*;

/// A view of thirty deposits.
fn view() -> (Views, Checkpoint, tempfile::TempDir) {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let last = append_deposits(&store, 30);
    let views = open(&store, folder.path());
    wait(&views, &last);
    (views, last, folder)
}

#[test]
fn a_query_only_reads() {
    let (views, _, folder) = view();
    let target = folder.path().join("copy.db").display().to_string();
    let attach = format!("attach '{target}' as x");
    let vacuum = format!("vacuum into '{target}'");
    let cases = [
        ("delete from balances", "only read"),
        ("insert into balances values ('x', 1, 1)", "only read"),
        ("update balances set amount = 0", "only read"),
        ("delete from balances returning *", "only read"),
        ("with x as (select 1) delete from balances", "only read"),
        ("create table t (a)", "only read"),
        ("create temp table t (a)", "only read"),
        ("drop table balances", "only read"),
        ("update gesta_checkpoint set at = ''", "only read"),
        ("delete from sqlite_schema", "may not be modified"),
        (&attach, "`attach` is not for queries"),
        ("detach main", "`detach` is not for queries"),
        (&vacuum, "queries only read"),
        ("pragma query_only = off", "`pragma query_only` is not for queries"),
        ("pragma table_info(balances)", "`pragma table_info` is not for queries"),
        ("select * from pragma_database_list", "`pragma database_list` is not for queries"),
        ("begin", "a transaction is not for queries"),
        ("rollback", "a transaction is not for queries"),
        ("savepoint s", "a transaction is not for queries"),
        ("analyze", "only read"),
        ("reindex", "only read"),
        ("select load_extension('x')", "the function `load_extension` is not for queries"),
        ("", "the query is empty"),
        (" -- nothing\n;", "the query is empty"),
        ("select 1; select 2", "more than one statement"),
        ("select 1; delete from balances", "only read"),
        ("selct 1", "syntax error"),
        ("select nowhere from balances", "no such column: nowhere"),
        ("select \"text\"", "no such column"),
    ];
    for (sql, message) in cases {
        let error = query(&views, sql).expect_err(sql);
        assert!(error.to_string().contains(message), "{sql}: {error}");
        assert_eq!(error.retry(), Retry::Never, "{sql}");
        assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]), "{sql}");
    }
    assert!(!folder.path().join("copy.db").exists());
    assert!(matches!(
        views.query("none", "select 1", &[], &QueryLimits::default()),
        Err(QueryError::UnknownView { name }) if name == "none"
    ));
}

#[test]
fn a_query_ends_at_its_time_limit() {
    let (views, _, _folder) = view();
    let time = Duration::from_millis(50);
    let limits = QueryLimits { time, ..QueryLimits::default() };
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c)";
    let cases = [
        format!("{endless} select count(*) from c"),
        format!("{endless} select x from c where x < 0"),
        format!("{endless} select x from c union select 1"),
        format!("{endless} select max(length(zeroblob(900000 + x))) from c"),
        "with recursive c(x, n) as (select zeroblob(900000), 1 union select x, n + 1 from c) select count(*) from c".into(),
        "select count(*) from balances a, balances b, balances c, balances d, balances e, balances f, balances g, balances h"
            .into(),
    ];
    for sql in &cases {
        let error = views.query("balances", sql, &[], &limits).expect_err(sql);
        assert!(matches!(error, QueryError::TimeLimit { .. }), "{sql}: {error}");
    }
    assert_eq!(rows(&views, TOTALS), integers(&[10, 30, 30]));
}

#[test]
fn a_query_is_cancelled_from_outside() {
    let (views, _, _folder) = view();
    let cancel = Cancel::default();
    cancel.cancel();
    let limits = QueryLimits { cancel: Some(cancel), ..QueryLimits::default() };
    let endless = "with recursive c(x) as (select 1 union all select x from c) select count(*) from c";
    assert!(matches!(views.query("balances", endless, &[], &limits), Err(QueryError::Cancelled)));
}

#[test]
fn a_query_beyond_a_limit_is_refused_with_what_helps() {
    let (views, _, _folder) = view();
    let limits = QueryLimits { time: Duration::from_secs(60), rows: 3, bytes: 100, ..QueryLimits::default() };
    let ask = |sql: &str| views.query("balances", sql, &[], &limits);
    assert_eq!(ask("select 1 from balances limit 3").unwrap().rows.len(), 3);
    let error = ask("select 1 from balances limit 4").unwrap_err().to_string();
    assert_eq!(
        error,
        "the query gives more than 3 rows: add a `limit`, and go on with a condition on the last row's key"
    );
    assert_eq!(ask("select zeroblob(84)").unwrap().rows.len(), 1);
    let error = ask("select zeroblob(85)").unwrap_err().to_string();
    assert_eq!(error, "the query needs more than 100 bytes: select fewer columns or rows");
    for sql in [
        "select length(zeroblob(1000000000))",
        "select zeroblob(1000000000)",
        "select length(printf('%.*c', 500000000, 'x'))",
        "select length(replace(hex(zeroblob(500000)), '00', 'xxxxxxxxxxxxxxxx'))",
        "with recursive c(x) as (select 1 union all select x + 1 from c limit 2000000) select length(group_concat(x)) from c",
    ] {
        let error = ask(sql).expect_err(sql);
        assert!(matches!(error, QueryError::TooManyBytes { .. }), "{sql}: {error}");
    }
    let nested = format!("select {}1", "not ".repeat(300));
    assert!(ask(&nested).is_err());
    assert!(ask(&format!("select '{}'", "x".repeat(100_000))).is_err());
}

#[test]
fn parameters_are_given_by_name() {
    let (views, _, _folder) = view();
    let ask = |sql: &str, parameters: &[(&str, SqlValue)]| {
        let parameters =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Vec<_>>();
        views.query("balances", sql, &parameters, &QueryLimits::default())
    };
    let by_account = "select amount from balances where account = :account and amount > $more";
    let answer = ask(by_account, &[("account", "3".into()), ("$more", 1.into())]).unwrap();
    assert_eq!(answer.rows, integers(&[3]));
    let values = [SqlValue::Null, 1.into(), 1.5.into(), "x".into(), SqlValue::Blob(vec![1])];
    for value in values {
        assert_eq!(ask("select :v", &[("v", value.clone())]).unwrap().rows, [[value]]);
    }
    for (sql, parameters, message) in [
        ("select :a", &[][..], "the parameter `:a` of the query has no value"),
        ("select :a", &[("a", 1.into()), ("b", 1.into())], "the query has no parameter `b`"),
        ("select ?", &[("a", 1.into())], "parameter 1 of the query has no name"),
        ("select ?1", &[("1", 1.into())], "parameter 1 of the query has no name"),
    ] {
        let error = ask(sql, parameters).expect_err(sql).to_string();
        assert!(error.contains(message), "{sql}: {error}");
    }
}

#[test]
fn a_query_may_use_every_read_only_feature_of_sqlite() {
    let (views, _, _folder) = view();
    for sql in [
        "select json_extract('{\"a\": [1]}', '$.a[0]')",
        "select value from json_each('[1]')",
        "select row_number() over (order by account) from balances limit 1",
        "explain query plan select * from balances",
        "with recursive c(x) as (select 1 union all select x + 1 from c where x < 10) select max(x) from c",
        "select name from sqlite_schema",
        "select date('now') > '2020'",
    ] {
        assert!(!rows(&views, sql).is_empty(), "{sql}");
    }
}

#[test]
fn a_full_text_index_is_filled_and_searched() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let text = "-- dialect: sqlite\ncreate virtual table notes using fts5 (text);\n-- on noted\ninsert into notes values (:text);";
    let views = open_as(store.clone(), folder.path(), text);
    let count = "select count(*) from notes where notes match 'ledger'";
    for number in 0..3 {
        let last = append(&store, [event("note-1", "noted", r#"{"text": "the Ledger of facts"}"#)]);
        wait(&views, &last);
        assert_eq!(rows(&views, count), integers(&[number + 1]));
    }
}
