//! The grammar of a definition: header, schema, handlers.
//!
//! A directive is a line comment at the beginning of a line, outside of quotes and block comments, whose first word is
//! a keyword of ours. All other comments mean nothing.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use gesta_core::{Category, EventType};

use crate::dialect::Dialect;
use crate::envelope::Envelope;
use crate::lexer::{Kind, Token, leading_blanks, tokens};
use crate::parked::OnError;
use crate::parts::{Accepts, Handler, Parameter, Parts, Work, is_view_name};
use crate::problem::{DefinitionError, DefinitionProblem as Problem};
use crate::statements::{Statement, split};

/// A result, or a problem with its line.
type At<T> = Result<T, (u32, Problem)>;

/// Parses a definition. SQLite checks the statements later.
pub(crate) fn parse(name: &str, file: &str, text: &str) -> Result<Parts, DefinitionError> {
    parse_parts(name, file, text).map_err(|(line, problem)| DefinitionError {
        file: file.to_owned(),
        line,
        problem,
    })
}

fn parse_parts(name: &str, file: &str, text: &str) -> At<Parts> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lexed = tokens(text, dialect_of(text).unwrap_or(Dialect::Sqlite));
    let tokens = lexed.map_err(|unclosed| (unclosed.line, Problem::Unclosed { what: unclosed.what }))?;
    let draft = Draft::read(&tokens)?;
    let name = draft.header.view.map_or((1, name), |(line, name)| (line, name));
    if !is_view_name(name.1) {
        return Err((name.0, Problem::Name { name: name.1.chars().take(80).collect() }));
    }
    let (line, dialect) = draft.header.dialect.ok_or((1, Problem::NoDialect))?;
    let unknown = || (line, Problem::Dialect { dialect: dialect.to_owned() });
    let dialect = Dialect::by_name(dialect).ok_or_else(unknown)?;
    if draft.handlers.is_empty() {
        let last = tokens.last().map_or(1, |token| token.line);
        return Err((last, Problem::NoHandler));
    }
    let handlers = draft.handlers.into_iter().map(|handler| handler.finish(dialect));
    let handlers = handlers.collect::<At<_>>()?;
    Ok(Parts {
        name: name.1.to_owned(),
        file: file.to_owned(),
        text: Some(text.to_owned()),
        dialect,
        version: draft.header.version.map_or(Ok(1), version)?,
        on_error: draft.header.on_error.map_or(Ok(OnError::default()), on_error)?,
        categories: draft.header.category.map_or(Ok(Vec::new()), categories)?,
        schema: schema(&draft.schema, dialect)?,
        work: Work::Statements(handlers),
    })
}

/// The dialect that the header names, read before the rest of the text can be divided into tokens.
fn dialect_of(text: &str) -> Option<Dialect> {
    leading_blanks(text).find_map(|token| match directive(&token) {
        Some(Directive::Header("dialect", name)) => Dialect::by_name(name),
        _ => None,
    })
}

/// A comment line with a keyword.
enum Directive<'t> {
    Header(&'static str, &'t str),
    On(&'t str),
    Require(&'t str),
    Ignore,
}

const HEADER_KEYS: [&str; 5] = ["view", "dialect", "version", "category", "on-error"];

fn directive<'t>(token: &Token<'t>) -> Option<Directive<'t>> {
    if token.kind != Kind::LineComment || !token.begins_line {
        return None;
    }
    let text = token.text.strip_prefix("--")?.trim();
    if text == "on" || text.strip_prefix("on").is_some_and(|rest| rest.starts_with([' ', '\t'])) {
        return Some(Directive::On(text["on".len()..].trim()));
    }
    if text == "ignore" {
        return Some(Directive::Ignore);
    }
    let (key, value) = text.split_once(':')?;
    let (key, value) = (key.trim_end(), value.trim());
    if key == "require" {
        return Some(Directive::Require(value));
    }
    HEADER_KEYS.into_iter().find(|known| *known == key).map(|known| Directive::Header(known, value))
}

/// The file, divided into header, schema and handlers.
#[derive(Default)]
struct Draft<'t> {
    header: Header<'t>,
    schema: Vec<Token<'t>>,
    handlers: Vec<HandlerDraft<'t>>,
}

#[derive(Default)]
struct Header<'t> {
    view: Option<(u32, &'t str)>,
    dialect: Option<(u32, &'t str)>,
    version: Option<(u32, &'t str)>,
    category: Option<(u32, &'t str)>,
    on_error: Option<(u32, &'t str)>,
}

struct HandlerDraft<'t> {
    line: u32,
    head: &'t str,
    ignores: bool,
    required: Vec<&'t str>,
    tokens: Vec<Token<'t>>,
}

impl<'t> Draft<'t> {
    fn read(tokens: &[Token<'t>]) -> At<Self> {
        let mut draft = Self::default();
        for token in tokens {
            match directive(token) {
                Some(directive) => draft.direct(&directive, token.line)?,
                None => match draft.handlers.last_mut() {
                    Some(handler) => handler.tokens.push(*token),
                    None => draft.schema.push(*token),
                },
            }
        }
        Ok(draft)
    }

    fn direct(&mut self, directive: &Directive<'t>, line: u32) -> At<()> {
        let is_header = self.handlers.is_empty() && self.schema.iter().all(Token::is_blank);
        match (directive, self.handlers.last_mut()) {
            (Directive::On(head), _) => {
                let (ignores, required, tokens) = (false, Vec::new(), Vec::new());
                self.handlers.push(HandlerDraft { line, head, ignores, required, tokens });
            }
            (Directive::Require(""), Some(_)) => return Err((line, Problem::RequiresNothing)),
            (Directive::Require(names), Some(handler)) => {
                handler.required.extend(names.split(',').map(str::trim).filter(|name| !name.is_empty()));
            }
            (Directive::Ignore, Some(handler)) => handler.ignores = true,
            (Directive::Require(_), None) => return Err((line, Problem::OutsideHandler { key: "require" })),
            (Directive::Ignore, None) => return Err((line, Problem::OutsideHandler { key: "ignore" })),
            (Directive::Header(key, _), _) if !is_header => return Err((line, Problem::HeaderLate { key })),
            (Directive::Header(key, value), _) => self.header.set(key, line, value)?,
        }
        Ok(())
    }
}

impl<'t> Header<'t> {
    fn set(&mut self, key: &'static str, line: u32, value: &'t str) -> At<()> {
        let place = match key {
            "view" => &mut self.view,
            "dialect" => &mut self.dialect,
            "version" => &mut self.version,
            "on-error" => &mut self.on_error,
            _ => &mut self.category,
        };
        if place.replace((line, value)).is_some() {
            return Err((line, Problem::HeaderTwice { key }));
        }
        Ok(())
    }
}

fn version((line, value): (u32, &str)) -> At<u32> {
    let wanted = "write a whole number from 1 on";
    let version = value.parse().ok().filter(|version| *version > 0);
    version.ok_or_else(|| (line, Problem::HeaderValue { key: "version", value: value.to_owned(), wanted }))
}

fn on_error((line, value): (u32, &str)) -> At<OnError> {
    let wanted = "write `stop`, or `park` to go on without the stream of an event that cannot be applied";
    let known = OnError::by_name(value);
    known.ok_or_else(|| (line, Problem::HeaderValue { key: "on-error", value: value.to_owned(), wanted }))
}

fn categories((line, value): (u32, &str)) -> At<Vec<Category>> {
    let wanted = "write the part of the streams' names before the first `-`, several separated by commas";
    let category = |text: &str| match Category::new(text) {
        Ok(category) if !text.is_empty() => Ok(category),
        _ => Err((line, Problem::HeaderValue { key: "category", value: text.to_owned(), wanted })),
    };
    let mut categories = value.split(',').map(str::trim).map(category).collect::<At<Vec<_>>>()?;
    categories.sort();
    categories.dedup();
    Ok(categories)
}

fn schema(tokens: &[Token<'_>], dialect: Dialect) -> At<Vec<Statement>> {
    let statements = split(tokens, dialect);
    match statements.iter().find_map(|statement| statement.parameters.first()) {
        Some((name, line)) => Err((*line, Problem::ParameterInSchema { parameter: name.clone() })),
        None => Ok(statements),
    }
}

impl HandlerDraft<'_> {
    fn finish(self, dialect: Dialect) -> At<Handler> {
        let accepts = accepts(self.head).map_err(|problem| (self.line, problem))?;
        let statements = split(&self.tokens, dialect);
        match (self.ignores, statements.is_empty()) {
            (false, true) => return Err((self.line, Problem::EmptyHandler)),
            (true, false) => return Err((self.line, Problem::IgnoreWithStatements)),
            _ => {}
        }
        let names = statements.iter().flat_map(|statement| &statement.parameters);
        let read = names.filter_map(|(name, _)| name.strip_prefix(':'));
        let fields = read.chain(self.required.iter().copied()).collect::<BTreeSet<_>>();
        let fields = fields.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let index =
            |name: &str| fields.binary_search_by(|field| field.as_str().cmp(name)).expect("collected above");
        let mut required = self.required.iter().map(|name| index(name)).collect::<Vec<_>>();
        required.sort_unstable();
        required.dedup();
        let bound = |statement: Statement| {
            let parameters = statement.parameters.iter();
            let parameters =
                parameters.map(|(name, line)| parameter(name, *line, index)).collect::<At<Vec<_>>>()?;
            Ok((statement, parameters))
        };
        let statements = statements.into_iter().map(bound).collect::<At<_>>()?;
        Ok(Handler { line: self.line, accepts, fields, required, statements })
    }
}

fn parameter(name: &str, line: u32, index: impl Fn(&str) -> usize) -> At<Parameter> {
    let owned = || name.to_owned();
    match (name.strip_prefix(':'), name.strip_prefix('$')) {
        (Some(field), _) => Ok(Parameter::Field(index(field))),
        (_, Some(envelope)) => Envelope::by_name(envelope)
            .map(Parameter::Envelope)
            .ok_or_else(|| (line, Problem::UnknownParameter { parameter: owned() })),
        _ => Err((line, Problem::Positional { parameter: owned() })),
    }
}

/// Parses the rest of a line `-- on`: `type[@versions], …`. After an `@`, items that are numbers or ranges are further
/// versions. Every other item is a type, in double quotes if it has a blank, a comma or an `@`. A `*` alone is every
/// type in every version.
fn accepts(head: &str) -> Result<Vec<Accepts>, Problem> {
    if head.trim() == "*" {
        return Ok(vec![Accepts { event_type: None, versions: vec![0..=u16::MAX] }]);
    }
    let mut accepts: Vec<Accepts> = Vec::new();
    let mut rest = head;
    // The last type has versions, so a number after a comma is one more of them.
    let mut versioned = false;
    loop {
        let (item, after) = item(rest)?;
        match (&item, accepts.last_mut()) {
            (HandlerItem::Versions(versions), Some(last)) if versioned => {
                last.versions.push(versions.clone())
            }
            (HandlerItem::Versions(_), _) => {
                return Err(wrong(rest, "is a version without a type"));
            }
            (HandlerItem::Type(event_type, versions), _) => {
                versioned = versions.is_some();
                let versions = vec![versions.clone().unwrap_or(1..=1)];
                accepts.push(Accepts { event_type: Some(event_type.clone()), versions });
            }
        }
        match after.trim_start().strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.trim().is_empty() => return Ok(accepts),
            None => return Err(wrong(after.trim(), "needs a comma before it")),
        }
    }
}

enum HandlerItem {
    Type(EventType, Option<RangeInclusive<u16>>),
    Versions(RangeInclusive<u16>),
}

/// The first item, and the rest of the text.
fn item(text: &str) -> Result<(HandlerItem, &str), Problem> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-').len();
    if digits > 0 && text[digits..].trim_start().chars().next().is_none_or(|next| next == ',') {
        return Ok((HandlerItem::Versions(versions(&text[..digits])?), &text[digits..]));
    }
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or_else(|| wrong(text, "has no closing quote"))?,
        None if text.starts_with('*') => {
            return Err(wrong(text, "takes every type, so it cannot be combined"));
        }
        None => {
            text.split_at(text.find(|c: char| c.is_whitespace() || ",@\"".contains(c)).unwrap_or(text.len()))
        }
    };
    let event_type =
        EventType::new(name).map_err(|error| wrong(text, &format!("is not an event type ({error})")))?;
    let Some(after_at) = rest.strip_prefix('@') else {
        return Ok((HandlerItem::Type(event_type, None), rest));
    };
    let end = after_at.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(after_at.len());
    let versions = versions(&after_at[..end])?;
    Ok((HandlerItem::Type(event_type, Some(versions)), &after_at[end..]))
}

fn versions(text: &str) -> Result<RangeInclusive<u16>, Problem> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(wrong(text, "is not a version or a range of versions from 0 to 65535")),
    }
}

fn wrong(text: &str, reason: &str) -> Problem {
    Problem::HandlerLine { text: text.to_owned(), reason: reason.to_owned() }
}

/// The handler line that takes a type in a version.
pub(crate) fn handler_line(event_type: &str, schema_version: u16) -> String {
    let plain = !event_type.contains(|c: char| c.is_whitespace() || ",@\"".contains(c))
        && !event_type.starts_with(|c: char| c.is_ascii_digit() || "-*".contains(c));
    let quote = if plain { "" } else { "\"" };
    format!("-- on {quote}{event_type}{quote}@{schema_version}")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn check(head: &str, expected: &expect_test::Expect) {
        let shown = match accepts(head) {
            Ok(accepts) => {
                let name = |accepts: &Accepts| {
                    accepts.event_type.as_ref().map_or("every type".to_owned(), EventType::to_string)
                };
                let shown = accepts.iter().map(|one| format!("{} {:?}", name(one), one.versions));
                shown.collect::<Vec<_>>().join("; ")
            }
            Err(problem) => problem.to_string().split(": write").next().unwrap_or_default().to_owned(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_handler_line_names_types_and_versions() {
        check("a.b", &expect!["a.b [1..=1]"]);
        check("a@2, b", &expect!["a [2..=2]; b [1..=1]"]);
        check("a@1,2, 4-6 ,b@3", &expect!["a [1..=1, 2..=2, 4..=6]; b [3..=3]"]);
        check("a@1, 2fa.on, b", &expect!["a [1..=1]; 2fa.on [1..=1]; b [1..=1]"]);
        check(r#""an odd, type"@2, "42""#, &expect!["an odd, type [2..=2]; 42 [1..=1]"]);
        check("a, b-c", &expect!["a [1..=1]; b-c [1..=1]"]);
        check(" * ", &expect!["every type [0..=65535]"]);
        check(r#""*""#, &expect!["* [1..=1]"]);
        check("*@2", &expect!["`*@2` takes every type, so it cannot be combined"]);
    }

    #[test]
    fn a_handler_line_that_cannot_be_read_is_refused() {
        check(
            "",
            &expect!["`` is not an event type (the event type is empty: give it at least one character)"],
        );
        check(
            "a,",
            &expect!["`` is not an event type (the event type is empty: give it at least one character)"],
        );
        check("a, 2", &expect!["`2` is a version without a type"]);
        check("a@", &expect!["`` is not a version or a range of versions from 0 to 65535"]);
        check("a@x", &expect!["`x` is not a version or a range of versions from 0 to 65535"]);
        check("a@3-1", &expect!["`3-1` is not a version or a range of versions from 0 to 65535"]);
        check("a@70000", &expect!["`70000` is not a version or a range of versions from 0 to 65535"]);
        check("Mondays we rest", &expect!["`we rest` needs a comma before it"]);
        check("\"a", &expect!["`\"a` has no closing quote"]);
    }

    #[test]
    fn the_handler_line_that_an_error_proposes_can_be_parsed() {
        for event_type in ["a.b", "an odd, type", "42", "a@b", "-x", "1-2"] {
            let line = handler_line(event_type, 7);
            let accepts = accepts(line.strip_prefix("-- on ").unwrap()).unwrap();
            assert_eq!(accepts[0].event_type.as_ref().map(EventType::as_str), Some(event_type));
            assert_eq!(accepts[0].versions, [7..=7]);
        }
    }
}
