//! Tokens of SQLite's SQL: just enough to find comments, parameters and the ends of statements.
//!
//! *Choice:* a lexer here, not SQLite's parser. Errors need the line of every token, and SQLite would have to run the
//! first statement before it could find the second one.

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Space,
    /// From `--` to the end of the line, without the line break.
    LineComment,
    BlockComment,
    /// A string, or a name in any of SQLite's quotes.
    Quoted,
    /// A name, a keyword or a number.
    Word,
    /// `$name`, `:name`, `@name`, `?` or `?1`.
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
    /// Whether SQLite ignores it.
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
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Unclosed> {
    let mut tokens = Vec::new();
    let (mut rest, mut line, mut begins_line) = (text, 1, true);
    while let Some(first) = rest.chars().next() {
        let (kind, length) = measure(rest, first).map_err(|what| Unclosed { what, line })?;
        let (text, after) = rest.split_at(length);
        tokens.push(Token { kind, text, line, begins_line });
        let lines = text.bytes().filter(|byte| *byte == b'\n').count();
        line += u32::try_from(lines).unwrap_or(u32::MAX);
        begins_line = kind == Kind::Space && (begins_line || lines > 0);
        rest = after;
    }
    Ok(tokens)
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

    fn kinds(text: &str) -> String {
        let tokens = tokens(text).unwrap();
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
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unclosed_quote_or_comment_is_refused_with_its_line() {
        for text in ["\n'a", "\n/* a", "\n[a", "\n\"a\"\""] {
            assert_eq!(tokens(text).unwrap_err().line, 2, "{text}");
        }
    }

    #[test]
    fn a_comment_at_the_beginning_of_a_line_is_marked() {
        let begins =
            |text| tokens(text).unwrap().iter().find(|t| t.kind == Kind::LineComment).unwrap().begins_line;
        assert!(begins("  -- on a"));
        assert!(begins("x\n\t-- on a"));
        assert!(!begins("x -- on a"));
    }
}
