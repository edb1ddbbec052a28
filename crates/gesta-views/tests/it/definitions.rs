//! Definitions: the grammar, and the errors for invalid ones.

use expect_test::{Expect, expect};
use gesta_views::{Definition, KnownEvent, LoadError, Options, Views};

const HEAD: &str = "-- dialect: sqlite\ncreate table t (a, b default 1);\n";

fn refused(text: &str, expected: &Expect) {
    let error = Definition::parse("v", text).expect_err(text);
    expected.assert_eq(&error.to_string());
}

/// A handler that is refused, after a valid schema. Its first line is 3.
fn refused_handler(text: &str, expected: &Expect) {
    refused(&format!("{HEAD}{text}"), expected);
}

#[test]
fn a_definition_gives_its_name_version_types_and_query() {
    let definition = Definition::parse(
        "file_name",
        "-- Balances, as the front page shows them.
         -- view: balances
         -- dialect: sqlite
         -- version: 3
         -- category: wallet, account

         create table t (a);
         create trigger g after insert on t begin delete from t where a is null; end;
         -- on b, a@1-2
         insert into t values (:a); /* -- on nothing */
         -- on \"with blank\"@7
         -- ignore
        ",
    )
    .unwrap();
    assert_eq!((definition.name(), definition.version()), ("balances", 3));
    let types = definition.event_types().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(types, ["a", "b", "with blank"]);
    let gesta_core::Query::Any(items) = definition.query() else {
        panic!("a query of categories is a list of items")
    };
    let categories = items.iter().map(|item| item.category.as_ref().unwrap().as_str()).collect::<Vec<_>>();
    assert_eq!(categories, ["account", "wallet"]);
    assert!(items.iter().all(|item| item.types.len() == 3));
}

#[test]
fn the_hash_ignores_comments_and_blanks_only() {
    let hash = |text: &str| Definition::parse("v", text).unwrap().hash();
    let text = format!("{HEAD}-- on a\ninsert into t values (:a, ' x  y ');");
    let same =
        format!("-- A comment.\n{HEAD}\n-- on   a@1\n\ninsert  into t -- here\n values (:a, ' x  y ')");
    assert_eq!(hash(&text), hash(&same));
    for (from, to) in [
        ("-- on a", "-- on a@1,2"),
        ("-- on a", "-- on b"),
        ("-- on a", "-- on a\n-- require: a"),
        ("' x  y '", "' x y '"),
        ("b default 1", "b default 2"),
        ("sqlite\n", "sqlite\n-- version: 2\n"),
        ("sqlite\n", "sqlite\n-- category: c\n"),
    ] {
        assert_ne!(hash(&text), hash(&text.replacen(from, to, 1)), "{to}");
    }
}

#[test]
fn a_header_is_refused_with_its_line() {
    refused(
        "create table t (a);\n-- on a\ndelete from t;",
        &expect!["v.sql:1: the dialect is missing: begin the file with the line `-- dialect: sqlite`"],
    );
    refused(
        "\n-- dialect: mysql\n",
        &expect![
            "v.sql:2: the dialect `mysql` is not supported: write `-- dialect: sqlite` or `-- dialect: postgres`"
        ],
    );
    refused(
        "-- dialect: sqlite\n-- dialect: sqlite",
        &expect!["v.sql:2: `-- dialect:` occurs twice: keep one of them"],
    );
    refused(
        "-- dialect: sqlite\n-- version: 0\n-- on a\nx",
        &expect!["v.sql:2: `0` is not a version: write a whole number from 1 on"],
    );
    refused(
        "-- dialect: sqlite\n-- category: a-b\n-- on a\nx",
        &expect![
            "v.sql:2: `a-b` is not a category: write the part of the streams' names before the first `-`, several separated by commas"
        ],
    );
    refused(
        "-- dialect: sqlite\n-- view: ../etc\n-- on a\nx",
        &expect![
            "v.sql:2: `../etc` cannot be a view's name: use 1 to 64 of a-z, 0-9 and _, but not `reload`, in the file's name or in a line `-- view: name`"
        ],
    );
    refused(
        &format!("{HEAD}-- version: 2"),
        &expect!["v.sql:3: `-- version:` belongs before the first statement: move it to the top of the file"],
    );
    refused(
        HEAD,
        &expect!["v.sql:2: the file has no handler: add a line `-- on <type>` and a statement under it"],
    );
    refused("-- dialect: sqlite\n/* open", &expect!["v.sql:2: a comment `/*` begins here and is not closed"]);
    refused(
        &format!("{HEAD}-- require: a"),
        &expect!["v.sql:3: `-- require` belongs under a line `-- on <type>`"],
    );
    refused(
        &format!("{HEAD}-- on a.b\n-- require:"),
        &expect!["v.sql:4: `-- require:` names no field: write `-- require: <field>, …`, or remove the line"],
    );
}

#[test]
fn a_handler_is_refused_with_its_line() {
    refused_handler(
        "-- on Mondays we rest",
        &expect![
            "v.sql:3: `we rest` needs a comma before it: write `-- on <type>[@<versions>], …`, such as `-- on order.placed@1-3,5, order.paid` (a comment that begins with the word `on` needs another first word)"
        ],
    );
    refused_handler(
        "-- on a",
        &expect![
            "v.sql:3: the handler has no statement: add one, or the line `-- ignore` if there is nothing to do"
        ],
    );
    refused_handler(
        "-- on a\n-- ignore\ndelete from t;",
        &expect!["v.sql:3: the handler has both `-- ignore` and statements: remove one of them"],
    );
    refused_handler(
        "-- on a\ninsert into t values (:a,\n$foo);",
        &expect![
            "v.sql:5: `$foo` does not exist: the parameters of an event are $stream, $category, $entity, $id, $type, $version, $schema_version, $position, $partition, $time, $time_ns, $recorded_at, $recorded_at_ns, $actor, $correlation, $causation, $tags, $data, $metadata; a field of its data is written `:foo`"
        ],
    );
    refused_handler(
        "-- on a\ninsert into t values (?, 1);",
        &expect![
            "v.sql:4: `?` has no value: write `$name` for the event's envelope and `:name` for its data"
        ],
    );
    refused_handler(
        "-- on a\ninsert into t values (@a, 1);",
        &expect![
            "v.sql:4: `@a` has no value: write `$name` for the event's envelope and `:name` for its data"
        ],
    );
    refused(
        "-- dialect: sqlite\ncreate table t (a default :a);\n-- on a\ndelete from t;",
        &expect!["v.sql:2: `:a` is in the schema, where there is no event: use parameters in handlers"],
    );
}

#[test]
fn sql_that_sqlite_refuses_is_refused_with_its_line_and_message() {
    refused_handler(
        "-- on a\ninsert into t\nvalues (:a, nowhere);",
        &expect!["v.sql:5: SQLite refuses `insert into t values (:a, nowhere)`: no such column: nowhere"],
    );
    refused_handler(
        "-- on a\n\nselct 1;",
        &expect![[r#"v.sql:5: SQLite refuses `selct 1`: near "selct": syntax error"#]],
    );
    refused_handler(
        "-- on a\ninsert into t values (\"text\", 1);",
        &expect![[
            r#"v.sql:4: SQLite refuses `insert into t values ("text", 1)`: no such column: "text" - should this be a string literal in single-quotes?"#
        ]],
    );
    refused(
        "-- dialect: sqlite\ncreate table t (a);\ncreate table t (b);\n-- on a\ndelete from t;",
        &expect!["v.sql:3: SQLite refuses `create table t (b)`: table t already exists"],
    );
    refused_handler(
        "-- on a\nselect 1;",
        &expect![
            "v.sql:4: `select 1` returns rows, which a definition has no use for: a handler inserts, updates or deletes, without `returning`"
        ],
    );
    refused_handler(
        "-- on a\ndelete from t returning a;",
        &expect![
            "v.sql:4: `delete from t returning a` returns rows, which a definition has no use for: a handler inserts, updates or deletes, without `returning`"
        ],
    );
    refused(
        "-- dialect: sqlite
create table t as with recursive c(x) as (select 1 union all select x from c) select x from c;
-- on a\ndelete from t;",
        &expect![
            "v.sql:2: SQLite refuses `create table t as with recursive c(x) as (select 1 union all…`: interrupted"
        ],
    );
}

#[test]
fn a_handler_may_only_change_rows_of_its_view() {
    for (statement, reason) in [
        ("attach 'x.db' as x", "a view is one database"),
        ("detach x", "a view is one database"),
        ("pragma journal_mode = delete", "`pragma` is not for definitions"),
        ("begin", "the runner holds the transaction"),
        ("commit", "the runner holds the transaction"),
        ("savepoint s", "the runner holds the transaction"),
        ("create table u (a)", "not the schema"),
        ("create temp table u (a)", "`temp`"),
        ("drop table t", "edit it, and the view is rebuilt"),
        ("alter table t add column c", "edit it, and the view is rebuilt"),
        ("delete from gesta_checkpoint", "no such table"),
        ("insert into t values (random(), 1)", "`random()` does not come from the log"),
        ("insert into t values (hex(RANDOMBLOB(4)), 1)", "`randomblob()` does not come from the log"),
        ("insert into t values (CURRENT_TIMESTAMP, 1)", "does not come from the log"),
        ("insert into t select current_date, 1", "does not come from the log"),
        ("update t set a = last_insert_rowid()", "does not come from the log"),
        ("update t set a = changes()", "does not come from the log"),
        ("update t set a = sqlite_version()", "does not come from the log"),
        ("update t set a = load_extension('x')", "extensions are not loaded"),
        ("insert into t values (date('now'), 1)", "`date` would read the clock of the machine"),
        ("insert into t values (1, strftime('%s'))", "`strftime` would read the clock"),
        ("update t set a = date() where b = :b", "`date` would read the clock"),
        ("update t set a = datetime(:a, 'localtime')", "`datetime` would read the time zone"),
        ("update t set a = datetime(b, 'utc')", "`datetime` would read the time zone"),
        ("update t set a = 1 where b < \"unixepoch\"/**/( 'n' || 'ow' )", "`unixepoch` would read the clock"),
        ("insert into t values (time(date('now')), 1)", "`date` would read the clock"),
        ("vacuum", "statements here begin with insert, replace, update, delete, with"),
        ("vacuum into 'x.db'", "statements here begin with"),
    ] {
        let error = Definition::parse("v", &format!("{HEAD}-- on a\n{statement};")).expect_err(statement);
        assert_eq!(error.line, 4, "{error}");
        assert!(error.to_string().contains(reason), "{statement}: {error}");
    }
}

#[test]
fn a_schema_may_only_create_tables_that_a_rebuild_makes_equal() {
    for (statement, reason) in [
        ("create table gesta_t (a)", "does not begin with `gesta_`"),
        ("create table u (a default current_timestamp)", "`current_timestamp()` does not come from the log"),
        ("create table u (a default (random()))", "`random()` does not come from the log"),
        ("create table u (a default (datetime('now')))", "would read the clock"),
        ("create table u (a, b as (date(a, 'localtime')))", "would read the time zone"),
        (
            "create trigger g after insert on t begin update t set a = date('now'); end",
            "would read the clock",
        ),
        ("create temp table u (a)", "`temp`"),
        ("pragma page_size = 512", "`pragma` is not for definitions"),
        ("pragma page_size", "returns rows"),
        ("create virtual table u using fts3 (a)", "use fts5"),
        ("attach 'x.db' as x", "a view is one database"),
        ("select 1", "returns rows"),
        ("drop table t", "edit it"),
    ] {
        let text = format!("{HEAD}{statement};\n-- on a\ndelete from t;");
        let error = Definition::parse("v", &text).expect_err(statement);
        assert_eq!(error.line, 3, "{error}");
        assert!(error.to_string().contains(reason), "{statement}: {error}");
    }
    let good = "create index i on t (a); create view w as select a from t; create table s (a unique, b, check (b > 0));
        insert into s values (1, 2); create virtual table f using fts5 (a); create virtual table r using rtree (i, x, y);
        create trigger g after insert on t begin insert into f values (new.a); end;
        create table d (at text, day text generated always as (date(at)));
        -- on a\ninsert into t values (:a, date($time)); insert into f values (:a); insert into d values ($time);";
    Definition::parse("v", &format!("{HEAD}{good}")).unwrap();
}

#[test]
fn a_view_of_the_schema_that_reads_the_clock_is_for_queries_only() {
    let views = "create view today as select date('now') as day, date(a) as of_a from t;
        create view age as select day from today;
        create view days as select date(a) as day from t;";
    let with = |handler: &str| Definition::parse("v", &format!("{HEAD}{views}\n-- on a\n{handler};"));
    with("insert into t select day, 1 from days").unwrap();
    for handler in ["insert into t select day, 1 from today", "insert into t select day, 1 from age"] {
        let error = with(handler).expect_err(handler).to_string();
        assert!(error.contains("`today` reads the clock"), "{error}");
    }
}

#[test]
fn a_folder_of_definitions_is_loaded_in_the_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let good = format!("{HEAD}-- on a\ndelete from t;");
    write("b.sql", &good);
    write("a.sql", &good);
    write("notes.txt", "no SQL");
    let names = |definitions: Vec<Definition>| {
        definitions.iter().map(|definition| definition.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(Definition::load_folder(folder.path()).unwrap()), ["a", "b"]);
    write("c.sql", &format!("-- view: a\n{good}"));
    let error = Definition::load_folder(folder.path()).unwrap_err();
    assert!(matches!(&error, LoadError::Duplicate { name, .. } if name == "a"), "{error}");
    write("c.sql", "-- dialect: sqlite");
    let error = Definition::load_folder(folder.path()).unwrap_err().to_string();
    assert_eq!(error, "c.sql:1: the file has no handler: add a line `-- on <type>` and a statement under it");
    assert!(matches!(Definition::load_folder(&folder.path().join("none")), Err(LoadError::Io { .. })));
}

#[test]
fn every_definition_in_the_manual_is_valid() {
    let manual = include_str!("../../../../docs/views.md");
    let fences = manual.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let definitions = fences.filter(|text| text.contains("-- dialect:")).collect::<Vec<_>>();
    assert!(definitions.len() >= 3);
    for text in definitions {
        Definition::parse("manual", text).unwrap();
    }
}

#[test]
fn a_host_that_knows_its_events_is_warned_of_unknown_types_and_fields() {
    let event = |name: &str, version, fields: Option<&[&str]>| KnownEvent {
        name: name.to_owned(),
        version,
        fields: fields.map(|fields| fields.iter().map(|field| (*field).to_owned()).collect()),
    };
    let known = [
        event("course.subscribed", 1, Some(&["student", "seat"])),
        event("course.left", 1, Some(&["student", "reason"])),
        event("course.moved", 2, Some(&["room"])),
        event("course.noted", 1, None),
    ];
    let warnings = |handler: &str| {
        let definition = Definition::parse("v", &format!("{HEAD}{handler}")).unwrap();
        definition.warnings(&known).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for silent in [
        "-- on course.subscribed\n-- require: seat\ninsert into t values (:student, $data);",
        "-- on course.subscribed, course.left\ninsert into t values (:seat, :reason);",
        "-- on course.moved@1\ninsert into t values (:hall, 1);",
        "-- on course.moved@1-2\ninsert into t values (:hall, 1);",
        "-- on course.noted\ninsert into t values (:anything, 1);",
        "-- on *\ninsert into t values (:anything, 1);",
    ] {
        assert_eq!(warnings(silent), "", "{silent}");
    }
    expect![[r#"
        v.sql:3: the application has no event type `course.subscrbed`: did you mean `course.subscribed`?
        v.sql:5: no event of this handler has a field `x`
        v.sql:8: no event of this handler has a field `studnt`: did you mean `student`?
        v.sql:8: no event of this handler has a field `reasn`: did you mean `reason`?
        v.sql:10: no event of this handler has a field `hall`
        v.sql:11: the application has no version 4 of `course.moved`: did you mean `course.moved@2`?"#]]
    .assert_eq(&warnings(
        "-- on course.subscrbed\ninsert into t values (:studnt, 1);\n-- on course.left\n-- require: x\ninsert into t values (\n:studnt, :reasn);\n-- on course.moved@2\ndelete from t where a = :hall;\n-- on course.moved@1,3-4\ndelete from t where a = :hall;",
    ));
}

#[test]
fn the_status_of_a_view_names_what_its_host_does_not_know() {
    let (store, folder) = (crate::support::store(), tempfile::tempdir().unwrap());
    let known = |name: &str| KnownEvent { name: name.to_owned(), version: 1, fields: None };
    let open = |known_events| {
        let options = Options { known_events, ..Options::default() };
        let text = format!("{HEAD}-- on course.lefft\n-- ignore");
        let definitions = vec![Definition::parse("v", &text).unwrap()];
        let views = Views::open_with(store.clone(), folder.path().to_owned(), definitions, &options).unwrap();
        let status = pollster::block_on(views.status("v")).unwrap();
        status.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = "v.sql:3: the application has no event type `course.lefft`: did you mean `course.left`?";
    assert_eq!(open(vec![known("course.left")]), [expected]);
    // A host that knows nothing says nothing.
    assert_eq!(open(Vec::new()), [""; 0]);
}
