//! Checks the statements of a definition as far as that needs no server. PostgreSQL checks the rest when the view is opened.

use crate::dialect::Dialect;
use crate::lexer::{Kind, Token, tokens};
use crate::parts::Parts;
use crate::problem::{DefinitionError, DefinitionProblem as Problem};
use crate::statements::Statement;

/// Words that PostgreSQL reads as times of its clock.
pub(super) const CLOCK_WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

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
    no_clock(&tokens)
}

fn handler_statement(statement: &Statement) -> Result<(), String> {
    const VERBS: [&str; 5] = ["insert", "update", "delete", "merge", "with"];
    let tokens = words(statement);
    if !VERBS.iter().any(|verb| tokens.first().is_some_and(|first| first.is_word(verb))) {
        return Err(format!("statements here begin with {}", VERBS.join(", ")));
    }
    no_clock(&tokens)
}

/// Refuses `'now'` and the like, which PostgreSQL replaces by a time of its clock.
fn no_clock(tokens: &[Token<'_>]) -> Result<(), String> {
    let quoted = tokens.iter().filter(|token| token.kind == Kind::Quoted);
    match quoted.map(|token| token.text.trim_matches('\'').trim()).find(|text| is_clock_word(text)) {
        Some(word) => Err(format!(
            "`'{word}'` would read the clock, and a rebuilt view would differ: use $time or $recorded_at"
        )),
        None => Ok(()),
    }
}

fn is_clock_word(text: &str) -> bool {
    CLOCK_WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
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
        check(
            table,
            "insert into t values ('NOW'::timestamptz)",
            &expect![
                "v.sql:4: `insert into t values ('NOW'::timestamptz)` is not allowed: `'NOW'` would read the clock, and a rebuilt view would differ: use $time or $recorded_at"
            ],
        );
    }
}
