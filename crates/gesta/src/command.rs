//! Commands: what a decider is asked to do.

use serde::Serializer;
use serde::de::DeserializeOwned;

use crate::key::Key;
use crate::words::{explain_json, explain_json_value, plain_type};

/// The commands of a decider, as an enum. Derive it.
///
/// Each variant has a name for URLs and command lines: the variant in kebab case, or `#[command(name = "…")]`. It is
/// read from a JSON object of its fields; fields that it does not have are refused, so that a misspelt optional one is
/// not silently dropped.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a command enum",
    label = "not a command enum",
    note = "put `#[derive(Clone, Command)]` on `{Self}`"
)]
pub trait Command: Sized + Clone + Send + Sync + 'static {
    /// Every command of the enum, in the order of its variants.
    const COMMANDS: &'static [CommandInfo];

    /// The name of this command.
    fn name(&self) -> &'static str;

    /// Reads the command of that name from JSON; `None` if there is no such command. No bytes at all are an empty object.
    ///
    /// # Errors
    /// [`InputError`] says which field is wrong, and how.
    fn decode(name: &str, json: &[u8]) -> Option<Result<Self, InputError>>;
}

/// What a command is called, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct CommandInfo {
    /// Its name.
    pub name: &'static str,
    /// Its fields, if the variant has named ones.
    pub fields: &'static [FieldInfo],
}

/// A field of a command or a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct FieldInfo {
    /// Its name.
    pub name: &'static str,
    /// Its type, as the source code has it. Its JSON says it in plain words.
    #[serde(rename = "type", serialize_with = "in_plain_words")]
    pub rust_type: &'static str,
    /// The category of the entity whose id it is, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<&'static str>,
}

impl FieldInfo {
    /// A field of that type.
    #[must_use]
    pub const fn new(name: &'static str, rust_type: &'static str) -> Self {
        Self { name, rust_type, category: None }
    }

    /// A field that holds the id of an entity.
    #[must_use]
    pub const fn id<K: Key>(name: &'static str) -> Self {
        Self { name, rust_type: "id", category: Some(K::KIND) }
    }
}

fn in_plain_words<S: Serializer>(rust_type: &&'static str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&plain_type(rust_type))
}

/// The JSON is not the input that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", Prefix(field))]
pub struct InputError {
    /// The path of the field that is wrong, such as `lines[2].price`; `None` where it is the whole.
    pub field: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

struct Prefix<'a>(&'a Option<String>);

impl std::fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |field| write!(f, "field `{field}`: "))
    }
}

/// Reads input from JSON, and says which field is wrong. No bytes at all are an empty object.
pub fn read_input<T: DeserializeOwned>(json: &[u8]) -> Result<T, InputError> {
    if json.trim_ascii().is_empty() {
        return serde_json::from_slice(b"{}").map_err(|error| {
            let missing = explain_json_value(&error);
            InputError { field: None, reason: format!("the body is empty: send a JSON object; {missing}") }
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    let input = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        InputError { field: (path != ".").then_some(path), reason: explain_json(error.inner()) }
    })?;
    reader.end().map_err(|error| InputError { field: None, reason: explain_json(&error) })?;
    Ok(input)
}
