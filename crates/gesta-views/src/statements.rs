//! The statements of a definition, each with its line, its parameters and its normal form.

use crate::dialect::Dialect;
use crate::lexer::{Kind, Token};

/// One SQL statement of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// As the database gets it: PostgreSQL has numbers, `$1`, in place of the names of parameters.
    pub(crate) sql: String,
    /// The line of its first word.
    pub(crate) line: u32,
    /// Without comments and with single blanks. The definition's hash is computed from this.
    pub(crate) normal: String,
    /// Its parameters in the order of their numbers, each with its line. SQLite gives a number to each name, at its first use;
    /// for PostgreSQL each use has a number, so that it can have a type.
    pub(crate) parameters: Vec<(String, u32)>,
}

impl Statement {
    /// Its beginning, for messages.
    pub(crate) fn excerpt(&self) -> String {
        const CHARACTERS: usize = 60;
        let mut excerpt = self.normal.chars().take(CHARACTERS).collect::<String>();
        if excerpt.len() < self.normal.len() {
            excerpt.push('…');
        }
        excerpt
    }

    /// The line of the byte at `offset`.
    pub(crate) fn line_at(&self, offset: usize) -> u32 {
        let before = self.sql.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        self.line + u32::try_from(before).unwrap_or(0)
    }
}

/// Splits tokens at the semicolons that end a statement. Comments alone are no statement.
pub(crate) fn split(tokens: &[Token<'_>], dialect: Dialect) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let (statement, after) = rest.split_at(statement_length(rest));
        statements.extend(statement_of(statement, dialect));
        rest = after.get(1..).unwrap_or_default();
    }
    statements
}

/// The number of tokens before the semicolon that ends the first statement. The statements inside a trigger end in
/// semicolons too; the trigger ends at the semicolon after `; END`, as in SQLite's `sqlite3_complete`.
fn statement_length(tokens: &[Token<'_>]) -> usize {
    let is_trigger = is_trigger(tokens);
    let mut last_two: [Option<&Token<'_>>; 2] = [None, None];
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| !token.is_blank()) {
        let closes_trigger = last_two[0].is_some_and(|token| token.kind == Kind::Semicolon)
            && last_two[1].is_some_and(|token| token.is_word("end"));
        if token.kind == Kind::Semicolon && (!is_trigger || closes_trigger) {
            return index;
        }
        last_two = [last_two[1], Some(token)];
    }
    tokens.len()
}

fn is_trigger(tokens: &[Token<'_>]) -> bool {
    let mut words = tokens.iter().filter(|token| !token.is_blank());
    words.next().is_some_and(|word| word.is_word("create"))
        && words
            .find(|word| !word.is_word("temp") && !word.is_word("temporary"))
            .is_some_and(|word| word.is_word("trigger"))
}

fn statement_of(tokens: &[Token<'_>], dialect: Dialect) -> Option<Statement> {
    let first = tokens.iter().position(|token| !token.is_blank())?;
    let last = tokens.iter().rposition(|token| !token.is_blank())?;
    let tokens = &tokens[first..=last];
    let (sql, parameters) = match dialect {
        Dialect::Sqlite => (tokens.iter().map(|token| token.text).collect(), named(tokens)),
        Dialect::Postgres => numbered(tokens),
    };
    Some(Statement { sql, line: tokens[0].line, normal: normal(tokens), parameters })
}

fn named(tokens: &[Token<'_>]) -> Vec<(String, u32)> {
    let mut parameters: Vec<(String, u32)> = Vec::new();
    for token in tokens.iter().filter(|token| token.kind == Kind::Parameter) {
        if parameters.iter().all(|(name, _)| name != token.text) {
            parameters.push((token.text.to_owned(), token.line));
        }
    }
    parameters
}

fn numbered(tokens: &[Token<'_>]) -> (String, Vec<(String, u32)>) {
    let (mut sql, mut parameters) = (String::new(), Vec::new());
    for token in tokens {
        if token.kind == Kind::Parameter {
            parameters.push((token.text.to_owned(), token.line));
            sql.push_str(&format!("${}", parameters.len()));
        } else {
            sql.push_str(token.text);
        }
    }
    (sql, parameters)
}

fn normal(tokens: &[Token<'_>]) -> String {
    let mut normal = String::new();
    for token in tokens {
        if !token.is_blank() {
            normal.push_str(token.text);
        } else if !normal.ends_with(' ') {
            normal.push(' ');
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::tokens;

    fn split_sqlite(text: &str) -> Vec<Statement> {
        split(&tokens(text, Dialect::Sqlite).unwrap(), Dialect::Sqlite)
    }

    #[test]
    fn for_postgresql_each_use_of_a_parameter_has_a_number() {
        let text = "insert into a values (:b::int, $c, ':d')\non conflict do update set b = :b";
        let statements = split(&tokens(text, Dialect::Postgres).unwrap(), Dialect::Postgres);
        assert_eq!(
            statements[0].sql,
            "insert into a values ($1::int, $2, ':d')\non conflict do update set b = $3"
        );
        let parameters = [(":b", 1), ("$c", 1), (":b", 2)].map(|(name, line)| (name.to_owned(), line));
        assert_eq!(statements[0].parameters, parameters);
    }

    fn check(text: &str, expected: &[(u32, &str)]) {
        let statements = split_sqlite(text);
        let found = statements
            .iter()
            .map(|statement| (statement.line, statement.normal.as_str()))
            .collect::<Vec<_>>();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_text_is_split_at_the_ends_of_its_statements() {
        check("a;\n b  -- c;\n d;;", &[(1, "a"), (2, "b d")]);
        check("select ';' ; /* ; */\nselect 2", &[(1, "select ';'"), (2, "select 2")]);
        check("-- nothing\n ; ", &[]);
    }

    #[test]
    fn a_trigger_is_one_statement() {
        let trigger =
            "create temp trigger t after insert on a begin update b set c = case when 1 then 2 end; end";
        check(&format!("{trigger}; x"), &[(1, trigger), (1, "x")]);
    }

    #[test]
    fn parameters_outside_of_quotes_are_found_in_the_order_of_sqlite() {
        let statements = split_sqlite("insert into a values\n(:b, $c, ':d', :b, :e)");
        let names =
            statements[0].parameters.iter().map(|(name, line)| (name.as_str(), *line)).collect::<Vec<_>>();
        assert_eq!(names, [(":b", 2), ("$c", 2), (":e", 2)]);
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let prepared = connection.prepare(&format!("{} ", "select :b, $c, ':d', :b, :e")).unwrap();
        let numbered =
            (1..=prepared.parameter_count()).map(|at| prepared.parameter_name(at).unwrap().to_owned());
        assert_eq!(numbered.collect::<Vec<_>>(), [":b", "$c", ":e"]);
    }
}
