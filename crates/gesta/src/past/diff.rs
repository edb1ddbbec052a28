//! What differs between two states, as JSON.

use serde::Serialize;
use serde_json::Value;

use crate::error::LoadError;

/// A part of a state that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Where it stands: a JSON pointer (RFC 6901). The empty one points to the whole state.
    pub pointer: String,
    /// Its value before; `None` if it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Its value after; `None` if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Two states could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A state could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A state cannot be written as JSON.
    #[error("the state cannot be written as JSON")]
    Unprintable(#[from] serde_json::Error),
}

/// The smallest parts that differ, in the order of their pointers. Items of lists are compared by their places.
pub(crate) fn changes(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare(&mut String::new(), Some(before), Some(after), &mut found);
    found
}

fn compare(
    pointer: &mut String,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<FieldChange>,
) {
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut names = before.keys().chain(after.keys()).collect::<Vec<_>>();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let step = name.replace('~', "~0").replace('/', "~1");
                below(pointer, &step, (before.get(name), after.get(name)), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                below(pointer, &index.to_string(), (before.get(index), after.get(index)), found);
            }
        }
        _ if before == after => {}
        _ => found.push(FieldChange {
            pointer: pointer.clone(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

fn below(
    pointer: &mut String,
    step: &str,
    (before, after): (Option<&Value>, Option<&Value>),
    found: &mut Vec<FieldChange>,
) {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(step);
    compare(pointer, before, after, found);
    pointer.truncate(length);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(before: Value, after: Value) -> Vec<String> {
        changes(&before, &after).into_iter().map(|change| change.pointer).collect()
    }

    #[test]
    fn the_smallest_parts_that_differ_are_named() {
        let before = json!({"a": 1, "b": {"c": [1, 2], "x/y": "same", "d~": null}, "gone": true});
        let after = json!({"a": 1, "b": {"c": [1, 3, 4], "x/y": "same", "d~": 0}, "new": {}});
        assert_eq!(pointers(before, after), ["/b/c/1", "/b/c/2", "/b/d~0", "/gone", "/new"]);
        assert_eq!(pointers(json!([1]), json!({"0": 1})), [""]);
        assert_eq!(pointers(json!({}), json!({})), [""; 0]);
    }

    #[test]
    fn what_was_not_there_has_no_value() {
        let change = &changes(&json!({}), &json!({"a": null}))[0];
        assert_eq!((change.before.clone(), change.after.clone()), (None, Some(Value::Null)));
    }
}
