//! The OpenAPI 3.1 document of described routes.

use std::collections::BTreeMap;

use axum::http::Method;
use gesta_wire::{Kind, PROBLEM_MEDIA_TYPE, schema};
use serde_json::{Map, Value, json};

use super::{Answer, Body, Described, Header, Operation, Parameter, Place};

/// What stands at the head of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The name of the API.
    pub title: String,
    /// What it is, in Markdown.
    pub description: String,
    /// The version of the API.
    pub version: String,
}

/// What holds for every operation of a server: the effect of its layers.
#[derive(Debug, Clone, Default)]
pub struct Everywhere {
    /// Optional headers of every request, with their meaning.
    pub request_headers: Vec<(&'static str, &'static str, Value)>,
    /// Headers that any answer may have, with their meaning.
    pub answer_headers: Vec<(&'static str, &'static str, Value)>,
    /// The problems of every request.
    pub problems: Vec<Kind>,
    /// The problems of requests that write, too.
    pub problems_of_writes: Vec<Kind>,
}

/// The OpenAPI document of these routes. `schemas` are the schemas that they refer to by name; those of problems are added.
#[must_use]
pub fn openapi(
    info: &Info,
    routes: &[Described],
    everywhere: &Everywhere,
    schemas: impl IntoIterator<Item = (String, Value)>,
) -> Value {
    let (mut paths, mut problems) = (Map::new(), Problems::new(everywhere));
    for Described { method, path, operation } in routes {
        let operation = with_everywhere(operation.clone(), method, everywhere);
        let methods = paths.entry(path.to_string()).or_insert_with(|| json!({}));
        methods[method.as_str().to_ascii_lowercase()] = operation_json(&operation, everywhere, &mut problems);
    }
    let of_kinds = problems.kinds.values().map(|kind| (kind.schema_name(), kind.schema()));
    let schemas = schemas.into_iter().chain(of_kinds).collect::<Map<_, _>>();
    let responses = Value::Object(problems.answers);
    let components = json!({
        "schemas": used_schemas(&json!([paths, responses]), schemas),
        "responses": responses,
        "headers": everywhere.answer_headers.iter().map(header_component).collect::<Value>(),
    });
    let tags = routes.iter().map(|route| route.operation.tag).collect::<std::collections::BTreeSet<_>>();
    sorted(&json!({
        "openapi": "3.1.0",
        "info": {"title": info.title, "description": info.description, "version": info.version},
        "servers": [{"url": "/"}],
        "tags": tags.into_iter().map(|tag| json!({"name": tag})).collect::<Value>(),
        "paths": paths,
        "components": components,
    }))
}

/// The schemas that a part of a document uses, directly or through others.
#[must_use]
pub fn used_schemas(part: &Value, mut all: Map<String, Value>) -> Map<String, Value> {
    let mut found = Map::new();
    let mut left = Vec::new();
    references(part, &mut left);
    while let Some(name) = left.pop() {
        if let Some(schema) = all.remove(&name) {
            references(&schema, &mut left);
            found.insert(name, schema);
        }
    }
    found
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let name = object.get("$ref").and_then(Value::as_str);
            found.extend(name.and_then(|name| name.strip_prefix(schema::SCHEMAS)).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn with_everywhere(operation: Operation, method: &Method, everywhere: &Everywhere) -> Operation {
    let headers = everywhere.request_headers.iter();
    let operation = headers
        .fold(operation, |operation, (name, about, schema)| operation.header(name, about, schema.clone()))
        .problems(&everywhere.problems);
    match *method {
        Method::GET => operation,
        _ => operation.problems(&everywhere.problems_of_writes),
    }
}

fn operation_json(operation: &Operation, everywhere: &Everywhere, problems: &mut Problems<'_>) -> Value {
    let mut json = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": responses(operation, everywhere, problems),
    });
    if let Some(text) = operation.text {
        json["description"] = text.into();
    }
    if !operation.parameters.is_empty() {
        json["parameters"] = operation.parameters.iter().map(parameter_json).collect();
    }
    if let Some(Body { is_required, content }) = &operation.body {
        json["requestBody"] = json!({"required": is_required, "content": content_json(content)});
    }
    json
}

fn parameter_json(parameter: &Parameter) -> Value {
    let Parameter { place, name, about, schema, is_required, is_repeatable } = parameter;
    let place = match place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let schema = if *is_repeatable { schema::list(schema.clone()) } else { schema.clone() };
    json!({"in": place, "name": name, "description": about, "required": is_required, "schema": schema})
}

fn content_json(content: &[(&str, Value)]) -> Value {
    content.iter().map(|(media_type, schema)| ((*media_type).to_owned(), json!({"schema": schema}))).collect()
}

fn responses(operation: &Operation, everywhere: &Everywhere, problems: &mut Problems<'_>) -> Value {
    let answers = operation.answers.iter().map(|answer| (answer.status, answer_json(answer, everywhere)));
    let mut by_status = BTreeMap::<u16, Vec<Kind>>::new();
    for (status, kind) in &operation.problems {
        by_status.entry(*status).or_default().push(*kind);
    }
    let problems =
        by_status.iter().map(|(status, kinds)| (*status, problems.answer(*status, kinds, operation)));
    answers.chain(problems).map(|(status, answer)| (status.to_string(), answer)).collect()
}

fn answer_json(answer: &Answer, everywhere: &Everywhere) -> Value {
    let mut json = json!({"description": answer.about, "headers": header_references(everywhere)});
    for Header { name, about, schema, is_required } in &answer.headers {
        json["headers"][name] = json!({"description": about, "schema": schema, "required": is_required});
    }
    if !answer.content.is_empty() {
        json["content"] = content_json(&answer.content);
    }
    json
}

/// The answers that are problems. Operations with the same kinds of problems share one.
struct Problems<'a> {
    everywhere: &'a Everywhere,
    /// The kinds that were met, by name.
    kinds: BTreeMap<&'static str, Kind>,
    /// The shared answers. The name of an answer is its status and its kinds.
    answers: Map<String, Value>,
}

impl<'a> Problems<'a> {
    fn new(everywhere: &'a Everywhere) -> Self {
        Self { everywhere, kinds: BTreeMap::new(), answers: Map::new() }
    }

    /// One answer for all kinds with that status.
    fn answer(&mut self, status: u16, kinds: &[Kind], operation: &Operation) -> Value {
        self.kinds.extend(kinds.iter().map(|kind| (kind.name, *kind)));
        let mut kinds = kinds.to_vec();
        kinds.sort_by_key(|kind| kind.name);
        if kinds.iter().any(|kind| operation.refined.iter().any(|(refined, _)| refined == kind)) {
            return self.described(&kinds, operation);
        }
        let names = kinds.iter().map(|kind| kind.name).collect::<Vec<_>>();
        let name = format!("{status}-{}", names.join("-"));
        let described = self.described(&kinds, operation);
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        self.answers.insert(name, described);
        reference
    }

    fn described(&self, kinds: &[Kind], operation: &Operation) -> Value {
        let titles = kinds.iter().map(|kind| format!("`{}`: {}.", kind.name, kind.title));
        let mut headers = header_references(self.everywhere);
        for (name, about, schema) in headers_of(kinds) {
            headers[name] = json!({"description": about, "schema": schema});
        }
        let schema_of = |kind: &Kind| {
            let refined = operation.refined.iter().find(|(refined, _)| refined == kind);
            refined.map_or_else(|| schema::named(&kind.schema_name()), |(_, schema)| schema.clone())
        };
        let schema = match kinds {
            [kind] => schema_of(kind),
            kinds => json!({"oneOf": kinds.iter().map(schema_of).collect::<Value>()}),
        };
        json!({
            "description": titles.collect::<Vec<_>>().join(" "),
            "headers": headers,
            "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}},
        })
    }
}

/// Headers that problems of some kinds have.
fn headers_of(kinds: &[Kind]) -> Vec<(&'static str, &'static str, Value)> {
    let mut headers = Vec::new();
    if kinds.iter().any(|kind| kind.status == 503) {
        headers.push(("Retry-After", "Seconds to wait, where `retry` is `after-pause`.", schema::text()));
    }
    if kinds
        .iter()
        .any(|kind| ["conflict", "version-mismatch", "group-exists", "group-changed"].contains(&kind.name))
    {
        headers.push(("ETag", "The version that there is.", super::entity_tag()));
    }
    headers
}

fn header_references(everywhere: &Everywhere) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    everywhere.answer_headers.iter().map(|(name, ..)| ((*name).to_owned(), reference(name))).collect()
}

fn header_component((name, about, schema): &(&str, &str, Value)) -> (String, Value) {
    ((*name).to_owned(), json!({"description": about, "schema": schema}))
}

/// The same value with the members of all objects in the order of their names, so that a document is one text.
#[must_use]
pub fn sorted(value: &Value) -> Value {
    crate::canonical::sorted(value)
}
