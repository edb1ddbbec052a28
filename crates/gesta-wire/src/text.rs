//! JSON as text: what can be embedded byte for byte, what is written as a string, and how deep it nests.

use std::fmt::Display;
use std::io::Write;

use serde_json::value::RawValue;

use crate::limits::JSON_DEPTH_MAX;

/// The text of the JSON value, if the bytes are one value without space around it. Such a value can be embedded in other JSON and
/// taken out again byte for byte.
pub(crate) fn as_json(bytes: &[u8]) -> Option<&RawValue> {
    let value = serde_json::from_slice::<&RawValue>(bytes).ok()?;
    (value.get().len() == bytes.len()).then_some(value)
}

/// Appends the text of a value, without escaping.
pub(crate) fn write_shown(shown: &dyn Display, out: &mut Vec<u8>) {
    write!(out, "{shown}").expect("a vector takes everything");
}

/// Appends a text as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text can be written as JSON");
}

/// Texts up to this length are written as strings, however much escaping adds.
const SHORT_TEXT_BYTES: usize = 4 * 1024;

/// The text in these bytes, if it is UTF-8 and should be written as a JSON string. A long text that escapes would make longer than
/// base64 does is written as base64, so that an event of any bytes has a bounded length in JSON.
pub(crate) fn as_string(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let escapes = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0x00..0x20 => 5,
        _ => 0,
    };
    let added = || bytes.iter().map(escapes).sum::<usize>();
    (bytes.len() <= SHORT_TEXT_BYTES || added() <= bytes.len() / 3).then_some(text)
}

/// How deep a well-formed JSON text nests, if that is deeper than common parsers read.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    // Most texts have fewer brackets than the limit on depth, and brackets are counted quickly.
    let mut brackets = 0;
    for bytes in text.as_bytes().chunks(u8::MAX.into()) {
        // A sum of bytes is counted with vector instructions.
        let in_chunk: u8 = bytes.iter().map(|byte| u8::from(matches!(byte, b'[' | b'{'))).sum();
        brackets += usize::from(in_chunk);
    }
    if brackets <= JSON_DEPTH_MAX {
        return None;
    }
    Some(json_depth(text)).filter(|depth| *depth > JSON_DEPTH_MAX)
}

fn json_depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_a_string_only_if_escapes_do_not_make_it_longer_than_base64() {
        for (character, length, is_string) in [
            ("a", 1 << 20, true),
            ("\n", SHORT_TEXT_BYTES, true),
            ("\n", SHORT_TEXT_BYTES + 1, false),
            ("\u{1}", 1 << 20, false),
            ("é", 1 << 20, true),
        ] {
            let text = character.repeat(length);
            assert_eq!(as_string(text.as_bytes()).is_some(), is_string, "{character:?} × {length}");
            let mut out = Vec::new();
            write_string(&text, &mut out);
            let base64 = text.len().div_ceil(3) * 4;
            assert!(!is_string || length <= SHORT_TEXT_BYTES || out.len() <= base64 + 2);
        }
        assert_eq!(as_string(b"\xff"), None);
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        for (text, depth) in
            [("1", 0), ("[]", 1), (r#"{"a":["[[\"[",{}]}"#, 3), (r#""[[""#, 0), (r#"["\\"]"#, 1)]
        {
            assert_eq!(json_depth(text), depth, "{text}");
        }
    }

    #[test]
    fn many_brackets_side_by_side_are_not_too_deep() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(too_deep(&nested(JSON_DEPTH_MAX)), None);
        assert_eq!(too_deep(&nested(JSON_DEPTH_MAX + 1)), Some(JSON_DEPTH_MAX + 1));
        let flat = format!("[{}[]]", "[],".repeat(JSON_DEPTH_MAX));
        assert_eq!(too_deep(&flat), None);
    }

    #[test]
    fn only_json_without_space_around_it_can_be_embedded() {
        for (text, is_json) in
            [("{}", true), ("{ }", true), (" {}", false), ("{}\n", false), ("{", false), ("", false)]
        {
            assert_eq!(as_json(text.as_bytes()).is_some(), is_json, "{text:?}");
        }
    }
}
