//! Names: streams, categories, event types and tags. Each is checked once, when it is created.
//!
//! A name is UTF-8 without control characters and within its length limit, so it is safe in a log line, a header and
//! a terminal. Names are compared byte by byte, without case folding or Unicode normalisation.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::{EVENT_TYPE_BYTES_MAX, STREAM_NAME_BYTES_MAX, TAG_BYTES_MAX};

/// The reason why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("{what} is empty: give it at least one character")]
    Empty {
        /// The kind of name, for the message.
        what: &'static str,
    },
    /// The text is too long for its kind of name.
    #[error("{what} is {bytes} bytes long: at most {bytes_max} bytes are allowed")]
    TooLong {
        /// The kind of name.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The largest length in bytes.
        bytes_max: usize,
    },
    /// The text contains a control character.
    #[error("{what} contains the control character U+{:04X} at byte {at}: remove it", u32::from(*character))]
    Control {
        /// The kind of name.
        what: &'static str,
        /// The character.
        character: char,
        /// Its byte offset in the text.
        at: usize,
    },
    /// A category contains a `-`, which ends the category in a stream's name.
    #[error(
        "category `{category}` contains a `-`: a category is the part of a stream name before the first `-`"
    )]
    NotACategory {
        /// The text.
        category: String,
    },
    /// A tag is not `key:value`.
    #[error("tag `{tag}` is not `key:value`: put a colon between a key and a value, neither of them empty")]
    NotATag {
        /// The text.
        tag: String,
    },
}

fn check(what: &'static str, text: &str, bytes_max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > bytes_max {
        return Err(NameError::TooLong { what, bytes: text.len(), bytes_max });
    }
    match text.char_indices().find(|(_, character)| character.is_control()) {
        Some((at, character)) => Err(NameError::Control { what, character, at }),
        None => Ok(()),
    }
}

/// The common part of all kinds of names: a cheap clone, the text, and the conversions.
macro_rules! name {
    ($(#[$docs:meta])* $name:ident, $check:expr) => {
        $(#[$docs])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Creates the name from a text.
            ///
            /// # Errors
            /// [`NameError`] if the text is empty, too long, or not a name of this kind.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// Checks that a text is a name of this kind.
            ///
            /// # Errors
            /// As [`Self::new`].
            pub fn check(text: &str) -> Result<(), NameError> {
                $check(text)
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a stream: `category-id`, 1 to 512 bytes.
    ///
    /// The category ends at the first `-`; without one, the whole name is the category. The text in the first `{…}`
    /// is the partition key.
    StreamName, |text: &str| check("the stream name", text, STREAM_NAME_BYTES_MAX)
}
name! {
    /// The category of streams: the part of their names before the first `-`.
    ///
    /// It may be empty: a stream whose name begins with `-` has an empty category.
    Category, check_category
}
name! {
    /// The stable name of a kind of event, 1 to 255 bytes, such as `bank.account.opened`.
    EventType, |text: &str| check("the event type", text, EVENT_TYPE_BYTES_MAX)
}
name! {
    /// A `key:value` on an event, 3 to 255 bytes, split at the first `:`.
    ///
    /// Keys that begin with `$` belong to the system: `$actor`, `$correlation`, `$causation`.
    Tag, check_tag
}

fn check_category(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Ok(());
    }
    check("the category", text, STREAM_NAME_BYTES_MAX)?;
    if text.contains('-') {
        return Err(NameError::NotACategory { category: text.to_owned() });
    }
    Ok(())
}

fn check_tag(text: &str) -> Result<(), NameError> {
    check("the tag", text, TAG_BYTES_MAX)?;
    match text.split_once(':') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok(()),
        _ => Err(NameError::NotATag { tag: text.to_owned() }),
    }
}

impl StreamName {
    /// Returns the category: the part before the first `-`, or the whole name.
    #[must_use]
    pub fn category(&self) -> Category {
        Category(Self::category_of(self.as_str()).into())
    }

    /// Returns the category of a stream, given as a valid name.
    #[must_use]
    pub fn category_of(name: &str) -> &str {
        name.split_once('-').map_or(name, |(category, _)| category)
    }

    /// Returns the partition key, which is hashed to the stream's lane.
    ///
    /// It is the text in the first `{…}`, or the whole name if that text is empty, missing or not closed.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        Self::partition_key_of(self.as_str())
    }

    /// Returns the partition key of a stream, given as a valid name.
    #[must_use]
    pub fn partition_key_of(name: &str) -> &str {
        let inside = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(key, _)| key);
        inside.filter(|key| !key.is_empty()).unwrap_or(name)
    }

    /// Returns true if the stream belongs to the system: its name begins with `$`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.as_str().starts_with('$')
    }
}

impl EventType {
    /// Returns true if the type is reserved for the system: its name begins with `$`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.as_str().starts_with('$')
    }
}

impl Tag {
    /// Creates a tag from its key and value.
    ///
    /// # Errors
    /// [`NameError`] as for [`Tag::new`], and for a key that contains a `:`, because the tag would be split there.
    pub fn from_parts(key: &str, value: &str) -> Result<Self, NameError> {
        if key.contains(':') {
            return Err(NameError::NotATag { tag: format!("{key}:{value}") });
        }
        Self::new(format!("{key}:{value}"))
    }

    /// Returns the part before the first `:`.
    #[must_use]
    pub fn key(&self) -> &str {
        self.as_str().split_once(':').map_or(self.as_str(), |(key, _)| key)
    }

    /// Returns the part after the first `:`.
    #[must_use]
    pub fn value(&self) -> &str {
        self.as_str().split_once(':').map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_ends_at_the_first_dash() {
        for (name, category) in [("account-42", "account"), ("a-b-c", "a"), ("plain", "plain"), ("-x", "")] {
            assert_eq!(StreamName::new(name).unwrap().category().as_str(), category, "{name}");
        }
    }

    #[test]
    fn a_partition_key_is_the_text_in_the_first_braces() {
        let cases = [
            ("account-{acme}42", "acme"),
            ("account-{}42", "account-{}42"),
            ("account-{acme", "account-{acme"),
            ("a}{b}{c}", "b"),
            ("account-42", "account-42"),
        ];
        for (name, key) in cases {
            assert_eq!(StreamName::new(name).unwrap().partition_key(), key, "{name}");
        }
    }

    #[test]
    fn an_invalid_name_is_refused_with_the_reason() {
        let longest = "x".repeat(STREAM_NAME_BYTES_MAX);
        assert!(StreamName::new(&longest).is_ok());
        let cases: [(Result<(), NameError>, &str); 6] = [
            (StreamName::check(""), "the stream name is empty"),
            (StreamName::check(&format!("{longest}x")), "513 bytes long: at most 512"),
            (StreamName::check("a\nb"), "control character U+000A at byte 1"),
            (EventType::check(&"t".repeat(256)), "256 bytes long: at most 255"),
            (Tag::check("plain"), "`plain` is not `key:value`"),
            (Tag::check(":value"), "`:value` is not `key:value`"),
        ];
        for (result, message) in cases {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_tag_splits_at_its_first_colon() {
        let tag = Tag::new("order:eu:17").unwrap();
        assert_eq!((tag.key(), tag.value()), ("order", "eu:17"));
        assert!(Tag::from_parts("a:b", "c").is_err());
    }
}
