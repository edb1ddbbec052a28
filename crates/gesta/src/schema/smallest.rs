//! The smallest value that fits a canonical schema: only what is required, each bound at its lower end.
//!
//! A sample made of it has no optional property, so it shows what their defaults are.

use serde_json::{Map, Value, json};

use super::validate::misfit;

/// How deep a value is built. A schema that requires more of itself has no finite value.
const DEPTH_MAX: u32 = 64;

/// Builds the smallest value. `None` if the schema has a word that needs a person, such as `pattern`, or accepts nothing.
pub(crate) fn smallest(schema: &Value) -> Option<Value> {
    let value = Build { root: schema }.value(schema, DEPTH_MAX)?;
    misfit(schema, &value).is_none().then_some(value)
}

struct Build<'a> {
    root: &'a Value,
}

impl Build<'_> {
    fn value(&self, schema: &Value, depth: u32) -> Option<Value> {
        let schema = match schema {
            Value::Bool(true) => return Some(Value::Null),
            Value::Object(schema) => schema,
            _ => return None,
        };
        let depth = depth.checked_sub(1)?;
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return self.value(self.root.pointer(reference.trim_start_matches('#'))?, depth);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values.first().cloned();
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(word).and_then(Value::as_array) {
                let mut values =
                    choices.iter().filter_map(|choice| self.value(choice, depth)).collect::<Vec<_>>();
                values.sort_by_cached_key(|value| (!value.is_null(), value.to_string().len()));
                return values.into_iter().next().map(|value| self.with_rest(schema, value, depth));
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            let mut parts = parts.iter().map(|part| self.value(part, depth));
            let first = parts.next()??;
            let whole = parts.try_fold(first, |whole, part| Some(merged(whole, part?)))?;
            return Some(self.with_rest(schema, whole, depth));
        }
        self.of_type(schema, depth)
    }

    /// Adds the properties that the schema requires beside its choices.
    fn with_rest(&self, schema: &Map<String, Value>, value: Value, depth: u32) -> Value {
        if !schema.contains_key("properties") {
            return value;
        }
        match self.object(schema, depth) {
            Some(rest) => merged(rest, value),
            None => value,
        }
    }

    fn of_type(&self, schema: &Map<String, Value>, depth: u32) -> Option<Value> {
        let kinds = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            Some(kind) => vec![kind.as_str()?],
            None if schema.contains_key("properties") => vec!["object"],
            None => vec!["null"],
        };
        match kinds.iter().find(|kind| **kind == "null").or(kinds.first())? {
            &"null" => Some(Value::Null),
            &"boolean" => Some(json!(false)),
            &"integer" | &"number" => Some(number(schema)),
            &"string" => text(schema),
            &"array" => self.array(schema, depth),
            &"object" => self.object(schema, depth),
            _ => None,
        }
    }

    fn array(&self, schema: &Map<String, Value>, depth: u32) -> Option<Value> {
        let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let min = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let count = usize::try_from(min).ok()?.max(first.len());
        let item = |place: usize| match first.get(place).or_else(|| schema.get("items")) {
            Some(schema) => self.value(schema, depth),
            None => Some(Value::Null),
        };
        (0..count).map(item).collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn object(&self, schema: &Map<String, Value>, depth: u32) -> Option<Value> {
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let members = required.filter_map(Value::as_str).map(|name| {
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            let value = property.map_or(Some(Value::Null), |property| self.value(property, depth))?;
            Some((name.to_owned(), value))
        });
        members.collect::<Option<Map<_, _>>>().map(Value::Object)
    }
}

fn merged(whole: Value, part: Value) -> Value {
    match (whole, part) {
        (Value::Object(mut whole), Value::Object(part)) => {
            whole.extend(part);
            Value::Object(whole)
        }
        (_, part) => part,
    }
}

fn number(schema: &Map<String, Value>) -> Value {
    let bound = |word: &str| schema.get(word).filter(|bound| bound.is_number());
    if let Some(minimum) = bound("minimum").filter(|bound| bound.as_f64() > Some(0.0)) {
        return minimum.clone();
    }
    if let Some(below) = bound("exclusiveMinimum").and_then(Value::as_i64).filter(|below| *below >= 0) {
        return json!(below + 1);
    }
    match bound("maximum") {
        Some(maximum) if maximum.as_f64() < Some(0.0) => maximum.clone(),
        _ => json!(0),
    }
}

fn text(schema: &Map<String, Value>) -> Option<Value> {
    if schema.contains_key("pattern") {
        return None;
    }
    let known = match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => "1970-01-01T00:00:00Z",
        Some("date") => "1970-01-01",
        Some("time") => "00:00:00Z",
        Some("uuid") => "00000000-0000-0000-0000-000000000000",
        Some("ipv4") => "0.0.0.0",
        Some("ipv6") => "::",
        Some("uri") => "urn:x",
        _ => {
            let min = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0);
            return Some(Value::String("x".repeat(usize::try_from(min).ok()?)));
        }
    };
    Some(json!(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_value_has_what_is_required_and_fits() {
        let cases = [
            (json!({"type": "object"}), json!({})),
            (
                json!({"type": "object", "required": ["a", "b"], "properties": {
                    "a": {"type": "integer", "minimum": 1}, "b": {"type": ["null", "string"]}, "c": {"type": "string"}}}),
                json!({"a": 1, "b": null}),
            ),
            (
                json!({"type": "array", "minItems": 2, "items": {"type": "string", "minLength": 1}}),
                json!(["x", "x"]),
            ),
            (json!({"type": "array", "prefixItems": [{"type": "boolean"}], "minItems": 1}), json!([false])),
            (json!({"enum": ["A", "B"]}), json!("A")),
            (json!({"anyOf": [{"type": "object"}, {"type": "null"}]}), json!(null)),
            (json!({"oneOf": [{"type": "string", "enum": ["Long one"]}, {"enum": ["B"]}]}), json!("B")),
            (
                json!({"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"], "oneOf": [
                    {"type": "object", "properties": {"kind": {"enum": ["cash"]}}, "required": ["kind"]}]}),
                json!({"id": 0, "kind": "cash"}),
            ),
            (json!({"type": "integer", "maximum": -3}), json!(-3)),
            (json!({"type": "integer", "exclusiveMinimum": 4}), json!(5)),
            (json!({"type": "string", "format": "uuid"}), json!("00000000-0000-0000-0000-000000000000")),
            (
                json!({"$ref": "#/$defs/1", "$defs": {"1": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/1"}, {"type": "null"}]}}, "required": ["next"]}}}),
                json!({"next": null}),
            ),
            (json!(true), json!(null)),
        ];
        for (schema, expected) in cases {
            assert_eq!(smallest(&schema), Some(expected), "{schema}");
        }
    }

    #[test]
    fn what_needs_a_person_and_what_has_no_value_gives_none() {
        for schema in [
            json!(false),
            json!({"type": "string", "pattern": "^a+$"}),
            json!({"$ref": "#/$defs/1", "$defs": {"1": {"type": "object", "properties": {"next": {"$ref": "#/$defs/1"}}, "required": ["next"]}}}),
            json!({"type": "array", "minItems": 2, "uniqueItems": true, "items": {"type": "null"}}),
        ] {
            assert_eq!(smallest(&schema), None, "{schema}");
        }
    }
}
