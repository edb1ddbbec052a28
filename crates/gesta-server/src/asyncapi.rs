//! The AsyncAPI 3.0 document of a server: its subscription, and the deliveries of its consumer groups, as channels.

use gesta::http::api::{Info, event_schema_name, event_schemas, sorted, typed_event, used_schemas};
use gesta::schema::{EventSchema, SchemaState};
use gesta_wire::schema::{about, answer, list, named};
use gesta_wire::{cloudevents, schema};
use serde_json::{Map, Value, json};

/// What a server sends.
pub(crate) struct Sends<'a> {
    pub(crate) info: Info,
    /// Every version of every event type that the host knows.
    pub(crate) events: &'a [EventSchema],
    /// True if the server has the routes for events.
    pub(crate) has_log: bool,
    pub(crate) has_groups: bool,
}

/// The document.
pub(crate) fn asyncapi(sends: &Sends<'_>) -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    let mut add = |part: Part| {
        channels.insert(part.channel.to_owned(), part.channel_json());
        operations.insert(part.operation.to_owned(), part.operation_json());
        messages.extend(part.messages);
    };
    if sends.has_log {
        add(subscription(sends.events));
        add(cloud_events(sends.events));
    }
    if sends.has_groups {
        add(deliveries(sends.events));
    }
    let all = schema::schemas().map(|(name, schema)| (name.to_owned(), schema));
    let all = all.chain(event_schemas(sends.events)).collect();
    let messages = Value::Object(messages);
    sorted(&json!({
        "asyncapi": "3.0.0",
        "info": {"title": sends.info.title, "description": sends.info.description, "version": sends.info.version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": used_schemas(&messages, all), "messages": messages},
    }))
}

/// A channel with the operation on it.
struct Part {
    channel: &'static str,
    address: &'static str,
    about: &'static str,
    parameters: Value,
    operation: &'static str,
    action: &'static str,
    /// The bindings of the operation to HTTP.
    http: Value,
    /// The messages of the channel, by their names among all messages.
    messages: Vec<(String, Value)>,
    /// The name of the message that the server answers with, if it is asked by a message.
    reply: Option<&'static str>,
}

impl Part {
    fn channel_json(&self) -> Value {
        let reference = |name: &String| json!({"$ref": format!("#/components/messages/{name}")});
        let messages = self.messages.iter().map(|(name, _)| (name.clone(), reference(name)));
        let mut channel = json!({
            "address": self.address,
            "description": self.about,
            "messages": messages.collect::<Map<_, _>>(),
        });
        if self.parameters.is_object() {
            channel["parameters"] = self.parameters.clone();
        }
        channel
    }

    fn operation_json(&self) -> Value {
        let channel = format!("#/channels/{}", self.channel);
        let message = |name: &str| json!({"$ref": format!("{channel}/messages/{name}")});
        let is_asked = |name: &str| self.reply != Some(name);
        let messages = self.messages.iter().filter(|(name, _)| is_asked(name)).map(|(name, _)| message(name));
        let mut operation = json!({
            "action": self.action,
            "channel": {"$ref": channel},
            "summary": self.about,
            "bindings": {"http": self.http},
            "messages": messages.collect::<Value>(),
        });
        if let Some(reply) = self.reply {
            operation["reply"] = json!({"channel": {"$ref": channel}, "messages": [message(reply)]});
        }
        operation
    }
}

/// The binding of an operation to a method of HTTP.
fn http(method: &str) -> Value {
    json!({"method": method, "bindingVersion": "0.3.0"})
}

fn subscription(events: &[EventSchema]) -> Part {
    let mut messages =
        typed_messages("event", "application/json", events, |event| of_version("Event", event));
    messages.push(message("event", "any other event", "application/json", named("Event")));
    messages.push(message(
        "problem",
        "the subscription ends with this problem, as the event `$error`",
        "application/problem+json",
        named("Problem"),
    ));
    Part {
        channel: "log",
        address: "/events",
        about: "The log as server-sent events, for `Accept: text/event-stream`: all matching events, then new ones. `id` is the checkpoint \
                after the event, `event` its type, `data` the message. A client that reconnects sends `Last-Event-ID`.",
        parameters: Value::Null,
        operation: "follow",
        action: "send",
        http: http("GET"),
        messages,
        reply: None,
    }
}

fn cloud_events(events: &[EventSchema]) -> Part {
    let media_type = cloudevents::MEDIA_TYPE;
    let mut messages = typed_messages("cloudevent", media_type, events, cloud_event);
    messages.push(message("cloudevent", "any other event", media_type, named("CloudEvent")));
    Part {
        channel: "cloudEvents",
        address: "/events",
        about: "Pages of the log as CloudEvents, for `Accept: application/cloudevents-batch+json`: an array of the messages.",
        parameters: Value::Null,
        operation: "readCloudEvents",
        action: "send",
        http: http("GET"),
        messages,
        reply: None,
    }
}

fn deliveries(events: &[EventSchema]) -> Part {
    let typed = typed_event("Event", &events.iter().collect::<Vec<_>>());
    let delivery = answer(vec![("events", list(typed))]);
    let delivery = json!({"allOf": [named("Delivery"), delivery]});
    let taken = json!({"allOf": [named("Taken"), answer(vec![("deliveries", list(delivery))])]});
    let about_group = json!({"group": {"description": "The name of the consumer group."}});
    Part {
        channel: "deliveries",
        address: "/groups/{group}/take",
        about: "The deliveries of a consumer group: a member settles, renews and takes with one call. Each event comes at least once, those of \
                a stream in order.",
        parameters: about_group,
        operation: "take",
        action: "receive",
        http: http("POST"),
        messages: vec![
            message("take", "the call of a member", "application/json", named("Take")),
            message("taken", "the deliveries", "application/json", taken),
        ],
        reply: Some("taken"),
    }
}

/// A message for each version of each type.
fn typed_messages(
    form: &str,
    media_type: &str,
    events: &[EventSchema],
    payload: impl Fn(&EventSchema) -> Value,
) -> Vec<(String, Value)> {
    let messages = events.iter().map(|event| {
        let name = event_schema_name(event).replacen("event", form, 1);
        let title = format!("{}, version {}: {}", event.name, event.version, state(event.state));
        let mut message = message(&name, &title, media_type, payload(event)).1;
        message["name"] = event.name.into();
        (name, message)
    });
    messages.collect()
}

fn message(name: &str, title: &str, media_type: &str, payload: Value) -> (String, Value) {
    (name.to_owned(), json!({"name": name, "title": title, "contentType": media_type, "payload": payload}))
}

/// What a version is to the host.
const fn state(state: SchemaState) -> &'static str {
    match state {
        SchemaState::Ahead => "read, and written by the next release",
        SchemaState::Current => "written and read",
        SchemaState::Superseded => "written by earlier releases, and read",
        SchemaState::Retired => "written by earlier releases, and read as nothing",
    }
}

fn of_version(form: &str, event: &EventSchema) -> Value {
    json!({"allOf": [named(form), named(&event_schema_name(event))]})
}

/// A CloudEvent of that type and version.
fn cloud_event(event: &EventSchema) -> Value {
    let typed = |part: &str| json!({"$ref": format!("{}{}/properties/{part}", schema::SCHEMAS, event_schema_name(event))});
    let version = about(json!({"const": event.version}), "It is missing if it is 1.");
    let attributes = json!({"type": typed("type"), "schemaversion": version, "data": typed("data")});
    let mut typed = json!({"properties": attributes});
    if event.version != 1 {
        typed["required"] = json!(["schemaversion"]);
    }
    json!({"allOf": [named("CloudEvent"), typed]})
}
