//! Takes the stream of an event from another field than `subject`.

use std::fmt::Write as _;
use std::str::FromStr;

use gesta_core::StreamName;
use gesta_wire::cloudevents::CloudEvent;
use serde_json::Value;

/// A path into an event (`data.loan`), or text with paths in braces (`loan-{data.id}`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The names that lead to a value, starting with an attribute of the event.
    Path(Vec<String>),
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('{') {
            return Ok(Self(vec![path(text)?]));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) = after.split_once('}').ok_or("a `{` has no matching `}`")?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(path(inside)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

fn path(text: &str) -> Result<Part, String> {
    let names = text.split('.').map(str::to_owned).collect::<Vec<_>>();
    match names.iter().any(String::is_empty) {
        true => {
            Err(format!("`{text}` is not a path: write names with dots between them, such as `data.account`"))
        }
        false => Ok(Part::Path(names)),
    }
}

impl Template {
    /// The stream of an event.
    pub(crate) fn stream(&self, event: &CloudEvent<'_>) -> Result<StreamName, String> {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Path(names) => name.push_str(&value(event, names)?),
            }
        }
        StreamName::new(name).map_err(|error| error.to_string())
    }
}

fn value(event: &CloudEvent<'_>, names: &[String]) -> Result<String, String> {
    let missing = || format!("the event has no field `{}` to name its stream", names.join("."));
    let attribute = event.value(&names[0]).ok_or_else(missing)?;
    let mut value = serde_json::from_str::<Value>(attribute.get()).map_err(|error| error.to_string())?;
    for name in &names[1..] {
        value = value.get_mut(name).map(Value::take).ok_or_else(missing)?;
    }
    let mut text = String::new();
    match value {
        Value::String(value) => text = value,
        Value::Number(number) => write!(text, "{number}").expect("a string can be written to"),
        Value::Bool(value) => write!(text, "{value}").expect("a string can be written to"),
        Value::Null => return Err(missing()),
        Value::Array(_) | Value::Object(_) => {
            return Err(format!(
                "`{}` is an array or object: the name of a stream needs a string, a number or a boolean",
                names.join(".")
            ));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_a_path_or_a_template() {
        let event = r#"{"type":"t","data":{"id":17,"name":"x","deep":{"y":true},"list":[]}}"#;
        let event = serde_json::from_str::<CloudEvent<'_>>(event).expect("it is one");
        let stream = |template: &str| {
            let template = template.parse::<Template>()?;
            template.stream(&event).map(|stream| stream.to_string())
        };
        assert_eq!(stream("data.name").as_deref(), Ok("x"));
        assert_eq!(stream("loan-{data.id}/{data.deep.y}!").as_deref(), Ok("loan-17/true!"));
        for (template, message) in [
            ("data.none", "no field `data.none`"),
            ("a-{data.list}", "an array or object"),
            ("a-{data.id", "has no matching"),
            ("data..id", "is not a path"),
        ] {
            let error = stream(template).expect_err(template);
            assert!(error.contains(message), "{error}");
        }
    }
}
