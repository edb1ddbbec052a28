//! Names of keys, and prefixes of them.
//!
//! The characters are those of keys in JetStream. It takes no dot at an end and no two in a row; a store there escapes
//! dots.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::KEY_BYTES_MAX;

/// The reason why a text is not a key, or not a prefix of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyNameError {
    /// The text is empty.
    #[error("the key is empty: give it at least one character")]
    Empty,
    /// The text is too long.
    #[error("the key is {bytes} bytes long: at most {KEY_BYTES_MAX} bytes are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The text contains a character that keys do not have.
    #[error("the key contains {character:?} at byte {at}: use letters and digits of ASCII and `/_=.-`")]
    Character {
        /// The character.
        character: char,
        /// Its byte offset in the text.
        at: usize,
    },
}

/// The name of a value: 1 to 255 bytes of `A-Z`, `a-z`, `0-9` and `/_=.-`.
///
/// Keys are compared byte by byte. A `/` has no meaning to a store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// Creates the key from a text.
    ///
    /// # Errors
    /// [`KeyNameError`] names what is wrong with the text.
    pub fn new(text: impl AsRef<str>) -> Result<Self, KeyNameError> {
        let text = text.as_ref();
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    /// Checks that a text is a key.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check(text: &str) -> Result<(), KeyNameError> {
        if text.is_empty() {
            return Err(KeyNameError::Empty);
        }
        check_part(text)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;
    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        Self::new(text)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::borrow::Borrow<str> for KeyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The first bytes of keys to list. The empty prefix lists all keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// Creates the prefix from a text, which has at most the length and the characters of a key, or is empty.
    ///
    /// # Errors
    /// [`KeyNameError`] if no key begins with the text.
    pub fn new(text: impl AsRef<str>) -> Result<Self, KeyNameError> {
        check_part(text.as_ref())?;
        Ok(Self(text.as_ref().to_owned()))
    }

    /// Returns the prefix of all keys, which is empty.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the key begins with this prefix.
    #[must_use]
    pub fn matches(&self, key: &KeyName) -> bool {
        key.as_str().starts_with(&self.0)
    }
}

impl FromStr for KeyPrefix {
    type Err = KeyNameError;
    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        Self::new(text)
    }
}

/// Checks that a text is the first part of a key, or a whole one.
fn check_part(text: &str) -> Result<(), KeyNameError> {
    if text.len() > KEY_BYTES_MAX {
        return Err(KeyNameError::TooLong { bytes: text.len() });
    }
    let is_of_keys = |c: char| c.is_ascii_alphanumeric() || "/_=.-".contains(c);
    if let Some((at, character)) = text.char_indices().find(|(_, character)| !is_of_keys(*character)) {
        return Err(KeyNameError::Character { character, at });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_key_is_refused_with_the_reason() {
        let longest = "k".repeat(KEY_BYTES_MAX);
        for key in ["a", "groups/mail/parked/0f-=_", ".a..b.", &longest] {
            assert_eq!(KeyName::new(key).unwrap().as_str(), key);
        }
        let cases = [
            ("", "the key is empty"),
            (&format!("{longest}k"), "256 bytes long: at most 255"),
            ("a b", "contains ' ' at byte 1"),
            ("a\n", "contains '\\n' at byte 1"),
            ("größe", "contains 'ö' at byte 2"),
        ];
        for (key, message) in cases {
            let error = KeyName::new(key).unwrap_err().to_string();
            assert!(error.contains(message), "{key:?}: {error}");
        }
    }

    #[test]
    fn a_prefix_may_be_empty_or_end_anywhere_in_a_key() {
        let key = KeyName::new("groups/a.b").unwrap();
        for prefix in ["", "g", "groups/", "groups/a.", "groups/a.b"] {
            assert!(KeyPrefix::new(prefix).unwrap().matches(&key), "{prefix:?}");
        }
        for prefix in ["roups", "groups/a.b.", "groups/a.c"] {
            assert!(!KeyPrefix::new(prefix).unwrap().matches(&key), "{prefix:?}");
        }
        for prefix in ["a b", &"k".repeat(KEY_BYTES_MAX + 1)] {
            assert!(KeyPrefix::new(prefix).is_err(), "{prefix:?}");
        }
    }
}
