//! Finds the calls of date functions in a statement, so that a call that would read the clock is refused at load.

use crate::dialect::Dialect;
use crate::lexer::{Kind, Token, tokens};
use crate::sqlite::purity::is_date_function;

/// A call of a date function, as a statement has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DateCall {
    pub(crate) function: String,
    pub(crate) arguments: Vec<String>,
    /// The line within the statement, from 0.
    pub(crate) line: u32,
}

/// Every call of a date function in a statement, nested ones included.
pub(crate) fn date_calls(sql: &str) -> Vec<DateCall> {
    let Ok(tokens) = tokens(sql, Dialect::Sqlite) else { return Vec::new() };
    let calls = tokens.iter().enumerate().filter_map(|(at, token)| {
        let function = function_name(token).filter(|name| is_date_function(name))?;
        let rest = &tokens[at + 1..];
        let open = rest.iter().position(|token| !token.is_blank()).filter(|open| rest[*open].text == "(")?;
        Some(DateCall { function, arguments: arguments(&rest[open + 1..]), line: token.line - 1 })
    });
    calls.collect()
}

/// The name that a token can call a function by: a word, or a name in quotes.
fn function_name(token: &Token<'_>) -> Option<String> {
    match token.kind {
        Kind::Word => Some(token.text.to_ascii_lowercase()),
        Kind::Quoted if !token.text.starts_with('\'') => {
            Some(token.text.trim_matches(['"', '`', '[', ']']).to_ascii_lowercase())
        }
        _ => None,
    }
}

/// The arguments up to the bracket that closes the call.
fn arguments(tokens: &[Token<'_>]) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut depth = 0_usize;
    for token in tokens {
        let argument = arguments.last_mut().expect("there is always one");
        match token.text {
            ")" if depth == 0 => break,
            "," if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        argument.push_str(if token.is_blank() { " " } else { token.text });
    }
    arguments.iter_mut().for_each(|argument| *argument = argument.trim().to_owned());
    if arguments == [""] {
        arguments.clear();
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, expected: &[(&str, &[&str], u32)]) {
        let found = date_calls(sql);
        let found = found.iter().map(|call| {
            let arguments = call.arguments.iter().map(String::as_str).collect::<Vec<_>>();
            (call.function.as_str(), arguments, call.line)
        });
        let expected =
            expected.iter().map(|(function, arguments, line)| (*function, arguments.to_vec(), *line));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{sql}");
    }

    #[test]
    fn calls_of_date_functions_are_found_with_their_arguments() {
        check("select 1", &[]);
        check("select 'date(1)', date, my_date(1)", &[]);
        check("select DATE()", &[("date", &[], 0)]);
        check("select a,\n \"date\" /* x */ ( 'now' , :a||',' )", &[("date", &["'now'", ":a||','"], 1)]);
        check("date(time(x), (1, 2))", &[("date", &["time(x)", "(1, 2)"], 0), ("time", &["x"], 0)]);
    }
}
