//! Commands: the requests that a decider accepts or refuses.

use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::key::Key;
use crate::words::{explain_json, explain_json_value, plain_type};

/// The commands of a decider, as an enum. Derive it.
///
/// Each variant has a name for URLs and command lines: the variant in kebab case, or `#[command(name = "…")]`. It is
/// read from a JSON object of its fields. Unknown fields are refused, so that a misspelt optional field is not dropped
/// silently.
///
/// `#[command(schema)]` on the enum, with the cargo feature `schema`, gives the JSON Schema of each command. Their fields need `JsonSchema`.
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

    /// Reads the command of that name from JSON; `None` if there is no such command. An empty body counts as `{}`.
    ///
    /// # Errors
    /// [`InputError`] names the wrong field.
    fn decode(name: &str, json: &[u8]) -> Option<Result<Self, InputError>>;

    /// The JSON Schema of each command by name, for an enum with `#[command(schema)]`; none for any other.
    #[cfg(feature = "schema")]
    #[must_use]
    fn schemas() -> Vec<(&'static str, serde_json::Value)> {
        Vec::new()
    }
}

/// The name and the fields of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CommandInfo {
    /// Its name.
    pub name: &'static str,
    /// Its fields, if the variant has named ones.
    pub fields: &'static [FieldInfo],
}

/// A field of a command or a decision.
///
/// As JSON: `name`, `type` in words such as `whole number from 0`, and `category` for the id of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldInfo {
    /// Its name.
    pub name: &'static str,
    /// Its Rust type, as written in the source. Not part of the JSON.
    pub rust_type: &'static str,
    /// The category of the entity, if the field holds ids of one.
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

    /// The same field, holding ids of a category if one is given.
    #[must_use]
    pub const fn of_category(self, category: Option<&'static str>) -> Self {
        Self { category, ..self }
    }
}

/// The schema of an input whose fields are known by their names and plain types only. Other fields may be renamed ones, so they are allowed.
#[cfg(feature = "http")]
pub(crate) fn schema_of_fields(fields: &[FieldInfo]) -> serde_json::Value {
    let property = |field: &FieldInfo| {
        (field.name.to_owned(), crate::words::plain_schema(field.rust_type, field.category.is_some()))
    };
    serde_json::json!({
        "type": "object",
        "properties": fields.iter().map(property).collect::<serde_json::Map<_, _>>(),
    })
}

impl Serialize for FieldInfo {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut field = to.serialize_struct("FieldInfo", 3)?;
        field.serialize_field("name", self.name)?;
        field.serialize_field("type", &plain_type(self.rust_type, self.category.is_some()))?;
        if let Some(category) = self.category {
            field.serialize_field("category", category)?;
        }
        field.end()
    }
}

/// The JSON is not valid input for the command or decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", Prefix(field))]
pub struct InputError {
    /// The path of the wrong field, such as `lines[2].price`; `None` for the whole input.
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

/// Reads input from a JSON object. An empty body counts as `{}`.
pub fn read_input<T: DeserializeOwned>(json: &[u8]) -> Result<T, InputError> {
    let text = json.trim_ascii_start();
    if text.is_empty() {
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
    // Serde also reads a struct from an array, in the order of its fields. That order is no part of an interface.
    if text.first() != Some(&b'{') {
        return Err(InputError { field: None, reason: "an object is expected: name the fields".to_owned() });
    }
    Ok(input)
}
