//! The subject of a message: a template with names of the event in it.

use std::fmt;

use gesta_core::StreamName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters of a name that stand in a subject as they are. All others are percent-encoded, also `.`, `*`, `>`, `#` and `/`: who
/// appends an event chooses its names, and must not choose the target.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The text for the category of a stream that has none. A category never contains it.
const NO_CATEGORY: &str = "-";

/// A subject with the places of names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(Name),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Category,
    Type,
    Stream,
}

const NAMES: [(&str, Name); 3] =
    [("category", Name::Category), ("type", Name::Type), ("stream", Name::Stream)];

impl Template {
    /// Reads a template. The error says what is wrong and what helps.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            let inner = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            let (name, next) = inner.ok_or("has a brace without its other half: write `{category}`")?;
            let known = NAMES.iter().find(|(known, _)| *known == name);
            let (_, name) = known.ok_or_else(|| {
                format!("names `{{{name}}}`: there are `{{category}}`, `{{type}}` and `{{stream}}`")
            })?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Name(*name));
            rest = next;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// Fills in the names of an event.
    pub(crate) fn fill(&self, stream: &str, event_type: &str) -> String {
        let category = match StreamName::category_of(stream) {
            "" => NO_CATEGORY,
            category => category,
        };
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Name(name) => {
                    let value = match name {
                        Name::Category => category,
                        Name::Type => event_type,
                        Name::Stream => stream,
                    };
                    filled.extend(utf8_percent_encode(value, ENCODED));
                }
            }
        }
        filled
    }

    /// A subject as the template makes it, to check its form.
    pub(crate) fn sample(&self) -> String {
        self.fill("x", "x")
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Name(name) => {
                    let (text, _) = NAMES.iter().find(|(_, known)| known == name).expect("all are listed");
                    write!(f, "{{{text}}}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_cannot_change_the_target() {
        let cases = [
            ("shop.{category}.{type}", "order-17", "order.placed", "shop.order.order%2Eplaced"),
            ("{stream}", "order-17", "t", "order-17"),
            ("a/{stream}/b", "x/../y", "t", "a/x%2F%2E%2E%2Fy/b"),
            ("{stream}.{type}", "*", ">", "%2A.%3E"),
            ("{type}", "s", "# {stream}", "%23%20%7Bstream%7D"),
            ("{category}.x", "-nothing", "t", "-.x"),
            ("{type}", "s", "Größe", "Gr%C3%B6%C3%9Fe"),
            ("", "s", "t", ""),
        ];
        for (template, stream, event_type, filled) in cases {
            let parsed = Template::parse(template).unwrap();
            assert_eq!(parsed.fill(stream, event_type), filled);
            assert_eq!(parsed.to_string(), template);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("{kategorie}", "names `{kategorie}`: there are"),
            ("a{", "a brace without its other half"),
            ("a}b", "a brace without its other half"),
            ("{type", "a brace without its other half"),
        ];
        for (template, message) in cases {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
