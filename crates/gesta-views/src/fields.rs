//! The fields of an event's JSON data as SQL values, read in one pass without building a tree.

use std::borrow::Cow;
use std::fmt;

use gesta_core::{ContentKind, RecordedEvent};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::text::lossy_text;
use crate::value::Value;

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field<'e> {
    /// The data has no such field.
    Missing,
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'e, str>),
}

impl Field<'_> {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Missing | Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Real(number) => Value::Real(*number),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
        }
    }
}

/// Why a field could not be taken out of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// The event's data is text or octets, and the handler reads fields.
    #[error("its data is not JSON, so it has no fields: use `$data`, or `-- ignore` for this version")]
    NotJson,
    /// The event's data is not well-formed JSON.
    #[error("its data is damaged JSON: {message}")]
    Damaged {
        /// What is wrong, with line and column in the data.
        message: String,
    },
    /// The event's data is JSON, but not an object.
    #[error("its data is not a JSON object, so it has no fields: use `$data`")]
    NotAnObject,
    /// A required field is missing or null.
    #[error("the required field `{field}` is missing or null")]
    Required {
        /// The field.
        field: String,
    },
    /// A number is out of the range of SQLite's types.
    #[error(
        "the number {number} in field `{field}` is out of range: integers reach from -2^63 to 2^63-1 and floats to 1.8e308; store a larger one as a string"
    )]
    NumberTooLarge {
        /// The field.
        field: String,
        /// The number as the data has it, cut to 40 characters.
        number: String,
    },
}

/// Takes these fields out of an event's data, in the order of `names`. If a field occurs twice, the last one counts.
pub(crate) fn extract<'e>(
    event: &'e RecordedEvent,
    names: &[String],
    fields: &mut Vec<Field<'e>>,
) -> Result<(), FieldProblem> {
    fields.clear();
    fields.resize(names.len(), Field::Missing);
    if names.is_empty() {
        return Ok(());
    }
    if event.kind() != ContentKind::Json {
        return Err(FieldProblem::NotJson);
    }
    let damaged = |message: String| FieldProblem::Damaged { message };
    let text = std::str::from_utf8(event.data_slice()).map_err(|error| damaged(error.to_string()))?;
    if text.trim_ascii_start().as_bytes().first().is_some_and(|first| *first != b'{') {
        return Err(FieldProblem::NotAnObject);
    }
    let mut raw = vec![None; names.len()];
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Object { names, raw: &mut raw }.deserialize(&mut deserializer);
    read.and_then(|()| deserializer.end()).map_err(|error| damaged(error.to_string()))?;
    for ((field, raw), name) in fields.iter_mut().zip(raw).zip(names) {
        if let Some(raw) = raw {
            *field = typed(name, raw)?;
        }
    }
    Ok(())
}

/// The value of a well-formed JSON text.
fn typed<'e>(name: &str, raw: &'e str) -> Result<Field<'e>, FieldProblem> {
    Ok(match raw.as_bytes().first() {
        Some(b'n') => Field::Null,
        Some(b't') => Field::Integer(1),
        Some(b'f') => Field::Integer(0),
        Some(b'{' | b'[') => Field::Text(Cow::Borrowed(raw)),
        Some(b'"') => Field::Text(unquoted(raw)?),
        _ => number(name, raw)?,
    })
}

fn unquoted(raw: &str) -> Result<Cow<'_, str>, FieldProblem> {
    if !raw.contains('\\') {
        return Ok(Cow::Borrowed(&raw[1..raw.len() - 1]));
    }
    let bytes = Bytes.deserialize(&mut serde_json::Deserializer::from_str(raw));
    let text = bytes.map(|bytes| Cow::Owned(lossy_text(&bytes)));
    text.map_err(|error| FieldProblem::Damaged { message: error.to_string() })
}

/// Reads a JSON string as bytes, since one with half a surrogate pair is no Rust string.
struct Bytes;

impl<'e> DeserializeSeed<'e> for Bytes {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'e>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_owned())
    }
}

fn number(name: &str, raw: &str) -> Result<Field<'static>, FieldProblem> {
    let is_integer = !raw.contains(['.', 'e', 'E']);
    let number = if is_integer {
        raw.parse().ok().map(Field::Integer)
    } else {
        raw.parse().ok().filter(|number: &f64| number.is_finite()).map(Field::Real)
    };
    number.ok_or_else(|| FieldProblem::NumberTooLarge {
        field: name.to_owned(),
        number: raw.chars().take(40).collect(),
    })
}

/// Reads an object and keeps the JSON texts of the wanted fields.
struct Object<'n, 'r, 'e> {
    names: &'n [String],
    raw: &'r mut Vec<Option<&'e str>>,
}

impl<'e> DeserializeSeed<'e> for Object<'_, '_, 'e> {
    type Value = ();

    fn deserialize<D: Deserializer<'e>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'e> Visitor<'e> for Object<'_, '_, 'e> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'e>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(wanted) = map.next_key_seed(Key(self.names))? {
            match wanted {
                Some(index) => self.raw[index] = Some(map.next_value::<&'e RawValue>()?.get()),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a key and finds its index among the wanted fields. As bytes, since a key too can have half a surrogate pair.
struct Key<'n>(&'n [String]);

impl<'e> DeserializeSeed<'e> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'e>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|name| name.as_bytes() == key))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use gesta_conformance::sample::{self, Sample as _};
    use gesta_core::{Position, Version};

    use super::*;

    fn check(data: &str, expected: &expect_test::Expect) {
        let event = sample::event("s-1", 1_u8).with_data(data.to_owned());
        let position = Position { partition: 0, sequence: 1 };
        let event = RecordedEvent::new(position, Version::FIRST, event.time, event.to_bytes());
        let names = ["a", "b"].map(str::to_owned);
        let mut fields = Vec::new();
        match extract(&event, &names, &mut fields) {
            Ok(()) => expected.assert_eq(&format!("{fields:?}")),
            Err(problem) => expected.assert_eq(&problem.to_string()),
        }
    }

    #[test]
    fn fields_get_the_types_of_sqlite() {
        check(r#"{"a": 1, "x": [1, {"a": 2}], "b": -1.5}"#, &expect!["[Integer(1), Real(-1.5)]"]);
        check(r#"{"a": true, "b": null}"#, &expect!["[Integer(1), Null]"]);
        check(r#"{"b": false}"#, &expect!["[Missing, Integer(0)]"]);
        check(r#" {"a": "12.50", "b": "\"\u00e9\n"}"#, &expect![[r#"[Text("12.50"), Text("\"é\n")]"#]]);
        check(r#"{"a": { "b" : [1] }, "b": [ ]}"#, &expect![[r#"[Text("{ \"b\" : [1] }"), Text("[ ]")]"#]]);
        check(
            r#"{"a": 9223372036854775807, "b": 1e2}"#,
            &expect!["[Integer(9223372036854775807), Real(100.0)]"],
        );
        check(r#"{"a": 1, "\u0061": 2}"#, &expect!["[Integer(2), Missing]"]);
    }

    #[test]
    fn half_a_surrogate_pair_reads_as_the_replacement_character() {
        check(
            r#"{"a": "caf\ud83d", "b": "\udc00\u00e9\ud83dx"}"#,
            &expect![[r#"[Text("caf�"), Text("�é�x")]"#]],
        );
        check(r#"{"a": "\ud83d\ude00", "\ud83d": 1, "x": "\ud83d"}"#, &expect![[r#"[Text("😀"), Missing]"#]]);
    }

    #[test]
    fn fields_that_cannot_be_read_are_refused() {
        check(
            r#"{"a": 9223372036854775808}"#,
            &expect![
                "the number 9223372036854775808 in field `a` is out of range: integers reach from -2^63 to 2^63-1 and floats to 1.8e308; store a larger one as a string"
            ],
        );
        check(
            r#"{"a": 1e999}"#,
            &expect![
                "the number 1e999 in field `a` is out of range: integers reach from -2^63 to 2^63-1 and floats to 1.8e308; store a larger one as a string"
            ],
        );
        check("[1]", &expect!["its data is not a JSON object, so it has no fields: use `$data`"]);
        check(
            r#"{"a": 1"#,
            &expect!["its data is damaged JSON: EOF while parsing an object at line 1 column 7"],
        );
        check(r#"{"a": 1} x"#, &expect!["its data is damaged JSON: trailing characters at line 1 column 10"]);
        check("", &expect!["its data is damaged JSON: EOF while parsing a value at line 1 column 0"]);
    }
}
