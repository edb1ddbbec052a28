//! The OpenAPI document of a server as a contract: every answer that a test gets must be described.

use std::collections::BTreeSet;

use gesta::schema::misfit_within;
use gesta_server::Server;
use gesta_wire::Problem;
use serde_json::Value;

use crate::harness::{Answer, memory};
use crate::hosted::counters;

/// What a server says that it takes and gives.
pub(crate) struct Contract(Value);

/// Problems of requests that are for no described operation.
const OF_NO_OPERATION: [&str; 5] = ["no-route", "wrong-method", "not-hosted", "cross-site", "foreign-host"];

impl Contract {
    pub(crate) fn of(server: &Server) -> Self {
        Self(server.openapi())
    }

    /// Checks an answer: its status, its media type, its kind of problem, and its body.
    #[track_caller]
    pub(crate) fn check(&self, method: &str, address: &str, answer: &Answer) {
        // A host's authentication is its own.
        if answer.status == 401 || method == "HEAD" {
            return;
        }
        let path = address.split('?').next().unwrap_or_default();
        let Some(operation) = self.operation(method, path) else {
            let kind = Problem::from_json(answer.text.as_bytes()).map(|problem| problem.kind);
            let is_refused =
                kind.is_ok_and(|kind| OF_NO_OPERATION.contains(&&*kind) || kind == "invalid-request");
            assert!(is_refused, "`{method} {path}` is served and not described: {answer:?}");
            return;
        };
        let described = self.resolved(&operation["responses"][answer.status.to_string()]);
        assert!(described.is_object(), "`{method} {path}` describes no {}: {answer:?}", answer.status);
        let media_type = answer.header("content-type");
        let essence = |media_type: &str| media_type.split(';').next().unwrap_or_default().to_owned();
        let mut contents = described["content"].as_object().into_iter().flatten();
        let content = contents.find(|(described, _)| essence(described) == essence(media_type));
        let Some((_, content)) = content else {
            let is_empty = described.get("content").is_none() && answer.text.is_empty();
            assert!(is_empty, "`{method} {path}` describes no `{media_type}`: {answer:?}");
            return;
        };
        if essence(media_type).ends_with("json") {
            self.check_body(&content["schema"], &answer.json(), &format!("{method} {path}"));
        }
    }

    #[track_caller]
    fn check_body(&self, schema: &Value, body: &Value, operation: &str) {
        // A store may deny an append with a code of its own.
        if body.get("denied").is_none() {
            assert_eq!(misfit_within(&self.0, schema, body), None, "`{operation}`: {body}");
        }
        let mut found = Vec::new();
        self.undescribed(&[schema], body, "", &mut found);
        assert_eq!(found, [""; 0], "`{operation}` gives members that are not described: {body}");
    }

    /// The operation that serves a path: the one with the fewest variable parts.
    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let paths = self.0["paths"].as_object()?.iter();
        let matching = paths.filter(|(template, operations)| {
            fits(template, path) && operations.get(method.to_ascii_lowercase()).is_some()
        });
        let best = matching.min_by_key(|(template, _)| template.matches('{').count());
        best.map(|(_, operations)| &operations[method.to_ascii_lowercase()])
    }

    /// Finds members that none of the schemas has. What a schema leaves open is not looked into.
    fn undescribed(&self, schemas: &[&Value], value: &Value, at: &str, found: &mut Vec<String>) {
        let mut parts = Vec::new();
        schemas.iter().for_each(|schema| self.parts(schema, &mut parts));
        match value {
            Value::Object(members) => {
                let properties = parts.iter().filter_map(|part| part.get("properties")).collect::<Vec<_>>();
                let is_open = parts.iter().any(|part| part["additionalProperties"].is_object());
                if properties.is_empty() || is_open {
                    return;
                }
                for (name, member) in members {
                    let schemas = properties.iter().filter_map(|known| known.get(name)).collect::<Vec<_>>();
                    let at = format!("{at}/{name}");
                    if schemas.is_empty() {
                        found.push(at);
                    } else if schemas.iter().all(|schema| **schema != serde_json::json!({})) {
                        self.undescribed(&schemas, member, &at, found);
                    }
                }
            }
            Value::Array(items) => {
                let schemas = parts.iter().filter_map(|part| part.get("items")).collect::<Vec<_>>();
                items.iter().for_each(|item| self.undescribed(&schemas, item, at, found));
            }
            _ => {}
        }
    }

    /// What a reference is to.
    fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        let Some(place) = part.get("$ref").and_then(Value::as_str) else { return part };
        let target = self.0.pointer(place.trim_start_matches('#'));
        target.unwrap_or_else(|| panic!("`{place}` is not there"))
    }

    /// The schemas that a schema is made of.
    fn parts<'a>(&'a self, schema: &'a Value, parts: &mut Vec<&'a Value>) {
        if schema.get("$ref").is_some() {
            self.parts(self.resolved(schema), parts);
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            let choices = schema.get(word).and_then(Value::as_array);
            choices.into_iter().flatten().for_each(|choice| self.parts(choice, parts));
        }
        parts.push(schema);
    }
}

/// Whether a path is one of a template.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(part), Some(given)) if part == given || part.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

/// The operations of a document: method, path and description.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter();
        operations.map(|(method, operation)| (method.to_ascii_uppercase(), path.clone(), operation.clone()))
    });
    all.collect()
}

#[test]
fn every_described_route_is_served() {
    let build = || Server::builder(memory()).app(counters()).build();
    let document = build().openapi();
    let server = crate::harness::serve(build());
    for (method, path, _) in operations(&document) {
        let address = path.replace("{id}", "7").replace(['{', '}'], "");
        let body = (method != "GET").then_some("");
        let answer = server.call(&method, &address, &[], body);
        let kind = Problem::from_json(answer.text.as_bytes()).map(|problem| problem.kind.into_owned());
        let is_missing = kind.as_ref().is_ok_and(|kind| OF_NO_OPERATION.contains(&&**kind));
        assert!(!is_missing, "`{method} {path}` is described and not served: {answer:?}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_every_reference_a_target() {
    let document = Server::builder(memory()).app(counters()).build().openapi();
    let mut names = BTreeSet::new();
    for (_, path, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name), "{path}: {}", operation["operationId"]);
    }
    let mut left = vec![&document];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                if let Some(place) = members.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(place.trim_start_matches('#')).is_some(), "`{place}`");
                }
                left.extend(members.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
}
