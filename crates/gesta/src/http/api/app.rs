//! The description of a hosted application: a path for each command, and for the states and histories of each category.

use axum::http::Method;
use gesta_core::STREAM_NAME_BYTES_MAX;
use gesta_wire::schema::{
    SCHEMAS, about, answer, between, boolean, count, list, named, nullable, one_of, request, text,
};
use gesta_wire::{Kind, kinds};
use serde_json::{Value, json};

use super::events::{event_schemas, placed, typed_event};
use super::{Described, Operation, entity_tag, every, series_parameters, visible};
use crate::app::{App, DeciderDescription, DecisionDescription};
use crate::refusal::RefusalInfo;
use crate::schema::EventSchema;

/// The routes of an application, and the schemas that they refer to by name.
#[derive(Debug, Clone)]
pub struct AppDescription {
    /// The routes. Those of commands have the name of the command in their path.
    pub routes: Vec<Described>,
    /// The schemas, by name: of states, of the bodies of commands, and of each version of each event type.
    pub schemas: Vec<(String, Value)>,
}

/// Describes the routes that [`router`](crate::http::router) has for an application.
///
/// Bodies are typed by `#[command(schema)]` and `#[decision(schema)]`, else by the names and the plain types of their fields. States are typed
/// if they are kept as snapshots, events if their enum has `#[event(schema)]`, and refusals by
/// [`Decider::REFUSALS`](crate::Decider::REFUSALS).
#[must_use]
pub fn describe_app(app: &App) -> AppDescription {
    let events = app.event_enums().iter().flat_map(|owner| owner.schemas()).collect::<Vec<_>>();
    let mut description = AppDescription {
        routes: vec![Described { method: Method::GET, path: "/commands".into(), operation: hosted() }],
        schemas: vec![
            ("OutcomeEvent".to_owned(), outcome_event()),
            ("HistoryEvent".to_owned(), history_event()),
        ],
    };
    description.schemas.extend(event_schemas(events.iter().copied()));
    for decider in app.described_deciders() {
        let of_decider = events.iter().copied().filter(|event| decider.events.contains(&event.name));
        description.add_decider(&decider, &of_decider.collect::<Vec<_>>());
    }
    for decision in app.described_decisions() {
        description.add_decision(decision, &events);
    }
    description.add(Method::GET, "/histories/{category}/{id}".to_owned(), other_history());
    description
}

impl AppDescription {
    fn add(&mut self, method: Method, path: String, operation: Operation) {
        self.routes.push(Described { method, path: path.into(), operation });
    }

    /// Adds a schema, and refers to it.
    fn named(&mut self, name: String, schema: Value) -> Value {
        let (reference, schema) = (named(&name), placed(schema, &format!("{SCHEMAS}{name}")));
        self.schemas.push((name, schema));
        reference
    }

    fn add_decider(&mut self, decider: &DeciderDescription, events: &[&EventSchema]) {
        let category = decider.category;
        let outcome = self.named(format!("outcome-{category}"), outcome_schema(events));
        for (name, body) in &decider.commands {
            let body = self.named(format!("command-{category}-{name}"), body.clone());
            let operation = Operation::new(
                format!("command.{category}.{name}"),
                format!("send `{name}` to an entity of `{category}`"),
            )
            .tag("commands")
            .path("id", "The id of the entity.", id_of(category));
            let operation = written(operation, body, outcome.clone(), decider.refusals);
            let operation = operation
                .conditional_write("The version that the entity must have, or `*`: it has an event.")
                .problems(&[kinds::INVALID_ID, kinds::VERSION_MISMATCH]);
            self.add(Method::POST, format!("/commands/{category}/{{id}}/{name}"), operation);
        }
        let state = self.named(format!("state-{category}"), decider.state.clone());
        self.add(Method::GET, format!("/states/{category}/{{id}}"), state_operation(category, &state));
        self.add(Method::GET, format!("/states/{category}"), states_operation(category, &state));
        self.add(Method::GET, format!("/states/{category}/{{id}}/diff"), diff_operation(category));
        self.add(
            Method::POST,
            format!("/states/{category}/{{id}}/what-if"),
            what_if_operation(category, &state),
        );
        let history = self.named(format!("history-{category}"), history_schema(events));
        self.add(Method::GET, format!("/histories/{category}/{{id}}"), history_operation(category, history));
    }

    fn add_decision(&mut self, decision: DecisionDescription<'_>, events: &[&EventSchema]) {
        let DecisionDescription { name, body, refusals } = decision;
        let body = self.named(format!("decision-{name}"), body);
        let outcome = self.named(format!("outcome-{name}"), outcome_schema(events));
        let operation =
            Operation::new(format!("decision.{name}"), format!("send `{name}`, which spans entities"));
        let operation = written(operation.tag("commands"), body, outcome, refusals);
        self.add(Method::POST, format!("/commands/{name}"), operation);
    }
}

/// The problems of every command, besides those of its body and its domain.
const OF_COMMANDS: &[Kind] = &[
    kinds::INVALID_INPUT,
    kinds::INVALID_NAME,
    kinds::CROSS_SITE,
    kinds::CONTENDED,
    kinds::ALREADY_COMPENSATED,
    kinds::UNREADABLE_HISTORY,
    kinds::NEWER_EVENT,
    kinds::DATA_LOSS,
    kinds::INVALID_READ,
    kinds::INTERNAL,
];

/// The problems of states and histories.
const OF_ENTITIES: &[Kind] = &[
    kinds::INVALID_NAME,
    kinds::INVALID_ID,
    kinds::NO_STREAM,
    kinds::NO_VERSION,
    kinds::UNREADABLE_HISTORY,
    kinds::NEWER_EVENT,
    kinds::INTERNAL,
];

/// What every command takes and gives.
fn written(operation: Operation, body: Value, outcome: Value, refusals: &[RefusalInfo]) -> Operation {
    let operation = operation
        .header(
            "Idempotency-Key",
            "1 to 256 bytes. A repeat gets the first answer, and records nothing.",
            visible(),
        )
        .header("X-Actor", "Who acts, if the request has no authenticated user.", visible())
        .header("X-Correlation-Id", "What the command belongs to. By default one is made.", visible())
        .header("X-Causation-Id", "What led to the command: the id of an event, or any name.", visible())
        .header("X-Reason", "Why, in words.", visible())
        .header("Traceparent", "A W3C trace context.", visible())
        .body("application/json", body)
        .json(200, "The events are durable.", outcome)
        .answer_header("ETag", "The version of the entity, if the command wrote to one.", entity_tag())
        .answers_with_header(
            "X-Correlation-Id",
            "The correlation that the events were recorded with.",
            text(),
        )
        .problems(OF_COMMANDS)
        .problems(kinds::OF_APPENDS);
    operation.problem_with(kinds::REFUSED, refused(refusals))
}

/// A refusal, with the codes of the domain if they are known.
fn refused(refusals: &[RefusalInfo]) -> Value {
    let base = named(&kinds::REFUSED.schema_name());
    if refusals.is_empty() {
        return base;
    }
    let codes = refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>();
    let meanings = refusals.iter().map(|refusal| format!("`{}`: {}.", refusal.code, refusal.message));
    let code = about(one_of(&codes), &meanings.collect::<Vec<_>>().join(" "));
    json!({"allOf": [base], "properties": {"code": code}})
}

/// The id of an entity of that category, which is a part of the name of its stream.
fn id_of(category: &str) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": STREAM_NAME_BYTES_MAX.saturating_sub(category.len() + 1),
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
    })
}

fn hosted() -> Operation {
    let field = answer(vec![("name", text()), ("type", text()), ("category?", text())]);
    let fields = || list(field.clone());
    let command = answer(vec![("name", text()), ("fields", fields())]);
    let decider = answer(vec![("category", text()), ("commands", list(command)), ("events", list(text()))]);
    let decision = answer(vec![("name", text()), ("fields", fields())]);
    let all = answer(vec![("app", text()), ("deciders", list(decider)), ("decisions", list(decision))]);
    Operation::new("listCommands", "list hosted commands and decisions").tag("commands").json(
        200,
        "What is hosted.",
        all,
    )
}

/// The steps of a series of states.
const EVERY: &str = "`hour`, `day`, `week`, `month`, `year`, or a number of events.";

/// The members of a cut.
fn cut(state: &Value) -> Vec<(&'static str, Value)> {
    vec![
        ("at?", about(named("Time"), "The moment; missing if the cuts count events.")),
        ("version", nullable(named("Version"))),
        ("final", about(boolean(), "True if no event can come into it any more.")),
        ("state", state.clone()),
    ]
}

/// One state of an entity.
fn one_state(state: &Value) -> Value {
    answer(vec![
        ("state", state.clone()),
        ("version", nullable(named("Version"))),
        ("checkpoint", named("Checkpoint")),
    ])
}

fn state_operation(category: &str, state: &Value) -> Operation {
    let series = answer(vec![("stream", named("StreamName")), ("cuts", list(answer(cut(state))))]);
    let text = "With `every` the states at many moments, else the state now or as of one of `version`, `checkpoint`, `recorded_at` and `time`.";
    let operation = Operation::new(
        format!("state.{category}"),
        format!("the state of an entity of `{category}`, now, at an earlier time, or at many moments"),
    )
    .tag("states")
    .text(text)
    .path("id", "The id of the entity.", id_of(category))
    .query("version", "As of this version.", named("Version"))
    .query("checkpoint", "As of this place in the log.", named("Checkpoint"))
    .query("recorded_at", "As of the events recorded up to this time.", named("Time"))
    .query("time", "As of the events that happened up to this time.", named("Time"))
    .query("every", EVERY, every());
    series_parameters(operation)
        .json(200, "The state, or the states.", json!({"oneOf": [one_state(state), series]}))
        .answer_header("ETag", "The version of the entity, if one state is asked for.", entity_tag())
        .conditional_read()
        .problems(OF_ENTITIES)
        .problems(kinds::OF_READS)
}

fn states_operation(category: &str, state: &Value) -> Operation {
    let cut = [("id", text())].into_iter().chain(cut(state)).collect();
    let series = answer(vec![("category", named("Category")), ("cuts", list(answer(cut)))]);
    let operation = Operation::new(
        format!("states.{category}"),
        format!("the states of all entities of `{category}` at many moments"),
    )
    .tag("states")
    .query("every", EVERY, every())
    .required()
    .query("lanes", "Entities of these lanes, such as `0-255,512`.", text());
    series_parameters(operation)
        .json(200, "The states, ordered by the cut.", series)
        .problems(OF_ENTITIES)
        .problems(kinds::OF_READS)
}

fn what_if_operation(category: &str, state: &Value) -> Operation {
    let event = |place: &'static str| {
        answer(vec![
            (place, named("Version")),
            ("type", named("EventType")),
            ("schemaVersion?", nullable(between(0, u16::MAX.into()))),
            ("data", json!({})),
        ])
    };
    let version = json!({"type": "string", "pattern": "^[0-9]+$"});
    let until = json!({"anyOf": [named("Version"), version, named("Time"), named("Checkpoint")]});
    let body = request(vec![
        ("without?", about(list(named("Version")), "The versions of events to leave out.")),
        ("replace?", about(list(event("version")), "Events in the place of those with these versions.")),
        ("insert?", about(list(event("after")), "Events after those with these versions.")),
        ("until?", about(nullable(until), "The point to stop at; the default is now.")),
    ]);
    Operation::new(
        format!("whatIf.{category}"),
        format!("the state of an entity of `{category}` as it would be with other events"),
    )
    .tag("states")
    .text("Nothing is written.")
    .path("id", "The id of the entity.", id_of(category))
    .body("application/json", body)
    .optional_body()
    .json(200, "The state.", one_state(state))
    .problems(&[kinds::INVALID_INPUT])
    .problems(OF_ENTITIES)
    .problems(kinds::OF_READS)
}

fn diff_operation(category: &str) -> Operation {
    let point = || json!({"anyOf": [named("Version"), named("Time"), named("Checkpoint")]});
    let change = answer(vec![
        ("pointer", about(text(), "A JSON pointer into the state.")),
        ("before?", json!({})),
        ("after?", json!({})),
    ]);
    let changes = answer(vec![("stream", named("StreamName")), ("changes", list(change))]);
    Operation::new(
        format!("diff.{category}"),
        format!("what differs between the states of an entity of `{category}` at two points"),
    )
    .tag("states")
    .path("id", "The id of the entity.", id_of(category))
    .query("from", "A version, the time when events were recorded, or a checkpoint.", point())
    .required()
    .query("to", "The same; the default is now.", point())
    .json(200, "The smallest parts that differ.", changes)
    .problems(OF_ENTITIES)
    .problems(kinds::OF_READS)
}

/// The history of an entity of a category without a decider. Its events are not typed.
fn other_history() -> Operation {
    let operation = Operation::new("history", "the history of an entity of any other category");
    history_of("", operation.path("category", "The category.", named("Category")), history_schema(&[]))
}

fn history_operation(category: &str, history: Value) -> Operation {
    let summary = format!("the history of an entity of `{category}`");
    history_of(category, Operation::new(format!("history.{category}"), summary), history)
}

fn history_of(category: &str, operation: Operation, history: Value) -> Operation {
    operation
        .tag("histories")
        .path("id", "The id of the entity.", id_of(category))
        .query("from", "The first version of the page.", named("Version"))
        .query("direction", "The default is `forward`.", one_of(&["forward", "backward"]))
        .query("limit", "Events in the page; the default is 100.", between(1, 10_000))
        .json(200, "A page of the history.", history)
        .answer_header("ETag", "The version of the entity.", entity_tag())
        .conditional_read()
        .problems(OF_ENTITIES)
        .problems(kinds::OF_READS)
}

fn outcome_schema(events: &[&EventSchema]) -> Value {
    let repeated =
        about(boolean(), "True if the command was done before, and this is its first answer again.");
    answer(vec![
        (
            "streams",
            about(list(named("StreamVersion")), "The new versions of the streams that were written to."),
        ),
        ("checkpoint", about(named("Checkpoint"), "A view that has reached it shows the events.")),
        ("repeated", repeated),
        ("events", list(typed_event("OutcomeEvent", events))),
    ])
}

fn outcome_event() -> Value {
    answer(vec![
        ("id", named("EventId")),
        ("stream", named("StreamName")),
        ("version", named("Version")),
        ("position", named("Position")),
        ("type", named("EventType")),
        ("schemaVersion", count()),
        ("data", json!({})),
    ])
}

fn history_event() -> Value {
    let by = answer(vec![("stream", named("StreamName")), ("id", named("EventId"))]);
    answer(vec![
        ("id", named("EventId")),
        ("type", named("EventType")),
        ("schemaVersion", count()),
        ("version", named("Version")),
        ("position", named("Position")),
        ("time", named("Time")),
        ("recordedAt", named("Time")),
        ("actor?", text()),
        ("correlation?", text()),
        ("causation?", text()),
        ("compensates?", about(named("EventId"), "The event that this one compensates.")),
        ("compensatedBy?", about(list(by), "The events that compensate this one.")),
        ("tags?", list(named("Tag"))),
        ("data?", json!({})),
        ("dataText?", text()),
        ("dataBase64?", text()),
        ("metadata?", json!({})),
    ])
}

fn history_schema(events: &[&EventSchema]) -> Value {
    answer(vec![
        ("stream", named("StreamName")),
        ("lastVersion", about(nullable(named("Version")), "`null` where damage may hide the last event.")),
        ("events", list(typed_event("HistoryEvent", events))),
        ("next", nullable(about(text(), "The address of the next page."))),
        ("checkpoint", about(named("Checkpoint"), "The head of the log at the time of the read.")),
    ])
}
