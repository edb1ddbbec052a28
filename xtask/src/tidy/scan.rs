//! Small searches in masked source that several rules share.

use std::ops::Range;

/// The places where `needle` is a whole word in `text`, not a part of a longer name.
pub(super) fn words<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(needle).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let after = text[at + needle.len()..].chars().next();
        let open_ended = needle.ends_with(|c| !is_name_part(c));
        !before.is_some_and(is_name_part) && (open_ended || !after.is_some_and(is_name_part))
    })
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The line of the byte at `offset`, counted from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text[..offset].matches('\n').count()
}

/// From the first bracket in `code` to the one that closes it, both included.
pub(super) fn bracketed(code: &str) -> Option<Range<usize>> {
    let start = code.find(['(', '[', '{'])?;
    let mut depth = 0_usize;
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return Some(start..start + at + c.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_whole_or_not_at_all() {
        assert_eq!(words("fn refn fn_ (fn)", "fn").collect::<Vec<_>>(), [0, 13]);
        assert_eq!(words("todo!() my_todo!()", "todo!").collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_bracket_ends_where_its_own_partner_stands() {
        assert_eq!(bracketed("f(a, [b], {c}) + (d)"), Some(1..14));
        assert_eq!(bracketed("f(a"), None);
        assert_eq!(bracketed("f"), None);
    }
}
