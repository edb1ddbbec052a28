//! What parsers say, in words for people who send JSON: their own texts speak of Rust's types.

use std::fmt::{Display, Write as _};

/// The longest text of the sender's that an explanation repeats, in characters.
const REPEATED_CHARACTERS_MAX: usize = 80;

/// What is wrong with a JSON text, with its line and column where they are known.
#[cfg_attr(not(feature = "http"), expect(unreachable_pub, reason = "`http` gives it out"))]
#[must_use]
pub fn explain_json(error: &serde_json::Error) -> String {
    let mut text = explain_json_value(error);
    if error.line() > 0 {
        let _ = write!(text, ", at line {} column {}", error.line(), error.column());
    }
    text
}

/// What is wrong with a JSON text, without the place.
pub(crate) fn explain_json_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let said = text.strip_suffix(&place).unwrap_or(&text);
    syntax(said).map_or_else(|| mismatch(said).unwrap_or_else(|| said.to_owned()), str::to_owned)
}

/// What is wrong with a text that was to be parsed.
#[must_use]
pub(crate) fn explain_parse(error: &dyn Display) -> String {
    let said = error.to_string();
    let plain = match said.as_str() {
        "invalid digit found in string" => "it is not a whole number",
        "cannot parse integer from empty string" => "it is empty: give a whole number",
        "number too large to fit in target type" => "the number is too large",
        "number too small to fit in target type" => "the number is too small",
        "number would be zero for non-zero type" => "it is 0: give a whole number from 1",
        _ => return said,
    };
    plain.to_owned()
}

/// Text that is no JSON.
fn syntax(said: &str) -> Option<&'static str> {
    Some(match said {
        "EOF while parsing a value" => "the JSON ends where a value is expected",
        "EOF while parsing an object" => "the JSON ends within an object",
        "EOF while parsing a list" => "the JSON ends within an array",
        "EOF while parsing a string" => "the JSON ends within a text",
        "expected ident" => "a bare word that is not `true`, `false` or `null`",
        "expected value" => "a value is expected",
        "expected `:`" => "a `:` is expected",
        "expected `,` or `]`" => "a `,` or `]` is expected",
        "expected `,` or `}`" => "a `,` or `}` is expected",
        "key must be a string" => "a name in double quotes is expected",
        "trailing comma" => "a `,` stands before the closing bracket",
        "trailing characters" => "something stands behind the end of the JSON",
        "invalid escape" => "a `\\` in a text begins no escape that JSON knows",
        "invalid number" => "a number is not written as JSON writes numbers",
        "number out of range" => "a number is too large",
        "control character (\\u0000-\\u001F) found while parsing a string" => {
            "a text holds a control character: write it as an escape, such as `\\n`"
        }
        "invalid unicode code point" => "a text is not UTF-8",
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a `\\u` escape in a text is not whole"
        }
        "recursion limit exceeded" => "the JSON nests too deep",
        _ => return None,
    })
}

/// JSON that is not what was asked for.
fn mismatch(said: &str) -> Option<String> {
    if let Some((name, known)) = named(said, "unknown field `") {
        return Some(format!("`{name}` is unknown{}", listed(known)));
    }
    if let Some((name, known)) = named(said, "unknown variant `") {
        return Some(format!("`{name}` is unknown{}", listed(known)));
    }
    if let Some((name, _)) = named(said, "missing field `") {
        return Some(format!("`{name}` is missing"));
    }
    if let Some((name, _)) = named(said, "duplicate field `") {
        return Some(format!("`{name}` stands twice"));
    }
    let rest = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = rest.iter().find_map(|start| said.strip_prefix(start))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    Some(match said.starts_with("invalid length ") {
        true => format!("{} is expected, but it has {found} elements", plain_expected(expected)),
        false => format!("{} is expected, not {}", plain_expected(expected), plain_found(found)),
    })
}

/// The name behind such a beginning, and what follows it. The name is cut, since the sender chose it.
fn named<'a>(said: &'a str, start: &str) -> Option<(String, &'a str)> {
    let rest = said.strip_prefix(start)?;
    let end = rest.find("`, ").or_else(|| rest.ends_with('`').then(|| rest.len() - 1))?;
    Some((shortened(&rest[..end]), rest.get(end + 3..).unwrap_or("")))
}

fn listed(known: &str) -> String {
    let known = known.strip_prefix("expected ").unwrap_or("");
    let known = known.strip_prefix("one of ").unwrap_or(known);
    match known {
        "" => ": none is taken".to_owned(),
        known => format!(": known are {}", known.replace("` or `", "`, `")),
    }
}

fn plain_found(found: &str) -> String {
    let kinds = [
        ("string ", "the text "),
        ("character ", "the text "),
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
        return if number.starts_with('u') { "a whole number from 1" } else { "a whole number other than 0" }
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
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "a borrowed string" | "string" | "str" | "a character" => "a text",
        "a boolean" => "`true` or `false`",
        "a sequence" => "an array",
        "a map" | "map" => "an object",
        "string or map" => "a text or an object",
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

/// The type of a field in words, from how the source code has it.
pub(crate) fn plain_type(rust_type: &str) -> String {
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
        (name, None) => name.to_owned(),
        (_, Some(_)) => rust_type.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU64, ParseIntError};

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
        let said = explain_json(&error);
        assert!(said.starts_with(expected), "{json}: {said} (was: {error})");
    }

    #[test]
    fn json_that_does_not_fit_is_explained_without_types_of_rust() {
        check::<u64>("", "the JSON ends where a value is expected, at line 1 column 0");
        check::<Order>("{\"note\":", "the JSON ends where a value is expected");
        check::<Order>("{", "the JSON ends within an object");
        check::<bool>("tru ", "a bare word that is not `true`");
        check::<u64>("1 x", "something stands behind the end of the JSON, at line 1 column 3");
        check::<Order>("{\n \"customer\" 1}", "a `:` is expected, at line 2 column 13");
        check::<u16>("70000", "a whole number from 0 to 65535 is expected, not the number `70000`");
        check::<u64>("\"x\"", "a whole number from 0 is expected, not the text \"x\"");
        check::<u64>("1.5", "a whole number from 0 is expected, not the number `1.5`");
        check::<NonZeroU64>("0", "a whole number from 1 is expected, not the number `0`");
        check::<String>("null", "a text is expected, not `null`");
        check::<String>("true", "a text is expected, not `true`");
        check::<Vec<u64>>("{}", "an array is expected, not an object");
        check::<Order>("7", "an object is expected, not the number `7`");
        check::<Order>("{}", "`customer` is missing");
        check::<Order>("{\"custmer\":1}", "`custmer` is unknown: known are `customer`, `note`");
        check::<Order>("{\"customer\":1,\"customer\":2}", "`customer` stands twice");
        check::<Way>("\"Left\"", "`Left` is unknown: known are `Up`, `Down`");
        check::<u64>("\"a, expected b\"", "a whole number from 0 is expected, not the text");
        let long = format!("\"{}\"", "é".repeat(1000));
        let said = explain_json(&serde_json::from_str::<u64>(&long).unwrap_err());
        assert!(said.len() < 300, "{said}");
    }

    #[test]
    fn numbers_that_do_not_parse_are_explained() {
        let said = |parsed: Result<NonZeroU64, ParseIntError>| explain_parse(&parsed.unwrap_err());
        assert_eq!(said("x".parse()), "it is not a whole number");
        assert_eq!(said("".parse()), "it is empty: give a whole number");
        assert_eq!(said("0".parse()), "it is 0: give a whole number from 1");
        assert_eq!(said("99999999999999999999".parse()), "the number is too large");
        assert_eq!(explain_parse(&"something else"), "something else");
    }

    #[test]
    fn types_are_named_as_json_has_them() {
        for (rust, plain) in [
            ("String", "string"),
            ("u64", "whole number from 0"),
            ("std::num::NonZeroU64", "whole number from 1"),
            ("Option<Vec<i32>>", "array of whole number or null"),
            ("money::Amount", "Amount"),
            ("Pair<u8,u8>", "Pair<u8,u8>"),
        ] {
            assert_eq!(plain_type(rust), plain, "{rust}");
        }
    }
}
