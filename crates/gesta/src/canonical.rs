//! The canonical form of a JSON Schema: two schemas that accept the same data for the same reasons are the same text.
//!
//! | in a schema | in its canonical form |
//! | --- | --- |
//! | words for people: `title`, `description`, `examples`, `default`, `deprecated`, `readOnly`, `writeOnly`, `$schema`, `$id`, `$comment` | removed |
//! | a reference to a definition | the definition in its place |
//! | a reference to a definition that contains itself | `#/$defs/N`, numbered in the order of the first use |
//! | `required`, `enum`, a list of types | sorted; an empty `required` is removed |
//! | `oneOf`, `anyOf`, `allOf` | sorted by their text |
//! | `const` | an `enum` of one value |
//! | choices between texts, as of an enum whose variants have documentation | one `enum` |
//! | a bound such as `0.0` | `0` |
//!
//! A property that is called `title` or `default` is a property, and stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};

/// Words for people. They accept and refuse nothing.
const NOTES: [&str; 10] = [
    "title",
    "description",
    "examples",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
    "$id",
    "$comment",
];

/// Where the definitions of a schema are, and how references begin.
const DEFINITIONS: &str = "$defs";
const REFERENCE: &str = "#/$defs/";

/// The largest integer that a float holds with all integers below it.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Rewrites a schema in its canonical form.
#[cfg_attr(
    not(feature = "schema"),
    expect(unreachable_pub, reason = "exported with the feature `schema` only")
)]
#[must_use]
pub fn canonical(schema: &Value) -> Value {
    let none = Map::new();
    let definitions = schema.get(DEFINITIONS).and_then(Value::as_object).unwrap_or(&none);
    let recursive = definitions.keys().filter(|name| reaches_itself(definitions, name)).cloned().collect();
    let mut rewriter = Rewriter { definitions, recursive, numbers: BTreeMap::new(), bodies: BTreeMap::new() };
    let rewritten = rewriter.schema(schema);
    let bodies = rewriter.bodies;
    match rewritten {
        Value::Object(mut object) if !bodies.is_empty() => {
            let bodies = bodies.into_iter().map(|(number, body)| (number.to_string(), body));
            object.insert(DEFINITIONS.to_owned(), Value::Object(bodies.collect()));
            sorted(&Value::Object(object))
        }
        other => other,
    }
}

/// The same value with the members of all objects in the order of their names.
pub(crate) fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(object) => {
            let members = object.iter().collect::<BTreeMap<_, _>>();
            Value::Object(members.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        other => other.clone(),
    }
}

/// The name of the definition that a reference means.
fn definition_of(reference: &str) -> Option<String> {
    let name = reference.strip_prefix(REFERENCE)?;
    Some(name.replace("~1", "/").replace("~0", "~"))
}

fn reaches_itself(definitions: &Map<String, Value>, name: &str) -> bool {
    let (mut seen, mut left) = (BTreeSet::new(), vec![name.to_owned()]);
    while let Some(next) = left.pop() {
        let mut found = Vec::new();
        definitions.get(&next).into_iter().for_each(|body| references(body, &mut found));
        for reference in found {
            if reference == name {
                return true;
            }
            if seen.insert(reference.clone()) {
                left.push(reference);
            }
        }
    }
    false
}

/// The definitions that a value refers to. A property named `$ref` would count as well; it only makes a definition stay one.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).and_then(definition_of));
            object.values().for_each(|value| references(value, found));
        }
        _ => {}
    }
}

struct Rewriter<'a> {
    definitions: &'a Map<String, Value>,
    recursive: BTreeSet<String>,
    /// The numbers of the recursive definitions that were met.
    numbers: BTreeMap<String, usize>,
    bodies: BTreeMap<usize, Value>,
}

impl Rewriter<'_> {
    fn schema(&mut self, schema: &Value) -> Value {
        let Value::Object(object) = schema else { return schema.clone() };
        let members = object.iter().filter(|(word, _)| {
            !NOTES.contains(&word.as_str()) && !["$ref", DEFINITIONS, "const"].contains(&word.as_str())
        });
        let members =
            members.filter(|(word, value)| *word != "required" || **value != Value::Array(Vec::new()));
        // In the order of their names, so that definitions are numbered in one order.
        let members = members.collect::<BTreeMap<_, _>>();
        let mut rewritten = members
            .into_iter()
            .map(|(word, value)| (word.clone(), self.word(word, value)))
            .collect::<Map<_, _>>();
        if let Some(value) = object.get("const") {
            rewritten.insert("enum".to_owned(), Value::Array(vec![value.clone()]));
        }
        merge_texts(&mut rewritten);
        match object.get("$ref").and_then(Value::as_str).map(|reference| self.reference(reference)) {
            Some(target) if rewritten.is_empty() => target,
            Some(target) => {
                rewritten.insert("allOf".to_owned(), Value::Array(vec![target]));
                sorted(&Value::Object(rewritten))
            }
            None => sorted(&Value::Object(rewritten)),
        }
    }

    fn word(&mut self, word: &str, value: &Value) -> Value {
        match (word, value) {
            ("properties" | "patternProperties" | "dependentSchemas", Value::Object(named)) => {
                let named = named.iter().collect::<BTreeMap<_, _>>();
                named.into_iter().map(|(name, schema)| (name.clone(), self.schema(schema))).collect()
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(choices)) => {
                let choices = choices.iter().map(|choice| self.schema(choice)).collect();
                by_text(choices)
            }
            ("prefixItems", Value::Array(items)) => items.iter().map(|item| self.schema(item)).collect(),
            ("required" | "enum" | "type", Value::Array(values)) => by_text(values.clone()),
            (_, Value::Object(_)) => self.schema(value),
            (_, Value::Number(number)) => Value::Number(whole(number)),
            _ => value.clone(),
        }
    }

    fn reference(&mut self, reference: &str) -> Value {
        let kept = |reference: &str| serde_json::json!({ "$ref": reference });
        let Some(name) = definition_of(reference) else { return kept(reference) };
        let Some(body) = self.definitions.get(&name) else { return kept(reference) };
        if !self.recursive.contains(&name) {
            return self.schema(body);
        }
        let met = self.numbers.len() + 1;
        let number = *self.numbers.entry(name).or_insert(met);
        if number == met {
            let body = self.schema(body);
            self.bodies.insert(number, body);
        }
        kept(&format!("{REFERENCE}{number}"))
    }
}

/// Turns choices between texts into one `enum`.
fn merge_texts(object: &mut Map<String, Value>) {
    for word in ["oneOf", "anyOf"] {
        let Some(Value::Array(choices)) = object.get(word) else { continue };
        let (texts, mut others): (Vec<_>, Vec<_>) = choices.iter().cloned().partition(is_choice_of_texts);
        if texts.is_empty() {
            continue;
        }
        let values = texts.iter().filter_map(|choice| choice["enum"].as_array()).flatten().cloned();
        let Value::Array(mut values) = by_text(values.collect()) else { continue };
        values.dedup();
        let merged = serde_json::json!({ "type": "string", "enum": values });
        if others.is_empty() && !object.contains_key("type") && !object.contains_key("enum") {
            object.remove(word);
            object.insert("type".to_owned(), merged["type"].clone());
            object.insert("enum".to_owned(), merged["enum"].clone());
        } else {
            others.push(sorted(&merged));
            object.insert(word.to_owned(), by_text(others));
        }
    }
}

fn is_choice_of_texts(choice: &Value) -> bool {
    let Some(choice) = choice.as_object() else { return false };
    choice.keys().all(|word| word == "type" || word == "enum")
        && choice.get("type").is_some_and(|of| of == "string")
        && choice.get("enum").is_some_and(Value::is_array)
}

fn by_text(values: Vec<Value>) -> Value {
    let mut values = values;
    values.sort_by_cached_key(Value::to_string);
    Value::Array(values)
}

/// A number as an integer where it is one.
fn whole(number: &Number) -> Number {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT_INTEGER_MAX => {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
            let whole = float as i64;
            whole.into()
        }
        _ => number.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: &Value, expected: &Value) {
        let canonical = canonical(schema);
        assert_eq!(canonical, *expected, "{schema}");
        assert_eq!(super::canonical(&canonical), canonical, "the canonical form is its own");
    }

    #[test]
    fn words_for_people_are_removed_and_properties_of_their_names_stay() {
        check(
            &json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "__Opened", "type": "object",
                "description": "d", "required": ["title", "default"],
                "properties": {"title": {"type": "string", "default": ""}, "default": {"type": "null", "title": "x"},
                    "$defs": {"type": "string"}, "required": {"type": "array", "items": {"type": "string", "examples": [1]}}},
            }),
            &json!({
                "type": "object", "required": ["default", "title"],
                "properties": {"title": {"type": "string"}, "default": {"type": "null"},
                    "$defs": {"type": "string"}, "required": {"type": "array", "items": {"type": "string"}}},
            }),
        );
    }

    #[test]
    fn definitions_are_put_in_their_place() {
        check(
            &json!({
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/Place"}, "b": {"$ref": "#/$defs/Place", "description": "d", "minProperties": 1}},
                "$defs": {"Place": {"type": "object", "properties": {"zip": {"$ref": "#/$defs/Zip"}}}, "Zip": {"type": "string"}},
            }),
            &json!({
                "type": "object",
                "properties": {
                    "a": {"type": "object", "properties": {"zip": {"type": "string"}}},
                    "b": {"allOf": [{"type": "object", "properties": {"zip": {"type": "string"}}}], "minProperties": 1},
                },
            }),
        );
    }

    #[test]
    fn definitions_that_contain_themselves_are_numbered_whatever_their_names() {
        for (tree, list) in [("Tree", "List"), ("A", "B"), ("Z", "Y")] {
            let to = |name: &str| format!("#/$defs/{name}");
            check(
                &json!({
                    "properties": {"first": {"$ref": to(tree)}, "then": {"$ref": to(list)}},
                    "$defs": {
                        (list): {"properties": {"next": {"$ref": to(list)}}},
                        (tree): {"properties": {"children": {"items": {"$ref": to(tree)}}}},
                    },
                }),
                &json!({
                    "properties": {"first": {"$ref": "#/$defs/1"}, "then": {"$ref": "#/$defs/2"}},
                    "$defs": {
                        "1": {"properties": {"children": {"items": {"$ref": "#/$defs/1"}}}},
                        "2": {"properties": {"next": {"$ref": "#/$defs/2"}}},
                    },
                }),
            );
        }
    }

    #[test]
    fn lists_without_an_order_are_sorted() {
        check(
            &json!({"type": ["string", "null"], "anyOf": [{"required": ["b", "a"]}, {"enum": [3, 1, 2]}]}),
            &json!({"type": ["null", "string"], "anyOf": [{"enum": [1, 2, 3]}, {"required": ["a", "b"]}]}),
        );
        check(
            &json!({"prefixItems": [{"type": "string"}, {"type": "integer"}]}),
            &json!({"prefixItems": [{"type": "string"}, {"type": "integer"}]}),
        );
    }

    #[test]
    fn documentation_on_the_variants_of_an_enum_changes_nothing() {
        let plain = json!({"type": "string", "enum": ["Private", "Business"]});
        let documented = json!({"oneOf": [
            {"type": "string", "const": "Private", "description": "of a person"},
            {"type": "string", "const": "Business"},
        ]});
        let half = json!({"oneOf": [{"type": "string", "enum": ["Business"]}, {"type": "string", "const": "Private"}]});
        let expected = json!({"type": "string", "enum": ["Business", "Private"]});
        for schema in [plain, documented, half] {
            check(&schema, &expected);
        }
        check(
            &json!({"oneOf": [{"type": "string", "const": "B"}, {"type": "object"}, {"type": "string", "const": "A"}]}),
            &json!({"oneOf": [{"type": "string", "enum": ["A", "B"]}, {"type": "object"}]}),
        );
    }

    #[test]
    fn whole_numbers_are_integers() {
        check(
            &json!({"minimum": 0.0, "maximum": 1e15, "multipleOf": 0.5}),
            &json!({"minimum": 0, "maximum": 1_000_000_000_000_000_u64, "multipleOf": 0.5}),
        );
    }
}
