//! The JSON Schemas (draft 2020-12) of the forms of this crate, for descriptions of an API.
//!
//! Each form's schema stands beside its writer and its reader. [`schemas`] lists all of them by name, and [`named`] refers to one. Objects of
//! answers may gain members with a newer server, so their schemas allow others. Objects of requests have no others: a server refuses them.

use gesta_core::{
    EVENT_TYPE_BYTES_MAX, QUERY_ITEMS_MAX, QUERY_TERMS_MAX, STREAM_NAME_BYTES_MAX, TAG_BYTES_MAX,
};
use serde_json::{Map, Value, json};

/// A form: the name of its schema, and what makes the schema.
type Form = (&'static str, fn() -> Value);

/// The forms of this crate.
const FORMS: &[Form] = &[
    ("StreamName", stream_name),
    ("Category", category),
    ("EventType", event_type),
    ("EventId", event_id),
    ("Tag", tag),
    ("Time", time),
    ("Version", version),
    ("Position", position),
    ("Checkpoint", checkpoint),
    ("Place", place),
    ("Expected", crate::scalar::expected_schema),
    ("StreamVersion", stream_version),
    ("NewEvent", crate::event::new_event_schema),
    ("NewEventOfStream", crate::event::new_event_of_stream_schema),
    ("Event", crate::event::event_schema),
    ("CloudEvent", crate::cloudevents::cloud_event_schema),
    ("Appended", crate::appended::appended_schema),
    ("Batch", crate::batch::batch_schema),
    ("Condition", crate::batch::condition_schema),
    ("CommandKey", crate::batch::command_schema),
    ("Repeat", crate::batch::repeat_request_schema),
    ("Repeated", crate::appended::repeat_schema),
    ("Query", crate::query::query_schema),
    ("QueryItem", crate::query::item_schema),
    ("LogRead", crate::log_read::log_read_schema),
    ("Page", crate::page::page_schema),
    ("StreamPage", crate::page::stream_page_schema),
    ("Streams", crate::answer::streams_schema),
    ("CheckpointAnswer", crate::answer::checkpoint_schema),
    ("Store", crate::store_info::store_schema),
    ("GroupSettings", crate::group::group_settings_schema),
    ("GroupChanged", crate::group::put_group_schema),
    ("Group", crate::group::group_schema),
    ("Groups", crate::group::groups_schema),
    ("Take", crate::group::take_schema),
    ("Settlement", crate::group::settlement_schema),
    ("Taken", crate::group::taken_schema),
    ("Delivery", crate::group::delivery_schema),
    ("Parked", crate::group::parked_schema),
    ("ParkedPage", crate::group::parked_page_schema),
    ("Held", crate::group::held_schema),
    ("Replay", crate::group::replay_schema),
    ("Replayed", crate::group::replayed_schema),
    ("Skip", crate::group::skip_schema),
    ("Reset", crate::group::reset_request_schema),
    ("ResetDone", crate::group::reset_schema),
    ("Problem", crate::problem::problem_schema),
];

/// The schemas of all forms, by name.
pub fn schemas() -> impl Iterator<Item = (&'static str, Value)> {
    FORMS.iter().map(|(name, schema)| (*name, schema()))
}

/// A reference to the schema of that name, where OpenAPI and AsyncAPI keep schemas.
#[must_use]
pub fn named(name: &str) -> Value {
    json!({"$ref": format!("{SCHEMAS}{name}")})
}

/// Where OpenAPI and AsyncAPI keep schemas.
pub const SCHEMAS: &str = "#/components/schemas/";

/// An object of an answer. A member whose name ends with `?` may be missing. Others may come with a newer server.
#[must_use]
pub fn answer(members: Vec<(&str, Value)>) -> Value {
    let is_required = |name: &&str| !name.ends_with('?');
    let required = members.iter().map(|(name, _)| *name).filter(is_required).collect::<Vec<_>>();
    let properties =
        members.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone()));
    let properties = properties.collect::<Map<_, _>>();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// An object of a request. A member whose name ends with `?` may be missing. The server refuses others.
#[must_use]
pub fn request(members: Vec<(&str, Value)>) -> Value {
    let mut object = answer(members);
    object["additionalProperties"] = false.into();
    object
}

/// The same schema with words for people.
#[must_use]
pub fn about(mut schema: Value, text: &str) -> Value {
    schema["description"] = text.into();
    schema
}

/// A value or `null`.
#[must_use]
pub fn nullable(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// An array.
#[must_use]
pub fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// An array of at most that number of items.
#[must_use]
pub fn list_up_to(max: usize, items: Value) -> Value {
    json!({"type": "array", "items": items, "maxItems": max})
}

/// Any text.
#[must_use]
pub fn text() -> Value {
    json!({"type": "string"})
}

/// One of these texts.
#[must_use]
pub fn one_of(texts: &[&str]) -> Value {
    json!({"type": "string", "enum": texts})
}

/// `true` or `false`.
#[must_use]
pub fn boolean() -> Value {
    json!({"type": "boolean"})
}

/// A whole number from 0.
#[must_use]
pub fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// A whole number within bounds.
#[must_use]
pub fn between(min: u64, max: u64) -> Value {
    json!({"type": "integer", "minimum": min, "maximum": max})
}

/// A number of seconds from 0.
#[must_use]
pub fn seconds() -> Value {
    json!({"type": "number", "minimum": 0})
}

/// A name of at most that number of bytes, which are at least as many as its characters.
fn name(bytes_max: usize) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": bytes_max,
        // No control characters.
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
    })
}

fn stream_name() -> Value {
    let text = format!(
        "The name of a stream, `category-id`: UTF-8 of at most {STREAM_NAME_BYTES_MAX} bytes, without control characters. Those that begin \
         with `$` are the system's."
    );
    about(name(STREAM_NAME_BYTES_MAX), &text)
}

fn category() -> Value {
    let category = json!({
        "type": "string",
        "maxLength": STREAM_NAME_BYTES_MAX,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f-]*$",
    });
    about(category, "The part of the name of a stream before the first `-`.")
}

fn event_type() -> Value {
    let text = format!(
        "The stable name of a kind of event, such as `bank.account.opened`: UTF-8 of at most {EVENT_TYPE_BYTES_MAX} bytes, without control \
         characters. Those that begin with `$` are the system's."
    );
    about(name(EVENT_TYPE_BYTES_MAX), &text)
}

fn event_id() -> Value {
    about(json!({"type": "string", "format": "uuid"}), "The id of an event. It is unique in its stream.")
}

fn tag() -> Value {
    let tag = json!({
        "type": "string",
        "minLength": 3,
        "maxLength": TAG_BYTES_MAX,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f:]+:[^\\u0000-\\u001f\\u007f-\\u009f]+$",
    });
    about(tag, &format!("`key:value`, UTF-8 of at most {TAG_BYTES_MAX} bytes, split at the first colon."))
}

fn time() -> Value {
    let text =
        "A time in RFC 3339, between 1677-09-21 and 2262-04-11. Digits beyond nanoseconds are cut off.";
    about(json!({"type": "string", "format": "date-time"}), text)
}

fn version() -> Value {
    about(between(0, u64::MAX), "The place of an event in its stream: dense, from 0.")
}

fn position() -> Value {
    let text = json!({"type": "string", "pattern": "^[0-9]+/[0-9]+$"});
    let position = json!({"anyOf": [between(1, u64::MAX), text]});
    about(
        position,
        "The place of an event in the log: a number; in partitions other than 0 the text `partition/sequence`.",
    )
}

fn checkpoint() -> Value {
    let checkpoint = json!({"type": "string", "format": "checkpoint", "minLength": 34});
    about(checkpoint, "A place in the log, as the server gave it. Compare and parse it nowhere; pass it on.")
}

fn place() -> Value {
    let place = json!({"anyOf": [one_of(&["start", "end"]), named("Checkpoint")]});
    about(place, "Where a read begins. Forward it gives the events after the place, backward those up to it.")
}

fn stream_version() -> Value {
    answer(vec![("stream", named("StreamName")), ("version", named("Version"))])
}

/// The terms of a query, all of one kind.
pub(crate) fn terms(of: &str) -> Value {
    list_up_to(QUERY_TERMS_MAX, named(of))
}

/// The items of a query.
pub(crate) fn items() -> Value {
    list_up_to(QUERY_ITEMS_MAX, named("QueryItem"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                let name = object.get("$ref").and_then(Value::as_str);
                found.extend(name.and_then(|name| name.strip_prefix(SCHEMAS)).map(str::to_owned));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_is_to_a_schema_of_this_crate() {
        let (mut names, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        for (name, schema) in schemas() {
            assert!(names.insert(name.to_owned()), "`{name}` is there twice");
            references(&schema, &mut wanted);
        }
        assert_eq!(wanted.difference(&names).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn a_member_that_may_be_missing_is_marked() {
        let object = request(vec![("a", text()), ("b?", count())]);
        assert_eq!(object["required"], json!(["a"]));
        assert_eq!(object["properties"]["b"], count());
        assert_eq!(object["additionalProperties"], false);
    }
}
