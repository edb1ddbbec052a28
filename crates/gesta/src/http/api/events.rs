//! The schemas of stored events, by type and schema version: those that the lock of events keeps.

use std::collections::BTreeSet;

use gesta_wire::schema::{SCHEMAS, named, one_of};
use serde_json::{Value, json};

use crate::schema::EventSchema;

/// The schemas of these versions, by name: what is known of an event of that type and version.
#[must_use]
pub fn event_schemas<'a>(events: impl IntoIterator<Item = &'a EventSchema>) -> Vec<(String, Value)> {
    events.into_iter().map(|event| (event_schema_name(event), event_schema(event))).collect()
}

/// The schema of an event of that form whose data is typed by its type and schema version.
#[must_use]
pub fn typed_event(form: &str, events: &[&EventSchema]) -> Value {
    if events.is_empty() {
        return named(form);
    }
    let known = events.iter().map(|event| named(&event_schema_name(event)));
    let names = events.iter().flat_map(|event| names(event)).collect::<BTreeSet<_>>();
    let other = json!({"properties": {"type": {"not": {"enum": names}}}, "title": "another event"});
    json!({"allOf": [named(form), {"anyOf": known.chain([other]).collect::<Value>()}]})
}

/// The names that stored events of a type may have.
fn names(event: &EventSchema) -> impl Iterator<Item = &'static str> {
    std::iter::once(event.name).chain(event.aliases.iter().copied())
}

/// The name of the schema of one version of an event type.
#[must_use]
pub fn event_schema_name(event: &EventSchema) -> String {
    let name = event
        .name
        .replace(|character: char| !character.is_ascii_alphanumeric() && !"._-".contains(character), "_");
    format!("event-{name}-{}", event.version)
}

/// What is known of an event of that type and version: its data.
fn event_schema(event: &EventSchema) -> Value {
    let data = event.schema.clone().unwrap_or_else(|| json!({}));
    let names = names(event).collect::<Vec<_>>();
    json!({
        "type": "object",
        "title": format!("{}, version {}", event.name, event.version),
        "properties": {
            "type": one_of(&names),
            "schemaVersion": {"const": event.version},
            "data": placed(data, &format!("{SCHEMAS}{}/properties/data", event_schema_name(event))),
        },
        "required": ["type", "schemaVersion"],
    })
}

/// The schema as a part of a document that stands at `place`: references to its own definitions become references within the document.
pub(super) fn placed(mut schema: Value, place: &str) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
    }
    refer_within(&mut schema, place);
    schema
}

fn refer_within(schema: &mut Value, place: &str) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref")
                && let Some(definition) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("{place}/$defs/{definition}");
            }
            object.values_mut().for_each(|value| refer_within(value, place));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| refer_within(value, place)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_of_a_schema_are_referred_to_where_the_schema_stands() {
        let tree = json!({"$schema": "x", "items": {"$ref": "#/$defs/1"}, "$defs": {"1": {"items": {"$ref": "#/$defs/1"}}}});
        let there = json!({"$ref": "#/components/schemas/tree/$defs/1"});
        let expected = json!({"items": there, "$defs": {"1": {"items": there}}});
        assert_eq!(placed(tree, "#/components/schemas/tree"), expected);
    }
}
