//! Keys: the typed ids of entities, and the streams they name.

use gesta_core::StreamName;

use crate::words::explain_parse;

/// The id of one kind of entity. Derive it for a struct of one field that implements `Display` and `FromStr`.
///
/// `#[derive(Key)] #[key("account")] struct AccountId(String);` makes `AccountId("42")` the id of stream `account-42`.
///
/// A key has exactly one spelling: a text that is not printed the way it was parsed (`007` for a number) is refused.
/// Otherwise two spellings would name two streams of one entity.
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

    /// Parses what [`Self::value`] returns.
    ///
    /// # Errors
    /// [`KeyError`] for any other text, and for one that cannot be part of a stream's name.
    fn parse(text: &str) -> Result<Self, KeyError>;

    /// The stream of the entity: `KIND-value`. The value is checked like a key in a URL, however the key was made.
    ///
    /// # Errors
    /// [`KeyError`] if [`Self::parse`] refuses the value: it is empty, too long for a stream's name, holds control
    /// characters, or has another spelling.
    fn stream(&self) -> Result<StreamName, KeyError> {
        let value = self.value();
        Self::parse(&value)?;
        stream_name(Self::KIND, &value)
    }
}

/// The text is not an id of that kind.
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
    /// The error for parsing `text` as a key of that kind.
    #[must_use]
    pub fn new(kind: &'static str, text: &str, reason: &dyn std::fmt::Display) -> Self {
        Self { kind, text: text.chars().take(80).collect(), reason: explain_parse(reason) }
    }
}

/// Accepts a parsed key only in the one spelling that names its stream.
pub fn canonical<K: Key>(key: K, text: &str) -> Result<K, KeyError> {
    let value = key.value();
    if value.is_empty() {
        return Err(KeyError::new(K::KIND, text, &"it is empty: give at least one character"));
    }
    if value != text {
        return Err(KeyError::new(K::KIND, text, &format_args!("write it as `{value}`")));
    }
    stream_name(K::KIND, &value)?;
    Ok(key)
}

fn stream_name(kind: &'static str, value: &str) -> Result<StreamName, KeyError> {
    StreamName::new(format!("{kind}-{value}")).map_err(|error| KeyError::new(kind, value, &error))
}
