//! Rewords parser errors for people who send JSON. The parsers' own texts name Rust types.

use std::fmt::{Display, Write as _};

/// The longest piece of the sender's input that an explanation quotes, in characters.
const REPEATED_CHARACTERS_MAX: usize = 80;

/// Explains a JSON error, with line and column if they are known.
#[cfg_attr(not(feature = "http"), expect(unreachable_pub, reason = "`http` re-exports it"))]
#[must_use]
pub fn explain_json(error: &serde_json::Error) -> String {
    let mut text = explain_json_value(error);
    if error.line() > 0 {
        let _ = write!(text, ", at line {} column {}", error.line(), error.column());
    }
    text
}

/// Explains a JSON error, without the place.
pub(crate) fn explain_json_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = text.strip_suffix(&place).unwrap_or(&text);
    syntax(message).map_or_else(|| mismatch(message).unwrap_or_else(|| message.to_owned()), str::to_owned)
}

/// Explains why a text does not parse.
#[must_use]
pub(crate) fn explain_parse(error: &dyn Display) -> String {
    let message = error.to_string();
    let plain = match message.as_str() {
        "invalid digit found in string" => "it is not a whole number",
        "cannot parse integer from empty string" => "it is empty: give a whole number",
        "number too large to fit in target type" => "the number is too large",
        "number too small to fit in target type" => "the number is too small",
        "number would be zero for non-zero type" => "it is 0: give a whole number from 1",
        _ => return message,
    };
    plain.to_owned()
}

/// Explains a syntax error.
fn syntax(message: &str) -> Option<&'static str> {
    Some(match message {
        "EOF while parsing a value" => "the JSON ends where a value is expected",
        "EOF while parsing an object" => "the JSON ends within an object",
        "EOF while parsing a list" => "the JSON ends within an array",
        "EOF while parsing a string" => "the JSON ends within a string",
        "expected ident" => "a bare word that is not `true`, `false` or `null`",
        "expected value" => "a value is expected",
        "expected `:`" => "a `:` is expected",
        "expected `,` or `]`" => "a `,` or `]` is expected",
        "expected `,` or `}`" => "a `,` or `}` is expected",
        "key must be a string" => "a name in double quotes is expected",
        "trailing comma" => "there is a `,` before the closing bracket",
        "trailing characters" => "there is text after the end of the JSON",
        "invalid escape" => "a `\\` in a string starts an escape that JSON does not have",
        "invalid number" => "a number is not in the form that JSON requires",
        "number out of range" => "a number is too large",
        "control character (\\u0000-\\u001F) found while parsing a string" => {
            "a string holds a control character: write it as an escape, such as `\\n`"
        }
        "invalid unicode code point" => "a string is not UTF-8",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a `\\u` escape in a string is incomplete"
        }
        "recursion limit exceeded" => "the JSON is nested too deeply",
        _ => return None,
    })
}

/// Explains JSON that does not fit the expected type.
fn mismatch(message: &str) -> Option<String> {
    if let Some((name, known)) = named(message, "unknown field `") {
        return Some(format!("`{name}` is unknown{}", listed(known)));
    }
    if let Some((name, known)) = named(message, "unknown variant `") {
        return Some(format!("`{name}` is unknown{}", listed(known)));
    }
    if let Some((name, _)) = named(message, "missing field `") {
        return Some(format!("`{name}` is missing"));
    }
    if let Some((name, _)) = named(message, "duplicate field `") {
        return Some(format!("`{name}` is given twice"));
    }
    let rest = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = rest.iter().find_map(|start| message.strip_prefix(start))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    Some(match message.starts_with("invalid length ") {
        true => format!("{} is expected, but it has {found} elements", plain_expected(expected)),
        false => format!("{} is expected, not {}", plain_expected(expected), plain_found(found)),
    })
}

/// The name after `start`, and the rest. The name is cut, since the sender chose it.
fn named<'a>(message: &'a str, start: &str) -> Option<(String, &'a str)> {
    let rest = message.strip_prefix(start)?;
    let end = rest.find("`, ").or_else(|| rest.ends_with('`').then(|| rest.len() - 1))?;
    Some((shortened(&rest[..end]), rest.get(end + 3..).unwrap_or("")))
}

fn listed(known: &str) -> String {
    let known = known.strip_prefix("expected ").unwrap_or("");
    let known = known.strip_prefix("one of ").unwrap_or(known);
    match known {
        "" => ": no field is accepted".to_owned(),
        known => format!(": known are {}", known.replace("` or `", "`, `")),
    }
}

fn plain_found(found: &str) -> String {
    let kinds = [
        ("string ", "the string "),
        ("character ", "the string "),
        ("integer ", "the number "),
        ("floating point ", "the number "),
        ("boolean ", ""),
    ];
    for (kind, plain) in kinds {
        if let Some(value) = found.strip_prefix(kind) {
            return format!("{plain}{}", shortened(value));
        }
    }
    match found {
        "null" | "unit value" => "`null`".to_owned(),
        "map" => "an object".to_owned(),
        "sequence" => "an array".to_owned(),
        other => shortened(other),
    }
}

fn plain_expected(expected: &str) -> String {
    if let Some(number) = expected.strip_prefix("a nonzero ") {
        return match number {
            "u8" => "a whole number from 1 to 255",
            "u16" => "a whole number from 1 to 65535",
            "u32" => "a whole number from 1 to 4294967295",
            number if number.starts_with('u') => "a whole number from 1",
            _ => "a whole number other than 0",
        }
        .to_owned();
    }
    if expected.starts_with("struct ") {
        return "an object".to_owned();
    }
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number from 0",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "a borrowed string" | "string" | "str" | "a character" => "a string",
        "a boolean" => "`true` or `false`",
        "a sequence" => "an array",
        "a map" | "map" => "an object",
        "string or map" => "a string or an object",
        "unit" => "`null`",
        "option" => "a value or `null`",
        other => other,
    }
    .to_owned()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(REPEATED_CHARACTERS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// The JSON type of a field in words, from its Rust type as written in the source. The name of a type that is not
/// known here means nothing to a caller, so it becomes `id` for a key, else `value`.
pub(crate) fn plain_type(rust_type: &str, is_id: bool) -> String {
    let plain_type = |inner: &str| plain_type(inner, is_id);
    let rust_type = rust_type.trim_start_matches('&').trim_start_matches("'static");
    let (outer, inner) = match rust_type.split_once('<') {
        Some((outer, inner)) => (outer, inner.strip_suffix('>')),
        None => (rust_type, None),
    };
    let name = outer.rsplit("::").next().unwrap_or(outer);
    match (name, inner) {
        ("Option", Some(inner)) => format!("{} or null", plain_type(inner)),
        ("Vec" | "BTreeSet" | "HashSet" | "VecDeque", Some(inner)) => {
            format!("array of {}", plain_type(inner))
        }
        ("Box" | "Arc" | "Rc", Some(inner)) => plain_type(inner),
        ("BTreeMap" | "HashMap", Some(_)) => "object".to_owned(),
        ("NonZero", Some(_)) => "whole number from 1".to_owned(),
        ("Cow", Some(_)) | ("String" | "str" | "char", None) => "string".to_owned(),
        ("bool", None) => "boolean".to_owned(),
        ("f32" | "f64", None) => "number".to_owned(),
        ("u8" | "u16" | "u32" | "u64" | "u128" | "usize", None) => "whole number from 0".to_owned(),
        ("i8" | "i16" | "i32" | "i64" | "i128" | "isize", None) => "whole number".to_owned(),
        ("NonZeroU8" | "NonZeroU16" | "NonZeroU32" | "NonZeroU64" | "NonZeroU128", None) => {
            "whole number from 1".to_owned()
        }
        ("EventId", None) => "id of an event".to_owned(),
        _ if is_id => "id".to_owned(),
        _ => "value".to_owned(),
    }
}

/// The JSON Schema of a field, from its Rust type as written in the source. Anything, for a type that is not known here.
#[cfg(feature = "http")]
pub(crate) fn plain_schema(rust_type: &str, is_id: bool) -> serde_json::Value {
    use serde_json::json;

    let words = plain_type(rust_type, is_id);
    if let Some(inner) = words.strip_suffix(" or null") {
        return json!({"anyOf": [schema_of_words(inner), {"type": "null"}]});
    }
    schema_of_words(&words)
}

#[cfg(feature = "http")]
fn schema_of_words(words: &str) -> serde_json::Value {
    use serde_json::json;

    if let Some(inner) = words.strip_prefix("array of ") {
        return json!({"type": "array", "items": schema_of_words(inner)});
    }
    match words {
        "string" | "boolean" | "number" | "object" => json!({"type": words}),
        "whole number from 0" => json!({"type": "integer", "minimum": 0}),
        "whole number from 1" => json!({"type": "integer", "minimum": 1}),
        "whole number" => json!({"type": "integer"}),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64, ParseIntError};

    use serde::de::DeserializeOwned;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its errors are of interest")]
    struct Order {
        customer: u64,
        note: String,
    }

    #[derive(Debug, serde::Deserialize)]
    enum Way {
        Up,
        Down,
    }

    #[track_caller]
    fn check<T: DeserializeOwned + std::fmt::Debug>(json: &str, expected: &str) {
        let error = serde_json::from_str::<T>(json).unwrap_err();
        let explained = explain_json(&error);
        assert!(explained.starts_with(expected), "{json}: {explained} (was: {error})");
    }

    #[test]
    fn json_that_does_not_fit_is_explained_without_rust_types() {
        check::<u64>("", "the JSON ends where a value is expected, at line 1 column 0");
        check::<Order>("{\"note\":", "the JSON ends where a value is expected");
        check::<Order>("{", "the JSON ends within an object");
        check::<bool>("tru ", "a bare word that is not `true`");
        check::<u64>("1 x", "there is text after the end of the JSON, at line 1 column 3");
        check::<Order>("{\n \"customer\" 1}", "a `:` is expected, at line 2 column 13");
        check::<u16>("70000", "a whole number from 0 to 65535 is expected, not the number `70000`");
        check::<u64>("\"x\"", "a whole number from 0 is expected, not the string \"x\"");
        check::<u64>("1.5", "a whole number from 0 is expected, not the number `1.5`");
        check::<NonZeroU32>("4294967296", "a whole number from 1 to 4294967295 is expected, not the number");
        check::<i8>("128", "a whole number from -128 to 127 is expected, not the number `128`");
        check::<NonZeroU64>("0", "a whole number from 1 is expected, not the number `0`");
        check::<String>("null", "a string is expected, not `null`");
        check::<String>("true", "a string is expected, not `true`");
        check::<Vec<u64>>("{}", "an array is expected, not an object");
        check::<Order>("7", "an object is expected, not the number `7`");
        check::<Order>("{}", "`customer` is missing");
        check::<Order>("{\"custmer\":1}", "`custmer` is unknown: known are `customer`, `note`");
        check::<Order>("{\"customer\":1,\"customer\":2}", "`customer` is given twice");
        check::<Way>("\"Left\"", "`Left` is unknown: known are `Up`, `Down`");
        check::<u64>("\"a, expected b\"", "a whole number from 0 is expected, not the string");
        let long = format!("\"{}\"", "é".repeat(1000));
        let explained = explain_json(&serde_json::from_str::<u64>(&long).unwrap_err());
        assert!(explained.len() < 300, "{explained}");
    }

    #[test]
    fn numbers_that_do_not_parse_are_explained() {
        let explained = |parsed: Result<NonZeroU64, ParseIntError>| explain_parse(&parsed.unwrap_err());
        assert_eq!(explained("x".parse()), "it is not a whole number");
        assert_eq!(explained("".parse()), "it is empty: give a whole number");
        assert_eq!(explained("0".parse()), "it is 0: give a whole number from 1");
        assert_eq!(explained("99999999999999999999".parse()), "the number is too large");
        assert_eq!(explain_parse(&"something else"), "something else");
    }

    #[test]
    fn types_are_named_as_in_json() {
        for (rust, plain) in [
            ("String", "string"),
            ("u64", "whole number from 0"),
            ("std::num::NonZeroU64", "whole number from 1"),
            ("Option<Vec<i32>>", "array of whole number or null"),
            ("money::Amount", "value"),
            ("Pair<u8,u8>", "value"),
            ("EventId", "id of an event"),
        ] {
            assert_eq!(plain_type(rust, false), plain, "{rust}");
        }
        for (rust, plain) in
            [("StudentId", "id"), ("Vec<ids::StudentId>", "array of id"), ("Option<StudentId>", "id or null")]
        {
            assert_eq!(plain_type(rust, true), plain, "{rust}");
        }
    }
}
