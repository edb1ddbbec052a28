//! Descriptions of routes, and the OpenAPI document that they make.
//!
//! A route is described where it is served: an [`Operation`] says what it takes, every answer that it gives, and the kinds of its problems.
//! [`openapi`] turns operations into a document. What holds for every operation of a server is given to it once, as [`Everywhere`].

mod app;
mod document;
mod events;

use std::borrow::Cow;

use axum::http::Method;
use gesta_wire::schema::{boolean, named, one_of};
use gesta_wire::{Kind, kinds};
use serde_json::Value;

pub use app::{AppDescription, describe_app};
pub use document::{Everywhere, Info, openapi, sorted, used_schemas};
pub use events::{event_schema_name, event_schemas, typed_event};

/// A route with its description.
#[derive(Debug, Clone)]
pub struct Described {
    /// The method.
    pub method: Method,
    /// The path, with `{names}` in place of its variable parts.
    pub path: Cow<'static, str>,
    /// What it takes and gives.
    pub operation: Operation,
}

/// What a route takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    id: Cow<'static, str>,
    summary: Cow<'static, str>,
    text: Option<&'static str>,
    tag: &'static str,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    answers: Vec<Answer>,
    problems: Vec<(u16, Kind)>,
    /// Schemas that replace those of kinds: what only this operation knows of them.
    refined: Vec<(Kind, Value)>,
}

/// A parameter of the address, or a header.
#[derive(Debug, Clone, PartialEq)]
struct Parameter {
    place: Place,
    name: &'static str,
    about: &'static str,
    schema: Value,
    is_required: bool,
    is_repeatable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
}

#[derive(Debug, Clone, PartialEq)]
struct Body {
    is_required: bool,
    /// The schema for each media type.
    content: Vec<(&'static str, Value)>,
}

/// An answer that is no problem.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: u16,
    about: &'static str,
    /// The name and meaning of each header.
    headers: Vec<Header>,
    content: Vec<(&'static str, Value)>,
}

/// A header of an answer.
#[derive(Debug, Clone, PartialEq)]
struct Header {
    name: &'static str,
    about: &'static str,
    schema: Value,
    is_required: bool,
}

impl Operation {
    /// An operation with the name that clients give it, such as `appendToStream`, and its purpose in one line.
    #[must_use]
    pub fn new(id: impl Into<Cow<'static, str>>, summary: impl Into<Cow<'static, str>>) -> Self {
        Self {
            id: id.into(),
            summary: summary.into(),
            text: None,
            tag: "server",
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: vec![(kinds::INVALID_REQUEST.status, kinds::INVALID_REQUEST)],
            refined: Vec::new(),
        }
    }

    /// The purpose in one line.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Adds what a reader should know beyond the summary.
    #[must_use]
    pub const fn text(mut self, text: &'static str) -> Self {
        self.text = Some(text);
        self
    }

    /// Puts it into a group of operations.
    #[must_use]
    pub const fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// Adds a variable part of the path.
    #[must_use]
    pub fn path(self, name: &'static str, about: &'static str, schema: Value) -> Self {
        self.parameter(Place::Path, name, about, schema)
    }

    /// Adds an optional parameter of the address.
    #[must_use]
    pub fn query(self, name: &'static str, about: &'static str, schema: Value) -> Self {
        self.parameter(Place::Query, name, about, schema)
    }

    /// Adds an optional header.
    #[must_use]
    pub fn header(self, name: &'static str, about: &'static str, schema: Value) -> Self {
        self.parameter(Place::Header, name, about, schema)
    }

    /// Makes the last parameter required.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.last_parameter().is_required = true;
        self
    }

    /// Allows the last parameter any number of times.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.last_parameter().is_repeatable = true;
        self
    }

    fn last_parameter(&mut self) -> &mut Parameter {
        self.parameters.last_mut().expect("a parameter comes first")
    }

    fn parameter(mut self, place: Place, name: &'static str, about: &'static str, schema: Value) -> Self {
        let is_required = place == Place::Path;
        self.parameters.push(Parameter { place, name, about, schema, is_required, is_repeatable: false });
        self
    }

    /// Adds a body of that media type, or another media type of the body, with the problems that every body can have.
    #[must_use]
    pub fn body(mut self, media_type: &'static str, schema: Value) -> Self {
        let body = self.body.get_or_insert_with(|| Body { is_required: true, content: Vec::new() });
        body.content.push((media_type, schema));
        self.problems(OF_BODIES)
    }

    /// Allows the body to be left out.
    #[must_use]
    pub fn optional_body(mut self) -> Self {
        self.body.as_mut().expect("a body comes first").is_required = false;
        self
    }

    /// Adds an answer in JSON.
    #[must_use]
    pub fn json(self, status: u16, about: &'static str, schema: Value) -> Self {
        self.content(status, about, "application/json", schema)
    }

    /// Adds an answer of that media type, or another media type of an answer with the same status.
    #[must_use]
    pub fn content(
        mut self,
        status: u16,
        about: &'static str,
        media_type: &'static str,
        schema: Value,
    ) -> Self {
        match self.answers.iter_mut().find(|answer| answer.status == status) {
            Some(answer) => answer.content.push((media_type, schema)),
            None => {
                let content = vec![(media_type, schema)];
                self.answers.push(Answer { status, about, headers: Vec::new(), content });
            }
        }
        self
    }

    /// Adds an answer without a body.
    #[must_use]
    pub fn empty(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push(Answer { status, about, headers: Vec::new(), content: Vec::new() });
        self
    }

    /// Adds a header that the last answer may have.
    #[must_use]
    pub fn answer_header(self, name: &'static str, about: &'static str, schema: Value) -> Self {
        self.add_header(name, about, schema, false)
    }

    /// Adds a header that the last answer always has.
    #[must_use]
    pub fn answers_with_header(self, name: &'static str, about: &'static str, schema: Value) -> Self {
        self.add_header(name, about, schema, true)
    }

    fn add_header(
        mut self,
        name: &'static str,
        about: &'static str,
        schema: Value,
        is_required: bool,
    ) -> Self {
        let answer = self.answers.last_mut().expect("an answer comes first");
        answer.headers.push(Header { name, about, schema, is_required });
        self
    }

    /// Adds problems, each with the status of its kind.
    #[must_use]
    pub fn problems(self, kinds: &[Kind]) -> Self {
        kinds.iter().fold(self, |operation, kind| operation.problem_as(kind.status, *kind))
    }

    /// Adds a problem with another status than that of its kind.
    #[must_use]
    pub fn problem_as(mut self, status: u16, kind: Kind) -> Self {
        if !self.problems.contains(&(status, kind)) {
            self.problems.push((status, kind));
        }
        self
    }

    /// Adds a problem whose schema says more than that of its kind.
    #[must_use]
    pub fn problem_with(mut self, kind: Kind, schema: Value) -> Self {
        self.refined.push((kind, schema));
        self.problems(&[kind])
    }

    /// Adds the headers of a conditional request that writes.
    #[must_use]
    pub fn conditional_write(self, of: &'static str) -> Self {
        let none = serde_json::json!({"const": "*"});
        self.header("If-Match", of, if_match()).header("If-None-Match", "`*`: there is none yet.", none)
    }

    /// True if the route heeds `If-Match` or `If-None-Match`.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.parameters.iter().any(|parameter| ["If-Match", "If-None-Match"].contains(&parameter.name))
    }

    /// Adds what conditional reads need: the header, and the answer `304`.
    #[must_use]
    pub fn conditional_read(self) -> Self {
        self.header("If-None-Match", "Entity tags that the client has, or `*`.", if_none_match())
            .empty(304, "The client has it already.")
            .answers_with_header("ETag", "The entity tag.", entity_tag())
    }
}

/// The problems that every body can have.
const OF_BODIES: &[Kind] = &[
    kinds::INVALID_JSON,
    kinds::TOO_SLOW,
    kinds::TOO_LARGE,
    kinds::UNSUPPORTED_TYPE,
    kinds::UNSUPPORTED_ENCODING,
    kinds::OVERLOADED,
];

/// The step of a series: a period of the calendar, or a number of events.
#[must_use]
pub fn every() -> Value {
    serde_json::json!({"type": "string", "pattern": "^(hour|day|week|month|year|[1-9][0-9]{0,8})$"})
}

/// Adds the parameters of a series by the calendar, besides its step.
#[must_use]
pub fn series_parameters(operation: Operation) -> Operation {
    let zone =
        serde_json::json!({"type": "string", "minLength": 1, "maxLength": 64, "examples": ["Europe/Prague"]});
    operation
        .query("zone", "With `every`: an IANA time zone; the default is UTC.", zone)
        .query("by", "With `every`: the time that counts.", one_of(&["recorded_at", "time"]))
        .query(
            "closed",
            "With `every`: end with the last cut that has passed, and close it. Later events get a later time, so every cut is final.",
            boolean(),
        )
        .query("from", "With `every`: the first moment.", named("Time"))
        .query("to", "With `every`: the last moment.", named("Time"))
}

/// An entity tag: a version in quotes, and perhaps the name of a form.
#[must_use]
pub fn entity_tag() -> Value {
    serde_json::json!({"type": "string", "pattern": "^(W/)?\"[0-9]{1,19}(-[a-z]+)?\"$"})
}

/// The value of a header that a route reads: visible ASCII.
#[must_use]
pub fn visible() -> Value {
    serde_json::json!({"type": "string", "pattern": "^[!-~]([ -~]*[!-~])?$"})
}

fn if_match() -> Value {
    serde_json::json!({"type": "string", "pattern": "^(\\*|(W/)?\"[0-9]{1,19}\")$"})
}

fn if_none_match() -> Value {
    let tag = "(W/)?\"[0-9a-z-]{1,40}\"";
    serde_json::json!({"type": "string", "pattern": format!("^(\\*|{tag}(, ?{tag})*)$")})
}
