//! Half surrogate pairs: escapes such as `\ud83d` without their other half, which are no text.
//!
//! JavaScript writes them when it cuts a string within an emoji. JSON's grammar allows them, but most parsers refuse the whole
//! document, SQLite among them. So an append refuses them. Reads do not: an older log may hold some.

/// The text of an event has half a surrogate pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the escape of half a surrogate pair is no character, at line {line} column {column}: send both halves, or the character \
     itself"
)]
pub struct HalfPair {
    /// The line of the escape, from 1.
    pub line: usize,
    /// The column of the escape, in bytes from 1.
    pub column: usize,
}

/// Checks that well-formed JSON has no half surrogate pair. `source` is the text that contains `json`: the error gives the place
/// in it.
///
/// # Errors
/// [`HalfPair`] names the first one.
pub fn check_surrogates(json: &str, source: &[u8]) -> Result<(), HalfPair> {
    let Some(at) = half_pair(json) else { return Ok(()) };
    let offset = (json.as_ptr() as usize).checked_sub(source.as_ptr() as usize);
    let before = offset.and_then(|offset| source.get(..offset + at)).unwrap_or(&json.as_bytes()[..at]);
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    Err(HalfPair { line, column: before.len() - line_start + 1 })
}

/// The offset of the first escape that is half a surrogate pair.
fn half_pair(json: &str) -> Option<usize> {
    let bytes = json.as_bytes();
    let mut from = 0;
    // Backslashes occur in strings only, and there they begin an escape.
    while let Some(found) = json.get(from..)?.find('\\') {
        let at = from + found;
        match escaped_unit(bytes, at) {
            Some(0xd800..=0xdbff) => match escaped_unit(bytes, at + 6) {
                Some(0xdc00..=0xdfff) => from = at + 12,
                _ => return Some(at),
            },
            Some(0xdc00..=0xdfff) => return Some(at),
            Some(_) => from = at + 6,
            None => from = at + 2,
        }
    }
    None
}

/// The UTF-16 unit that the escape at an offset stands for, if there is a `\uXXXX`.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_found_with_its_line_and_column() {
        for (json, place) in [
            (r#""caf\ud83d""#, Some((1, 5))),
            (r#""\ude00""#, Some((1, 2))),
            ("{\"a\":\n  [\"\\uD83D\\uD83D\\ude00\"]}", Some((2, 5))),
            (r#""\ud83d\n""#, Some((1, 2))),
            (r#""\ud83d\\ude00""#, Some((1, 2))),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\"\\\u00e9""#, None),
            (r#""é😀""#, None),
            ("12", None),
        ] {
            let found = check_surrogates(json, json.as_bytes()).err();
            assert_eq!(found.map(|found| (found.line, found.column)), place, "{json}");
            let serde = serde_json::from_str::<serde_json::Value>(json);
            assert_eq!(serde.is_err(), place.is_some(), "serde_json agrees: {json}");
        }
    }

    #[test]
    fn the_place_is_counted_in_the_whole_text() {
        let source = "[\n {\"data\": \"\\ud83d\"}]";
        let json = &source[12..20];
        assert_eq!(json, "\"\\ud83d\"");
        assert_eq!(check_surrogates(json, source.as_bytes()), Err(HalfPair { line: 2, column: 12 }));
    }
}
