//! Compares two canonical schemas of one schema version: what a change means for the programs that run and the events that are
//! stored.
//!
//! A property that is new and not required is *additive*: old code ignores it, and new code reads old data without it. Everything
//! else is *breaking*, also where the new schema accepts more: the code that runs does not know it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What a change of a schema means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The schemas are the same.
    Same,
    /// The new one has more properties, none of them required.
    Additive,
    /// Old code, or old data, does not fit any more.
    Breaking(Break),
}

/// The first difference that breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Break {
    /// The place in the data: names of properties, `[]` for the items of a list. Empty for the data as a whole.
    pub(crate) at: String,
    /// What is different, as a sentence without a subject.
    pub(crate) what: String,
}

/// Compares the released schema of a version with that of the code.
pub(crate) fn compare(released: &Value, code: &Value) -> Change {
    if released == code {
        return Change::Same;
    }
    let walk = Walk { has_untagged: has_untagged(released) || has_untagged(code) };
    match walk.schema(released, code, "") {
        Ok(()) => Change::Additive,
        Err(found) => Change::Breaking(found),
    }
}

/// Comparisons of one pair of schemas.
struct Walk {
    /// A choice without a tag is somewhere in the schema. It may refer to a definition.
    has_untagged: bool,
}

type Compared = Result<(), Break>;

impl Walk {
    fn schema(&self, released: &Value, code: &Value, at: &str) -> Compared {
        if released == code {
            return Ok(());
        }
        let (Value::Object(old), Value::Object(new)) = (released, code) else {
            return breaks(at, "accepts other data");
        };
        let words = old.keys().chain(new.keys()).collect::<BTreeSet<_>>();
        for word in words {
            match word.as_str() {
                // Compared at the end: a change of `required` explains a change of the properties.
                "properties" => {}
                "required" => required(old, new, at)?,
                "items" => self.both(old, new, word, &format!("{at}[]"))?,
                "anyOf" => self.any_of(old, new, at)?,
                "oneOf" => self.one_of(old, new, at)?,
                "$defs" => self.definitions(old, new, at)?,
                _ => same(old, new, word, at)?,
            }
        }
        self.properties(old, new, at)
    }

    fn both(&self, old: &Map<String, Value>, new: &Map<String, Value>, word: &str, at: &str) -> Compared {
        match (old.get(word), new.get(word)) {
            (Some(old), Some(new)) => self.schema(old, new, at),
            _ => same(old, new, word, at),
        }
    }

    fn properties(&self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) -> Compared {
        let (old_properties, new_properties) = (properties_of(old), properties_of(new));
        for (name, released) in &old_properties {
            let Some(code) = new_properties.get(name) else {
                return breaks(at, format!("has no property `{name}` any more"));
            };
            self.schema(released, code, &place(at, name))?;
        }
        let mut added = new_properties.keys().filter(|name| !old_properties.contains_key(*name));
        match added.next() {
            Some(name) if old.contains_key("additionalProperties") => breaks(
                at,
                format!(
                    "has a new property `{name}`, and the released code refuses or collects unknown properties there"
                ),
            ),
            _ => Ok(()),
        }
    }

    /// An optional value is a choice between it and `null`. Below any other choice without a tag, a new property can change
    /// which choice is read.
    fn any_of(&self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) -> Compared {
        match (old.get("anyOf").and_then(optional), new.get("anyOf").and_then(optional)) {
            (Some(old), Some(new)) => self.schema(old, new, at),
            _ if old.get("anyOf") == new.get("anyOf") => Ok(()),
            _ => breaks(at, "differs in a choice without a tag"),
        }
    }

    /// Choices with a tag. Each one has its counterpart: the only one that it is additive to.
    fn one_of(&self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) -> Compared {
        let (Some(released), Some(code)) = (choices(old), choices(new)) else {
            return same(old, new, "oneOf", at);
        };
        if released.len() != code.len() {
            return breaks(at, format!("has {} variants, not {}", code.len(), released.len()));
        }
        let mut left = code.iter().collect::<Vec<_>>();
        for choice in released {
            let mut fitting = (0..left.len()).filter(|place| self.schema(choice, left[*place], at).is_ok());
            match (fitting.next(), fitting.next()) {
                (Some(place), None) => {
                    left.swap_remove(place);
                }
                _ => return breaks(at, "has a variant that differs"),
            }
        }
        Ok(())
    }

    fn definitions(&self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) -> Compared {
        let (Some(Value::Object(released)), Some(Value::Object(code))) = (old.get("$defs"), new.get("$defs"))
        else {
            return breaks(at, "contains itself in another way");
        };
        if released != code && (self.has_untagged || !released.keys().eq(code.keys())) {
            return breaks(at, "contains itself in another way");
        }
        released.iter().try_for_each(|(number, old)| self.schema(old, &code[number], at))
    }
}

fn breaks(at: &str, what: impl Into<String>) -> Compared {
    Err(Break { at: at.to_owned(), what: what.into() })
}

fn same(old: &Map<String, Value>, new: &Map<String, Value>, word: &str, at: &str) -> Compared {
    match (old.get(word), new.get(word)) {
        (old, new) if old == new => Ok(()),
        (Some(old), Some(new)) => breaks(at, format!("has `{word}` {new}, not {old}")),
        (Some(old), None) => breaks(at, format!("has no `{word}` any more, and had {old}")),
        (None, new) => breaks(at, format!("has a new `{word}` {}", new.unwrap_or(&Value::Null))),
    }
}

fn required(old: &Map<String, Value>, new: &Map<String, Value>, at: &str) -> Compared {
    let names = |object: &Map<String, Value>| {
        let names = object.get("required").and_then(Value::as_array).into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (old_names, new_names) = (names(old), names(new));
    if let Some(name) = new_names.difference(&old_names).next() {
        return breaks(at, format!("requires `{name}` now"));
    }
    match old_names.difference(&new_names).next() {
        // That it is gone says more.
        Some(name) if properties_of(new).contains_key(name) => {
            breaks(at, format!("does not require `{name}` any more"))
        }
        Some(name) => breaks(at, format!("has no property `{name}` any more")),
        None => same(old, new, "required", at),
    }
}

fn properties_of(object: &Map<String, Value>) -> BTreeMap<&String, &Value> {
    object.get("properties").and_then(Value::as_object).into_iter().flatten().collect()
}

fn choices(object: &Map<String, Value>) -> Option<&Vec<Value>> {
    object.get("oneOf").and_then(Value::as_array)
}

/// What an optional value is if it is there.
fn optional(choices: &Value) -> Option<&Value> {
    let null = serde_json::json!({"type": "null"});
    match choices.as_array()?.as_slice() {
        [value, nothing] | [nothing, value] if *nothing == null && *value != null => Some(value),
        _ => None,
    }
}

fn has_untagged(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_untagged),
        Value::Object(object) => {
            object.get("anyOf").is_some_and(|choices| choices.is_array() && optional(choices).is_none())
                || object.values().any(has_untagged)
        }
        _ => false,
    }
}

fn place(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::canonical;

    /// Compares `{"amount": …}` with a change of it.
    fn compared(released: &Value, code: &Value) -> Change {
        compare(&canonical(released), &canonical(code))
    }

    #[track_caller]
    fn additive(released: &Value, code: &Value) {
        assert_eq!(compared(released, code), Change::Additive, "{released} {code}");
    }

    #[track_caller]
    fn breaking(released: &Value, code: &Value, at: &str, what: &str) {
        let expected = Break { at: at.to_owned(), what: what.to_owned() };
        assert_eq!(compared(released, code), Change::Breaking(expected), "{released} {code}");
    }

    fn object(properties: Value, required: &[&str]) -> Value {
        json!({"type": "object", "properties": properties, "required": required})
    }

    fn amount() -> Value {
        object(json!({"amount": {"type": "integer", "minimum": 1}}), &["amount"])
    }

    #[test]
    fn an_equal_schema_is_the_same_and_words_for_people_do_not_count() {
        let mut described = amount();
        described["description"] = json!("money");
        described["properties"]["amount"]["default"] = json!(5);
        assert_eq!(compared(&amount(), &described), Change::Same);
        assert_eq!(compared(&described, &amount()), Change::Same);
    }

    #[test]
    fn a_new_property_that_is_not_required_is_additive() {
        let more = object(
            json!({"amount": {"type": "integer", "minimum": 1}, "note": {"type": "string"}}),
            &["amount"],
        );
        additive(&amount(), &more);
        additive(
            &json!({"type": "object"}),
            &json!({"type": "object", "properties": {"note": {"type": "string"}}}),
        );
        let nested = |inner: &Value| {
            object(json!({"place": inner, "places": {"type": "array", "items": inner}}), &["place"])
        };
        additive(&nested(&amount()), &nested(&more));
        let optional = |inner: &Value| object(json!({"place": {"anyOf": [inner, {"type": "null"}]}}), &[]);
        additive(&optional(&amount()), &optional(&more));
        let tagged = |inner: &Value| {
            let by = |name: &str, inner: &Value| json!({"type": "object", "properties": {name: inner}, "required": [name], "additionalProperties": false});
            object(json!({"by": {"oneOf": [by("Card", inner), by("Cash", &amount())]}}), &["by"])
        };
        additive(&tagged(&amount()), &tagged(&more));
        let recursive = |note: &Value| {
            let mut tree = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}});
            tree["properties"].as_object_mut().unwrap().extend(note.as_object().unwrap().clone());
            json!({"type": "object", "properties": {"tree": {"$ref": "#/$defs/Tree"}}, "$defs": {"Tree": tree}})
        };
        additive(&recursive(&json!({})), &recursive(&json!({"note": {"type": "string"}})));
    }

    #[test]
    fn a_new_property_is_breaking_where_old_code_does_not_ignore_it() {
        let closed = |properties: Value, rest: &Value| json!({"type": "object", "properties": properties, "additionalProperties": rest});
        for rest in [json!(false), json!(true), json!({"type": "string"})] {
            let (old, new) = (closed(json!({}), &rest), closed(json!({"note": {"type": "string"}}), &rest));
            let what = "has a new property `note`, and the released code refuses or collects unknown properties there";
            breaking(&old, &new, "", what);
        }
        let untagged =
            |inner: &Value| object(json!({"by": {"anyOf": [inner, {"type": "integer"}]}}), &["by"]);
        let more = object(
            json!({"amount": {"type": "integer", "minimum": 1}, "note": {"type": "string"}}),
            &["amount"],
        );
        breaking(&untagged(&amount()), &untagged(&more), "by", "differs in a choice without a tag");
        let recursive = |more: &Value| {
            let tree = json!({"anyOf": [{"type": "string"}, {"type": "object", "properties": {"next": {"$ref": "#/$defs/T"}}},
                {"type": "object", "properties": more}]});
            json!({"type": "object", "properties": {"tree": {"$ref": "#/$defs/T"}}, "$defs": {"T": tree}})
        };
        let (old, new) = (recursive(&json!({})), recursive(&json!({"note": {"type": "string"}})));
        breaking(&old, &new, "", "contains itself in another way");
    }

    #[test]
    fn every_other_change_is_breaking_and_named() {
        let of = |amount: Value| object(json!({"amount": amount}), &["amount"]);
        let cases = [
            (
                object(json!({"amount": {"type": "integer", "minimum": 1}}), &[]),
                "",
                "does not require `amount` any more",
            ),
            (
                object(
                    json!({"amount": {"type": "integer", "minimum": 1}, "note": {"type": "string"}}),
                    &["amount", "note"],
                ),
                "",
                "requires `note` now",
            ),
            (object(json!({}), &[]), "", "has no property `amount` any more"),
            (
                object(json!({"cents": {"type": "integer", "minimum": 1}}), &["cents"]),
                "",
                "requires `cents` now",
            ),
            (of(json!({"type": "string"})), "amount", "has no `minimum` any more, and had 1"),
            (of(json!({"type": "number", "minimum": 1})), "amount", "has `type` \"number\", not \"integer\""),
            (
                of(json!({"type": ["integer", "null"], "minimum": 1})),
                "amount",
                "has `type` [\"integer\",\"null\"], not \"integer\"",
            ),
            (of(json!({"type": "integer", "minimum": 0})), "amount", "has `minimum` 0, not 1"),
            (of(json!({"type": "integer", "minimum": 2})), "amount", "has `minimum` 2, not 1"),
            (of(json!({"type": "integer", "minimum": 1, "maximum": 9})), "amount", "has a new `maximum` 9"),
            (
                of(json!({"type": "integer", "minimum": 1, "format": "uint8"})),
                "amount",
                "has a new `format` \"uint8\"",
            ),
            (of(json!(true)), "amount", "accepts other data"),
        ];
        for (code, at, what) in cases {
            breaking(&amount(), &code, at, what);
        }
    }

    #[test]
    fn changes_of_values_and_variants_are_breaking_and_named() {
        let of = |values: &[&str]| object(json!({"kind": {"type": "string", "enum": values}}), &["kind"]);
        breaking(&of(&["A"]), &of(&["A", "B"]), "kind", "has `enum` [\"A\",\"B\"], not [\"A\"]");
        breaking(&of(&["A", "B"]), &of(&["A"]), "kind", "has `enum` [\"A\"], not [\"A\",\"B\"]");
        let of = |items: Value| object(json!({"all": {"type": "array", "items": items}}), &[]);
        breaking(
            &of(json!({"type": "string"})),
            &of(json!({"type": "integer"})),
            "all[]",
            "has `type` \"integer\", not \"string\"",
        );
        let by = |name: &str| json!({"type": "object", "properties": {"kind": {"const": name}}, "required": ["kind"]});
        let of = |choices: Vec<Value>| object(json!({"by": {"oneOf": choices}}), &["by"]);
        let (two, three) = (of(vec![by("card"), by("cash")]), of(vec![by("card"), by("cash"), by("cheque")]));
        breaking(&two, &three, "by", "has 3 variants, not 2");
        breaking(&three, &two, "by", "has 2 variants, not 3");
        breaking(&two, &of(vec![by("card"), by("cheque")]), "by", "has a variant that differs");
        let noted = object(
            json!({"amount": {"type": "integer", "minimum": 1}, "note": {"type": "string"}}),
            &["amount"],
        );
        breaking(&noted, &amount(), "", "has no property `note` any more");
        let any = |properties: Value| json!({"type": "object", "properties": properties});
        let (none, one, two) = (any(json!({})), any(json!({"x": true})), any(json!({"x": true, "y": true})));
        let (before, after) = (of(vec![none, one.clone()]), of(vec![one, two]));
        breaking(&before, &after, "by", "has a variant that differs");
        let list = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/List"}}});
        let one =
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/List"}}, "$defs": {"List": list}});
        let mut two = one.clone();
        two["$defs"]["Tree"] = json!({"type": "array", "items": {"$ref": "#/$defs/Tree"}});
        two["properties"]["b"] = json!({"$ref": "#/$defs/Tree"});
        breaking(&one, &two, "", "contains itself in another way");
        let nested = |inner: Value| object(json!({"a": object(json!({"b": inner}), &["b"])}), &["a"]);
        breaking(
            &nested(json!({"type": "string"})),
            &nested(json!({"type": "null"})),
            "a.b",
            "has `type` \"null\", not \"string\"",
        );
    }
}
