//! Keys: the typed ids of entities, and the streams they name.

use gesta_core::{NameError, StreamName};

use crate::words::explain_parse;

/// The id of one kind of entity. Derive it for a struct of one field that can be printed and parsed.
///
/// `#[derive(Key)] #[key("account")] struct AccountId(String);` makes `AccountId("42")` the id of stream `account-42`.
///
/// A key has exactly one text: what is not printed the way it was parsed (`007` for a number) is refused, so that two
/// spellings never name two streams of one entity.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key",
    label = "not a key",
    note = "put `#[derive(Key)] #[key(\"category\")]` on a struct of one field"
)]
pub trait Key: Sized + Clone + Send + Sync + 'static {
    /// The kind of entity: the category of its streams.
    const KIND: &'static str;

    /// The id as text, without the kind.
    fn value(&self) -> String;

    /// Reads what [`Self::value`] gives.
    ///
    /// # Errors
    /// [`KeyError`] for any other text.
    fn parse(text: &str) -> Result<Self, KeyError>;

    /// The stream of the entity: `KIND-value`.
    ///
    /// # Errors
    /// [`NameError`] if the id is too long for a stream's name, or holds control characters.
    fn stream(&self) -> Result<StreamName, NameError> {
        StreamName::new(format!("{}-{}", Self::KIND, self.value()))
    }
}

/// The text is not the id of such an entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid id for `{kind}`: {reason}")]
pub struct KeyError {
    /// The kind of entity.
    pub kind: &'static str,
    /// The text, cut to its first 80 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl KeyError {
    /// What parsing `text` as a key of that kind failed with.
    #[must_use]
    pub fn new(kind: &'static str, text: &str, reason: &dyn std::fmt::Display) -> Self {
        Self { kind, text: text.chars().take(80).collect(), reason: explain_parse(reason) }
    }
}

/// Accepts a parsed key only in the one spelling that names its stream.
pub fn canonical<K: Key>(key: K, text: &str) -> Result<K, KeyError> {
    let value = key.value();
    if value.is_empty() {
        return Err(KeyError::new(K::KIND, text, &"it is empty"));
    }
    if value != text {
        return Err(KeyError::new(K::KIND, text, &format_args!("write it as `{value}`")));
    }
    key.stream().map_err(|error| KeyError::new(K::KIND, text, &error))?;
    Ok(key)
}
