//! Separates the code of a Rust file from its comments and literals, without parsing it.
//!
//! *Choice: a lexer for three kinds of text, not a parser.* It needs no dependency, never fails, and works on files that do not compile. The
//! cost: it does not know what the code means.

/// The text twice: with only its code, and with only its comments. Everything else is blanked, literals in both. So line numbers hold, and
/// a brace or a word inside a literal misleads no rule.
pub(super) fn mask(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    let mut in_word = false;
    while !rest.is_empty() {
        let (kind, length) = next_piece(rest, in_word);
        let (piece, after) = rest.split_at(length);
        code.extend(piece.chars().map(|c| if kind == Kind::Code { c } else { blank(c) }));
        comments.extend(piece.chars().map(|c| if kind == Kind::Comment { c } else { blank(c) }));
        in_word = kind == Kind::Code && piece.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        rest = after;
    }
    (code, comments)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

fn blank(c: char) -> char {
    if c == '\n' { c } else { ' ' }
}

/// The kind and the length in bytes of the first piece of `text`: one character of code, or a whole comment or literal. If `in_word`, the
/// character before belongs to a name, and an `r` continues it.
fn next_piece(text: &str, in_word: bool) -> (Kind, usize) {
    if text.starts_with("//") {
        return (Kind::Comment, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return (Kind::Comment, block_comment_length(text));
    }
    if text.starts_with('"') {
        return (Kind::Literal, quoted_length(text, '"'));
    }
    if !in_word && let Some(length) = raw_string_length(text) {
        return (Kind::Literal, length);
    }
    if is_character(text) {
        return (Kind::Literal, quoted_length(text, '\''));
    }
    (Kind::Code, text.chars().next().map_or(0, char::len_utf8))
}

/// Block comments nest.
fn block_comment_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of a literal that begins with the quote and ends at the next one without a backslash.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string, byte string or C string, `r"…"` with any number of `#`.
fn raw_string_length(text: &str) -> Option<usize> {
    let after_r = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let inside = after_r.trim_start_matches('#').strip_prefix('"')?;
    let hashes = after_r.len() - inside.len() - 1;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

/// Whether an apostrophe begins a character, `'a'` or `'\n'`, and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('\'') && (chars.next() == Some('\\') || chars.next() == Some('\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_literals_are_told_apart() {
        let cases = [
            // (text, its code, its comments)
            ("a // b", "a     ", "  // b"),
            ("a /* b /* c */ d */ e", "a                   e", "  /* b /* c */ d */  "),
            ("f(\"// no\\\"\") // yes", "f(         )       ", "             // yes"),
            ("r#\"a\"b\"# + c", "         + c", "            "),
            ("for\"x\"", "for   ", "      "),
            ("r#fn + br\"x\"", "r#fn +      ", "            "),
            ("&'a str, '\\'', '\"'", "&'a str,     ,    ", "                  "),
            ("\"é\n\"x", "  \n x", "  \n  "),
        ];
        for (text, code, comments) in cases {
            assert_eq!(mask(text), (code.to_owned(), comments.to_owned()), "{text}");
        }
    }
}
