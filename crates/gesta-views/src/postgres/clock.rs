//! The words that PostgreSQL reads as times of its clock, and the texts of statements that may have them.
//!
//! PostgreSQL reads a text that becomes a time when it parses the statement, so `'today 10:00'` has another value in a rebuilt view.

use crate::dialect::Dialect;
use crate::lexer::{Kind, Token, tokens};
use crate::statements::Statement;

const CLOCK_WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// Whether a text has a word for a time of the clock. As a date or time it may be one, as in `today 10:00 UTC` or `{now}`.
pub(super) fn has_clock_word(text: &str) -> bool {
    words(text).any(is_clock_word)
}

/// Returns true if a text has words for times of the clock, and no other words.
pub(super) fn is_clock(text: &str) -> bool {
    words(text).next().is_some() && words(text).all(is_clock_word)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty())
}

fn is_clock_word(word: &str) -> bool {
    CLOCK_WORDS.iter().any(|clock| word.eq_ignore_ascii_case(clock))
}

/// The texts in a statement, as PostgreSQL reads them. `None` for a text with escapes that may hide letters.
pub(super) fn texts(statement: &Statement) -> Vec<Option<String>> {
    let tokens = tokens(&statement.sql, Dialect::Postgres).unwrap_or_default();
    let tokens = tokens.into_iter().filter(|token| !token.is_blank()).collect::<Vec<_>>();
    let mut texts = Vec::<Option<String>>::new();
    let mut before = None;
    for (at, token) in tokens.iter().enumerate() {
        let Some(form) = Form::of(token, &tokens[..at]) else {
            before = None;
            continue;
        };
        match (before, texts.last_mut()) {
            // PostgreSQL joins texts in adjacent lines, and reads the second one as the first.
            (Some(first), Some(last)) if form == Form::Plain => {
                *last = last.take().zip(read(token.text, first)).map(|(text, more)| text + &more);
            }
            _ => {
                before = (form != Form::Dollar).then_some(form);
                texts.push(read(token.text, form));
            }
        }
    }
    texts
}

/// Whether a text of a statement has a word for a time of the clock, or may hide one.
#[cfg(feature = "postgres")]
pub(super) fn may_name_clock(statement: &Statement) -> bool {
    texts(statement).iter().any(|text| text.as_deref().is_none_or(has_clock_word))
}

/// The form of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `'text'`
    Plain,
    /// `E'text'`
    Escaped,
    /// `U&'text'`
    Unicode,
    /// `$tag$text$tag$`
    Dollar,
}

impl Form {
    /// The form of a token, if it is a text.
    fn of(token: &Token<'_>, before: &[Token<'_>]) -> Option<Self> {
        let is_unicode = || matches!(before, [.., u, and] if u.is_word("u") && and.text == "&");
        match (token.kind, token.text.as_bytes()[0]) {
            (Kind::Quoted, b'\'') if is_unicode() => Some(Self::Unicode),
            (Kind::Quoted, b'\'') => Some(Self::Plain),
            (Kind::Quoted, b'e' | b'E') => Some(Self::Escaped),
            (Kind::Quoted, b'$') => Some(Self::Dollar),
            // A name in quotes, or no text at all.
            _ => None,
        }
    }
}

/// The text of a token. Escapes that stand for no letter become blanks; `None` if there are others.
fn read(token: &str, form: Form) -> Option<String> {
    let quote = token.find('\'').map_or(0, |quote| quote + 1);
    match form {
        Form::Plain => Some(token[quote..token.len() - 1].to_owned()),
        Form::Dollar => {
            let tag = 2 + token[1..].find('$')?;
            Some(token[tag..token.len() - tag].to_owned())
        }
        Form::Unicode => None,
        Form::Escaped => {
            let (mut text, mut rest) = (String::new(), token[quote..token.len() - 1].chars());
            while let Some(next) = rest.next() {
                text.push(match next {
                    '\\' if "bfnrt\\'\"".contains(rest.next()?) => ' ',
                    '\\' => return None,
                    next => next,
                });
            }
            Some(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statements::split;

    #[test]
    fn texts_are_read_in_all_forms() {
        let check = |sql: &str, expected: &[Option<&str>]| {
            let statement = split(&tokens(sql, Dialect::Postgres).unwrap(), Dialect::Postgres).remove(0);
            let texts = texts(&statement);
            assert_eq!(texts.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{sql}");
        };
        check(
            "select 'a', \"now\", E'b\\n\\'c', $$d$$, $x$e$x$ from t",
            &[Some("a"), Some("b  c"), Some("d"), Some("e")],
        );
        check("select 'no' -- joined\n  'w', 'x'", &[Some("now"), Some("x")]);
        check("select E'no'\n'w', E'no'\n'\\167', $$a$$ 'b'", &[Some("now"), None, Some("a"), Some("b")]);
        check(
            r"select E'no\w', E'\x6eow', e'\u006eow', U&'\006eow', u&'!006eow' uescape '!'",
            &[None, None, None, None, None, Some("!")],
        );
    }

    #[test]
    fn words_of_the_clock_are_found_among_others() {
        for (text, is) in [
            ("now", true),
            (" Today 10:00", true),
            ("yesterday today", true),
            ("come now", false),
            ("nowhere", false),
            ("10:00", false),
            ("", false),
        ] {
            assert_eq!(is_clock(text), is, "{text}");
        }
    }

    #[test]
    fn a_word_of_the_clock_is_found_beside_others() {
        for (text, has) in
            [("{now,infinity}", true), ("today10:00 UTC", true), ("come NOW", true), ("nowhere", false)]
        {
            assert_eq!(has_clock_word(text), has, "{text}");
        }
    }
}
