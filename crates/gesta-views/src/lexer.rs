//! Tokens of SQL: just enough to find comments, parameters and the ends of statements.
//!
//! *Choice:* a lexer here, not SQLite's parser. Errors need the line of every token, and SQLite would have to run the
//! first statement before it could find the second one.

use crate::dialect::Dialect;

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Space,
    /// From `--` to the end of the line, without the line break.
    LineComment,
    BlockComment,
    /// A string, or a name in quotes.
    Quoted,
    /// A name, a keyword or a number.
    Word,
    /// `$name` or `:name`; in SQLite also `@name`, `?` and `?1`.
    Parameter,
    Semicolon,
    Other,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    pub(crate) text: &'t str,
    /// Its first line, from 1.
    pub(crate) line: u32,
    /// Only blanks are before it in its line.
    pub(crate) begins_line: bool,
}

impl Token<'_> {
    /// Whether a database ignores it.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self.kind, Kind::Space | Kind::LineComment | Kind::BlockComment)
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }
}

/// A comment or a quote without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unclosed {
    pub(crate) what: &'static str,
    pub(crate) line: u32,
}

/// The tokens of a text, without gaps.
pub(crate) fn tokens(text: &str, dialect: Dialect) -> Result<Vec<Token<'_>>, Unclosed> {
    Lexer { rest: text, line: 1, begins_line: true, dialect }.collect()
}

/// The comments and blanks before the first statement. They are the same in all dialects.
pub(crate) fn leading_blanks(text: &str) -> impl Iterator<Item = Token<'_>> {
    let lexer = Lexer { rest: text, line: 1, begins_line: true, dialect: Dialect::Sqlite };
    lexer.map_while(Result::ok).take_while(Token::is_blank)
}

struct Lexer<'t> {
    rest: &'t str,
    line: u32,
    begins_line: bool,
    dialect: Dialect,
}

impl<'t> Iterator for Lexer<'t> {
    type Item = Result<Token<'t>, Unclosed>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { rest, line, begins_line, .. } = *self;
        let first = rest.chars().next()?;
        let measured = match self.dialect {
            Dialect::Sqlite => measure(rest, first),
            Dialect::Postgres => measure_postgres(rest, first),
        };
        let (kind, length) = match measured {
            Ok(measured) => measured,
            Err(what) => return Some(Err(Unclosed { what, line })),
        };
        let (text, after) = rest.split_at(length);
        let lines = text.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = after;
        self.line = line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.begins_line = kind == Kind::Space && (begins_line || lines > 0);
        Some(Ok(Token { kind, text, line, begins_line }))
    }
}

/// The kind of the first token and its length in bytes.
fn measure(rest: &str, first: char) -> Result<(Kind, usize), &'static str> {
    let measured = match first {
        _ if first.is_ascii_whitespace() => (Kind::Space, length_while(rest, |c| c.is_ascii_whitespace())),
        '-' if rest.starts_with("--") => (Kind::LineComment, length_while(rest, |c| c != '\n')),
        '/' if rest.starts_with("/*") => {
            let end = rest[2..].find("*/").ok_or("a comment `/*`")?;
            (Kind::BlockComment, end + 4)
        }
        '\'' | '"' | '`' => (Kind::Quoted, quoted_length(rest, first)?),
        '[' => (Kind::Quoted, rest.find(']').ok_or("a name in `[`")? + 1),
        ';' => (Kind::Semicolon, 1),
        '?' => (Kind::Parameter, 1 + length_while(&rest[1..], |c| c.is_ascii_digit())),
        '$' | ':' | '@' => {
            let name = length_while(&rest[1..], is_of_word);
            (if name == 0 { Kind::Other } else { Kind::Parameter }, 1 + name)
        }
        _ if is_of_word(first) => (Kind::Word, length_while(rest, is_of_word)),
        _ => (Kind::Other, first.len_utf8()),
    };
    Ok(measured)
}

/// As [`measure`], for PostgreSQL, which has casts `::`, dollar quotes, escape strings and nested comments, and in which `[`, `?`
/// and `@` belong to expressions.
fn measure_postgres(rest: &str, first: char) -> Result<(Kind, usize), &'static str> {
    let second = rest[first.len_utf8()..].chars().next();
    let measured = match first {
        '/' if second == Some('*') => (Kind::BlockComment, nested_comment_length(rest)?),
        ':' if matches!(second, Some(':' | '=')) => (Kind::Other, 2),
        // A slice of an array.
        ':' if second.is_some_and(|next| next.is_ascii_digit()) => (Kind::Other, 1),
        '[' | '`' | '?' | '@' => (Kind::Other, 1),
        '$' => match dollar_tag(rest) {
            Some(tag) => {
                let end = rest[tag.len()..].find(tag).ok_or("a text in `$`")?;
                (Kind::Quoted, end + 2 * tag.len())
            }
            None => return measure(rest, first),
        },
        'e' | 'E' if second == Some('\'') => (Kind::Quoted, 1 + escaped_length(&rest[1..])?),
        _ => return measure(rest, first),
    };
    Ok(measured)
}

/// The opening of a dollar quote: `$$` or `$tag$`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let name = length_while(&rest[1..], |c| is_of_word(c) && c != '$');
    let starts_with_digit = rest[1..].starts_with(|c: char| c.is_ascii_digit());
    (!starts_with_digit && rest[1 + name..].starts_with('$')).then(|| &rest[..name + 2])
}

/// The length of a string in single quotes, in which a backslash escapes.
fn escaped_length(rest: &str) -> Result<usize, &'static str> {
    let mut at = 1;
    loop {
        at += rest[at..].find(['\'', '\\']).ok_or("a quoted text")?;
        let is_escape = rest[at..].starts_with('\\') || rest[at..].starts_with("''");
        at += 1;
        if !is_escape {
            return Ok(at);
        }
        at += rest[at..].chars().next().map_or(0, char::len_utf8);
    }
}

fn nested_comment_length(rest: &str) -> Result<usize, &'static str> {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 {
        at += rest[at..].find(['*', '/']).ok_or("a comment `/*`")?;
        match &rest.as_bytes()[at..(at + 2).min(rest.len())] {
            b"*/" => (at, depth) = (at + 2, depth - 1),
            b"/*" => (at, depth) = (at + 2, depth + 1),
            _ => at += 1,
        }
    }
    Ok(at)
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

fn length_while(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

/// The length of a quoted text, in which a doubled quote is one quote.
fn quoted_length(rest: &str, quote: char) -> Result<usize, &'static str> {
    let mut at = 1;
    loop {
        at += rest[at..].find(quote).ok_or("a quoted text")? + 1;
        if !rest[at..].starts_with(quote) {
            return Ok(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str, dialect: Dialect) -> String {
        let tokens = tokens(text, dialect).unwrap();
        assert_eq!(tokens.iter().map(|token| token.text).collect::<String>(), text);
        let shown = tokens.iter().filter(|token| token.kind != Kind::Space);
        shown
            .map(|token| format!("{}:{:?}:{}", token.line, token.kind, token.text))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_text_is_divided_into_the_tokens_of_sqlite() {
        for (text, expected) in [
            ("a-- b\nc", "1:Word:a 1:LineComment:-- b 2:Word:c"),
            ("'it''s; --' ;", "1:Quoted:'it''s; --' 1:Semicolon:;"),
            ("/* ;\n */ \"x\"\"y\"", "1:BlockComment:/* ;\n */ 2:Quoted:\"x\"\"y\""),
            ("[a b] `c` :d $e_1 @f ?2 ?", {
                "1:Quoted:[a b] 1:Quoted:`c` 1:Parameter::d 1:Parameter:$e_1 1:Parameter:@f 1:Parameter:?2 1:Parameter:?"
            }),
            ("a$b->>'$.c' é", "1:Word:a$b 1:Other:- 1:Other:> 1:Other:> 1:Quoted:'$.c' 1:Word:é"),
        ] {
            assert_eq!(kinds(text, Dialect::Sqlite), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_divided_into_the_tokens_of_postgresql() {
        for (text, expected) in [
            (":a::bigint", "1:Parameter::a 1:Other::: 1:Word:bigint"),
            ("$data->>'x' @> a[1] ? 'k'", {
                "1:Parameter:$data 1:Other:- 1:Other:> 1:Other:> 1:Quoted:'x' 1:Other:@ 1:Other:> 1:Word:a 1:Other:[ 1:Word:1 1:Other:] 1:Other:? 1:Quoted:'k'"
            }),
            ("$$;:a$$ $q$ $$ ; $q$;", "1:Quoted:$$;:a$$ 1:Quoted:$q$ $$ ; $q$ 1:Semicolon:;"),
            (r"e'\';' x E'a''\\'", r"1:Quoted:e'\';' 1:Word:x 1:Quoted:E'a''\\'"),
            ("/* a /* b */ ; */ c", "1:BlockComment:/* a /* b */ ; */ 1:Word:c"),
            ("a$b $1", "1:Word:a$b 1:Parameter:$1"),
        ] {
            assert_eq!(kinds(text, Dialect::Postgres), expected, "{text}");
        }
        for text in ["$$ a", "/* /* */", "e'\\'", "$a$ $b$"] {
            assert!(tokens(text, Dialect::Postgres).is_err(), "{text}");
        }
    }

    #[test]
    fn an_unclosed_quote_or_comment_is_refused_with_its_line() {
        for text in ["\n'a", "\n/* a", "\n[a", "\n\"a\"\""] {
            assert_eq!(tokens(text, Dialect::Sqlite).unwrap_err().line, 2, "{text}");
        }
    }

    #[test]
    fn a_comment_at_the_beginning_of_a_line_is_marked() {
        let begins = |text| {
            tokens(text, Dialect::Sqlite)
                .unwrap()
                .iter()
                .find(|t| t.kind == Kind::LineComment)
                .unwrap()
                .begins_line
        };
        assert!(begins("  -- on a"));
        assert!(begins("x\n\t-- on a"));
        assert!(!begins("x -- on a"));
    }
}
