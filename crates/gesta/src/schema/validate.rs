//! Checks a value against a schema: the words that the canonical form has, `const`, and no more.
//!
//! `format`, `pattern` and words that are not listed here check nothing.

use serde_json::{Map, Value};

/// How deep a value may be nested in definitions that contain themselves.
const DEPTH_MAX: u32 = 128;

/// Finds the first place where a value does not fit a schema.
pub(crate) fn misfit(schema: &Value, value: &Value) -> Option<String> {
    Check { root: schema }.schema(schema, value, "", 0).err()
}

/// Finds the first place where a value does not fit a schema that is part of a document, such as a description of an API. References are
/// to places in the document.
#[must_use]
pub fn misfit_within(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    Check { root: document }.schema(schema, value, "", 0).err()
}

struct Check<'a> {
    root: &'a Value,
}

type Checked = Result<(), String>;

impl Check<'_> {
    fn schema(&self, schema: &Value, value: &Value, at: &str, depth: u32) -> Checked {
        let schema = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Object(schema) if depth < DEPTH_MAX => schema,
            Value::Object(_) => return fails(at, "is nested too deep"),
            _ => return fails(at, "is not allowed"),
        };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = self.root.pointer(reference.trim_start_matches('#'));
            let Some(target) = target else {
                return fails(at, &format!("needs `{reference}`, which is missing"));
            };
            self.schema(target, value, at, depth + 1)?;
        }
        kind(schema, value, at)?;
        numbers(schema, value, at)?;
        self.choices(schema, value, at, depth)?;
        match value {
            Value::Object(members) => self.object(schema, members, at, depth),
            Value::Array(items) => self.array(schema, items, at, depth),
            Value::String(text) => sizes(schema, "Length", text.chars().count(), at),
            _ => Ok(()),
        }
    }

    fn choices(&self, schema: &Map<String, Value>, value: &Value, at: &str, depth: u32) -> Checked {
        let fits = |choice: &&Value| self.schema(choice, value, at, depth + 1).is_ok();
        for choice in list(schema, "allOf") {
            self.schema(choice, value, at, depth + 1)?;
        }
        if schema.contains_key("anyOf") && !list(schema, "anyOf").iter().any(|choice| fits(&choice)) {
            return fails(at, "fits none of the choices");
        }
        if schema.contains_key("oneOf") {
            match list(schema, "oneOf").iter().filter(fits).count() {
                1 => {}
                0 => return fails(at, "fits none of the choices"),
                _ => return fails(at, "fits more than one of the choices"),
            }
        }
        match schema.get("not") {
            Some(not) if fits(&not) => fails(at, "is excluded"),
            _ => Ok(()),
        }
    }

    fn object(
        &self,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        at: &str,
        depth: u32,
    ) -> Checked {
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                return fails(at, &format!("lacks `{name}`"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, value) in members {
            let property = properties.and_then(|properties| properties.get(name));
            // A pattern needs an engine for regular expressions: what it may cover passes.
            let is_free = schema.contains_key("patternProperties");
            match property.or_else(|| schema.get("additionalProperties").filter(|_| !is_free)) {
                Some(Value::Bool(false)) => return fails(at, &format!("must not have `{name}`")),
                Some(schema) => self.schema(schema, value, &format!("{at}/{name}"), depth + 1)?,
                None => {}
            }
        }
        sizes(schema, "Properties", members.len(), at)
    }

    fn array(&self, schema: &Map<String, Value>, items: &[Value], at: &str, depth: u32) -> Checked {
        let first = list(schema, "prefixItems");
        for (place, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(place).or_else(|| schema.get("items")) {
                self.schema(schema, item, &format!("{at}/{place}"), depth + 1)?;
            }
        }
        let is_set = schema.get("uniqueItems") == Some(&Value::Bool(true));
        if is_set && items.iter().enumerate().any(|(place, item)| items[..place].contains(item)) {
            return fails(at, "has an item twice");
        }
        sizes(schema, "Items", items.len(), at)
    }
}

fn fails(at: &str, what: &str) -> Checked {
    Err(if at.is_empty() { format!("the data {what}") } else { format!("`{at}` {what}") })
}

fn list<'a>(schema: &'a Map<String, Value>, word: &str) -> &'a [Value] {
    schema.get(word).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn kind(schema: &Map<String, Value>, value: &Value, at: &str) -> Checked {
    let is = |kind: &str| match (kind, value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("string", Value::String(_))
        | ("array", Value::Array(_))
        | ("object", Value::Object(_))
        | ("number", Value::Number(_)) => true,
        ("integer", Value::Number(number)) => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
        }
        _ => false,
    };
    let fits = match schema.get("type") {
        None => true,
        Some(Value::String(kind)) => is(kind),
        Some(kinds) => kinds.as_array().is_some_and(|kinds| kinds.iter().filter_map(Value::as_str).any(is)),
    };
    if !fits {
        return fails(at, &format!("is not of type {}", schema["type"]));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return fails(at, &format!("is not {}", schema["const"]));
    }
    match schema.get("enum").and_then(Value::as_array) {
        Some(values) if !values.contains(value) => fails(at, &format!("is none of {}", schema["enum"])),
        _ => Ok(()),
    }
}

fn numbers(schema: &Map<String, Value>, value: &Value, at: &str) -> Checked {
    let Some(number) = exact(value) else { return Ok(()) };
    let bounds: [(&str, Holds); 4] = [
        ("minimum", |number, bound| number.cmp(bound).is_ge()),
        ("exclusiveMinimum", |number, bound| number.cmp(bound).is_gt()),
        ("maximum", |number, bound| number.cmp(bound).is_le()),
        ("exclusiveMaximum", |number, bound| number.cmp(bound).is_lt()),
    ];
    for (word, holds) in bounds {
        if let Some(bound) = schema.get(word)
            && exact(bound).is_some_and(|bound| !holds(number, bound))
        {
            return fails(at, &format!("breaks `{word}` {bound}"));
        }
    }
    let Some(step) = schema.get("multipleOf").and_then(Value::as_f64) else { return Ok(()) };
    let is_multiple = value.as_f64().is_none_or(|value| (value / step).fract() == 0.0);
    if is_multiple { Ok(()) } else { fails(at, &format!("is no multiple of {step}")) }
}

/// Compares a number with a bound.
type Holds = fn(Exact, Exact) -> bool;

/// A number of JSON. Integers are compared exactly: a float does not hold the largest ones.
#[derive(Clone, Copy)]
enum Exact {
    Integer(i128),
    Float(f64),
}

impl Exact {
    fn cmp(self, other: Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(&other),
            (one, other) => one.float().total_cmp(&other.float()),
        }
    }

    fn float(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "compared with a float, which is as exact")]
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }
}

fn exact(value: &Value) -> Option<Exact> {
    let integer = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    integer.map(Exact::Integer).or_else(|| value.as_f64().map(Exact::Float))
}

fn sizes(schema: &Map<String, Value>, what: &str, size: usize, at: &str) -> Checked {
    let bound = |side: &str| schema.get(&format!("{side}{what}")).and_then(Value::as_u64);
    let size = size as u64;
    match (bound("min"), bound("max")) {
        (Some(min), _) if size < min => fails(at, &format!("breaks `min{what}` {min}")),
        (_, Some(max)) if size > max => fails(at, &format!("breaks `max{what}` {max}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A schema, a value that fits, one that does not, and why.
    type Case = (Value, Value, Value, &'static str);

    #[track_caller]
    fn check(cases: impl IntoIterator<Item = Case>) {
        for (schema, good, bad, expected) in cases {
            assert_eq!(misfit(&schema, &good), None, "{schema} {good}");
            assert_eq!(misfit(&schema, &bad).as_deref(), Some(expected), "{schema} {bad}");
        }
    }

    #[test]
    fn types_bounds_and_lengths_accept_and_refuse() {
        check([
            (json!({"type": "string"}), json!("a"), json!(1), "the data is not of type \"string\""),
            (
                json!({"type": ["null", "integer"]}),
                json!(null),
                json!("a"),
                "the data is not of type [\"null\",\"integer\"]",
            ),
            (json!({"type": "integer"}), json!(3.0), json!(3.5), "the data is not of type \"integer\""),
            (json!({"type": "number"}), json!(3.5), json!(true), "the data is not of type \"number\""),
            (json!({"enum": ["a", "b"]}), json!("b"), json!("c"), "the data is none of [\"a\",\"b\"]"),
            (json!({"const": "a"}), json!("a"), json!("b"), "the data is not \"a\""),
            (json!({"minimum": 1}), json!(1), json!(0), "the data breaks `minimum` 1"),
            (
                json!({"maximum": u64::MAX - 1}),
                json!(u64::MAX - 1),
                json!(u64::MAX),
                "the data breaks `maximum` 18446744073709551614",
            ),
            (json!({"exclusiveMinimum": 1}), json!(1.5), json!(1), "the data breaks `exclusiveMinimum` 1"),
            (json!({"exclusiveMaximum": 1}), json!(0), json!(1), "the data breaks `exclusiveMaximum` 1"),
            (json!({"multipleOf": 5}), json!(10), json!(12), "the data is no multiple of 5"),
            (
                json!({"minLength": 2, "maxLength": 3}),
                json!("äöü"),
                json!("ä"),
                "the data breaks `minLength` 2",
            ),
            (json!({"maxLength": 3}), json!("äöü"), json!("abcd"), "the data breaks `maxLength` 3"),
        ]);
    }

    #[test]
    fn lists_and_objects_accept_and_refuse() {
        check([
            (
                json!({"minItems": 1, "items": {"type": "null"}}),
                json!([null]),
                json!([]),
                "the data breaks `minItems` 1",
            ),
            (json!({"maxItems": 1}), json!([1]), json!([1, 2]), "the data breaks `maxItems` 1"),
            (
                json!({"items": {"type": "null"}}),
                json!([null]),
                json!([null, 1]),
                "`/1` is not of type \"null\"",
            ),
            (
                json!({"prefixItems": [{"type": "null"}], "items": false}),
                json!([null]),
                json!([null, 1]),
                "`/1` is not allowed",
            ),
            (json!({"uniqueItems": true}), json!([1, 2]), json!([1, 2, 1]), "the data has an item twice"),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({"b": 1}), "the data lacks `a`"),
            (
                json!({"properties": {"a": {"type": "null"}}}),
                json!({"a": null, "b": 1}),
                json!({"a": 1}),
                "`/a` is not of type \"null\"",
            ),
            (
                json!({"properties": {"a": true}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"b": 1}),
                "the data must not have `b`",
            ),
            (
                json!({"additionalProperties": {"type": "null"}}),
                json!({"a": null}),
                json!({"a": 1}),
                "`/a` is not of type \"null\"",
            ),
            (
                json!({"maxProperties": 1}),
                json!({"a": 1}),
                json!({"a": 1, "b": 1}),
                "the data breaks `maxProperties` 1",
            ),
        ]);
    }

    #[test]
    fn choices_and_references_accept_and_refuse() {
        check([
            (
                json!({"anyOf": [{"type": "null"}, {"minimum": 5}]}),
                json!(null),
                json!(4),
                "the data fits none of the choices",
            ),
            (
                json!({"oneOf": [{"minimum": 5}, {"maximum": 7}]}),
                json!(4),
                json!(6),
                "the data fits more than one of the choices",
            ),
            (
                json!({"oneOf": [{"minimum": 5}, {"enum": [2]}]}),
                json!(2),
                json!(3),
                "the data fits none of the choices",
            ),
            (
                json!({"allOf": [{"minimum": 5}, {"maximum": 7}]}),
                json!(6),
                json!(8),
                "the data breaks `maximum` 7",
            ),
            (json!({"not": {"type": "null"}}), json!(1), json!(null), "the data is excluded"),
            (
                json!({"items": {"$ref": "#/$defs/1"}, "$defs": {"1": {"type": "array", "items": {"$ref": "#/$defs/1"}}}}),
                json!([[[]], []]),
                json!([[[1]]]),
                "`/0/0/0` is not of type \"array\"",
            ),
        ]);
    }

    #[test]
    fn a_schema_that_refers_to_itself_and_to_nothing_ends() {
        let endless = json!({"$ref": "#/$defs/1", "$defs": {"1": {"$ref": "#/$defs/1"}}});
        assert_eq!(misfit(&endless, &json!(1)).as_deref(), Some("the data is nested too deep"));
        assert!(misfit(&json!({"$ref": "#/$defs/7"}), &json!(1)).is_some());
    }

    #[test]
    fn a_schema_that_is_part_of_a_document_refers_to_other_parts() {
        let document = json!({"components": {"schemas": {"Version": {"type": "integer"}}}});
        let schema = json!({"$ref": "#/components/schemas/Version"});
        assert_eq!(misfit_within(&document, &schema, &json!(7)), None);
        assert!(misfit_within(&document, &schema, &json!("7")).is_some());
    }
}
