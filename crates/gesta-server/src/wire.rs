//! The JSON of the wire: how events, queries, places and expectations are written, used by the server and by clients
//! written in Rust.

mod capped;
mod event;
mod expected;
mod query;
mod rows;

pub(crate) use capped::Capped;
pub use event::{EventJson, EventJsonError, write_event, write_new_event};
pub(crate) use expected::expected_from_text;
pub use expected::{expected_json, position_from_json, position_json};
pub use query::{ItemJson, QueryJson};
pub use rows::rows_json;

use std::fmt::Display;
use std::io::Write;

use serde_json::value::RawValue;

use crate::limits::JSON_DEPTH_MAX;

/// The text of a JSON value, if those bytes are exactly one: without space around it, so that it can stand in other
/// JSON and be taken out again byte for byte.
pub(crate) fn as_json(bytes: &[u8]) -> Option<&RawValue> {
    let value = serde_json::from_slice::<&RawValue>(bytes).ok()?;
    (value.get().len() == bytes.len()).then_some(value)
}

/// Appends what is shown as it is.
pub(crate) fn write_shown(shown: &dyn Display, out: &mut Vec<u8>) {
    write!(out, "{shown}").expect("a vector takes everything");
}

/// Appends a text as a JSON string.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text can be written as JSON");
}

/// How deep a JSON text nests, if that is deeper than common parsers read. The text must be well formed.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    // Most texts have fewer brackets in all than they may nest deep, and those are quickly counted.
    let mut brackets = 0;
    for bytes in text.as_bytes().chunks(u8::MAX.into()) {
        // In a byte, so that many are counted with one instruction.
        let own: u8 = bytes.iter().map(|byte| u8::from(matches!(byte, b'[' | b'{'))).sum();
        brackets += usize::from(own);
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
    fn brackets_in_strings_do_not_nest() {
        for (text, depth) in
            [("1", 0), ("[]", 1), (r#"{"a":["[[\"[",{}]}"#, 3), (r#""[[""#, 0), (r#"["\\"]"#, 1)]
        {
            assert_eq!(json_depth(text), depth, "{text}");
        }
    }

    #[test]
    fn a_text_that_nests_too_deep_is_told_from_one_with_many_brackets() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(too_deep(&nested(JSON_DEPTH_MAX)), None);
        assert_eq!(too_deep(&nested(JSON_DEPTH_MAX + 1)), Some(JSON_DEPTH_MAX + 1));
        let flat = format!("[{}[]]", "[],".repeat(JSON_DEPTH_MAX));
        assert_eq!(too_deep(&flat), None);
    }

    #[test]
    fn only_bare_json_can_stand_in_other_json() {
        for (text, is_json) in
            [("{}", true), ("{ }", true), (" {}", false), ("{}\n", false), ("{", false), ("", false)]
        {
            assert_eq!(as_json(text.as_bytes()).is_some(), is_json, "{text:?}");
        }
    }
}
