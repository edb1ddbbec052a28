//! Checks the statements of a definition as far as that needs no server. PostgreSQL checks the rest when the view is opened.

use crate::dialect::Dialect;
use crate::lexer::{Token, tokens};
use crate::parts::Parts;
use crate::postgres::clock::{has_clock_word, is_clock, texts};
use crate::problem::{DefinitionError, DefinitionProblem as Problem};
use crate::statements::Statement;

/// Checks the form of all statements.
pub(crate) fn check(parts: &Parts) -> Result<(), DefinitionError> {
    let error = |statement: &Statement, reason: String| DefinitionError {
        file: parts.file.clone(),
        line: statement.line,
        problem: Problem::Denied { statement: statement.excerpt(), reason },
    };
    for statement in &parts.schema {
        schema_statement(statement).map_err(|reason| error(statement, reason))?;
    }
    for (statement, _) in parts.handlers().iter().flat_map(|handler| &handler.statements) {
        handler_statement(statement).map_err(|reason| error(statement, reason))?;
    }
    Ok(())
}

fn schema_statement(statement: &Statement) -> Result<(), String> {
    let tokens = words(statement);
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_word(word));
    let kind = 1 + usize::from(is(1, "unique") || is(1, "unlogged"));
    if !is(0, "create") || !(is(kind, "table") || is(kind, "index")) {
        return Err("a statement of the schema begins with `create table` or `create index`".to_owned());
    }
    if is(kind, "table") {
        let skipped = if is(kind + 1, "if") { 3 } else { 0 };
        let name = tokens.get(kind + 1 + skipped);
        if tokens.get(kind + 2 + skipped).is_some_and(|next| next.text == ".") {
            return Err("the view has a schema of its own: write the table's name alone".to_owned());
        }
        if name.is_some_and(|name| name.text.trim_matches('"').starts_with("gesta_")) {
            return Err("names that begin with `gesta_` are reserved: choose another one".to_owned());
        }
    }
    // What PostgreSQL makes of a text in a schema is not looked at later.
    match texts(statement).iter().find(|text| text.as_deref().is_none_or(has_clock_word)) {
        Some(Some(text)) => Err(reads_clock(text)),
        Some(None) => Err("a text here is written without escapes for letters".to_owned()),
        None => Ok(()),
    }
}

fn handler_statement(statement: &Statement) -> Result<(), String> {
    const VERBS: [&str; 5] = ["insert", "update", "delete", "merge", "with"];
    let tokens = words(statement);
    if !VERBS.iter().any(|verb| tokens.first().is_some_and(|first| first.is_word(verb))) {
        return Err(format!("statements here begin with {}", VERBS.join(", ")));
    }
    // A text with other words too may be one that is stored as it is: PostgreSQL tells when the view is opened.
    match texts(statement).iter().flatten().find(|text| is_clock(text)) {
        Some(text) => Err(reads_clock(text)),
        None => Ok(()),
    }
}

fn reads_clock(text: &str) -> String {
    let text = text.trim();
    format!("`'{text}'` would read the clock, and a rebuilt view would differ: use $time or $recorded_at")
}

fn words(statement: &Statement) -> Vec<Token<'_>> {
    let tokens = tokens(&statement.sql, Dialect::Postgres).unwrap_or_default();
    tokens.into_iter().filter(|token| !token.is_blank()).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use crate::definition::Definition;

    fn check(schema: &str, handler: &str, expected: &Expect) {
        let text = format!("-- dialect: postgres\n{schema};\n-- on a\n{handler};");
        match Definition::parse("v", &text) {
            Ok(_) => expected.assert_eq("ok"),
            Err(error) => expected.assert_eq(&error.to_string()),
        }
    }

    #[test]
    fn a_schema_creates_tables_and_indexes_and_handlers_write() {
        let table = "create table t (a int)";
        check(table, "insert into t values (:a::int)", &expect!["ok"]);
        check("create unlogged table if not exists t (a int)", "delete from t", &expect!["ok"]);
        check("create unique index on t (a)", "update t set a = 1", &expect!["ok"]);
        check(
            "create table public.t (a int)",
            "delete from t",
            &expect![
                "v.sql:2: `create table public.t (a int)` is not allowed: the view has a schema of its own: write the table's name alone"
            ],
        );
        check(
            "create function f() returns int language sql as $$ select 1; $$",
            "delete from t",
            &expect![
                "v.sql:2: `create function f() returns int language sql as $$ select 1;…` is not allowed: a statement of the schema begins with `create table` or `create index`"
            ],
        );
        check(
            "create table gesta_t (a int)",
            "delete from t",
            &expect![
                "v.sql:2: `create table gesta_t (a int)` is not allowed: names that begin with `gesta_` are reserved: choose another one"
            ],
        );
        check(
            table,
            "select 1",
            &expect![
                "v.sql:4: `select 1` is not allowed: statements here begin with insert, update, delete, merge, with"
            ],
        );
        for handler in [
            "insert into t values ('today 10:00'::timestamptz)",
            "insert into t values (E'now'::timestamptz)",
            "insert into t values ($$now$$::date)",
            "insert into t values ($a$ yesterday $a$)",
            "insert into t values (timestamptz 'to'\n'morrow')",
        ] {
            let text = format!("-- dialect: postgres\n{table};\n-- on a\n{handler};");
            let error = Definition::parse("v", &text).unwrap_err().to_string();
            assert!(error.contains("would read the clock"), "{error}");
        }
        check(table, "insert into t values ('come now', 'nowhere')", &expect!["ok"]);
        check("create table t (a text default 'nowhere')", "delete from t", &expect!["ok"]);
        check(
            "create table t (a date default 'today UTC')",
            "delete from t",
            &expect![
                "v.sql:2: `create table t (a date default 'today UTC')` is not allowed: `'today UTC'` would read the clock, and a rebuilt view would differ: use $time or $recorded_at"
            ],
        );
        check(
            "create table t (a date default E'\\x6eow')",
            "delete from t",
            &expect![[
                r"v.sql:2: `create table t (a date default E'\x6eow')` is not allowed: a text here is written without escapes for letters"
            ]],
        );
        check(
            table,
            "insert into t values ('NOW'::timestamptz)",
            &expect![
                "v.sql:4: `insert into t values ('NOW'::timestamptz)` is not allowed: `'NOW'` would read the clock, and a rebuilt view would differ: use $time or $recorded_at"
            ],
        );
    }
}
