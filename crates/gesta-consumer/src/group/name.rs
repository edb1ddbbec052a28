//! Names of groups and members.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::limits::{GROUP_NAME_BYTES_MAX, MEMBER_NAME_BYTES_MAX};

/// The name of a group: 1 to 100 of the characters `A-Z`, `a-z`, `0-9`, `_`, `.` and `-`.
///
/// A dot stands neither first nor last, nor beside another one. So the name is safe in a key, a path and a metric.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

/// The name of a member: 1 to 128 bytes without control characters.
///
/// A name belongs to one process. Build it from the host's name, the process id and a random part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberName(Arc<str>);

/// The text is not the name of a group or a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupNameError {
    /// The length is 0 or above the limit.
    #[error("the name of a {what} has {bytes} bytes: 1 to {bytes_max} are allowed")]
    Length {
        /// The kind of name: `group` or `member`.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The largest length in bytes.
        bytes_max: usize,
    },
    /// A character is not allowed in the name of a group.
    #[error(
        "the name of a group has {character:?} at byte {at}: use letters of ASCII, digits, `_`, `.` and `-`, and a dot only between two others"
    )]
    Character {
        /// The character.
        character: char,
        /// Its byte offset in the text.
        at: usize,
    },
    /// The name of a member contains a control character.
    #[error("the name of a member has the control character U+{:04X} at byte {at}: remove it", u32::from(*character))]
    Control {
        /// The character.
        character: char,
        /// Its byte offset in the text.
        at: usize,
    },
}

impl GroupName {
    /// Creates the name from a text.
    ///
    /// # Errors
    /// [`GroupNameError`] if the text is empty, too long, or has another character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, GroupNameError> {
        let text = text.as_ref();
        check_length("group", text, GROUP_NAME_BYTES_MAX)?;
        let bytes = text.as_bytes();
        let is_between = |at: usize| at > 0 && bytes[at - 1] != b'.' && at + 1 < bytes.len();
        let is_allowed = |at: usize, character: char| {
            character.is_ascii_alphanumeric()
                || matches!(character, '_' | '-')
                || (character == '.' && is_between(at))
        };
        match text.char_indices().find(|(at, character)| !is_allowed(*at, *character)) {
            Some((at, character)) => Err(GroupNameError::Character { character, at }),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MemberName {
    /// Creates the name from a text.
    ///
    /// # Errors
    /// [`GroupNameError`] if the text is empty, too long, or contains a control character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, GroupNameError> {
        let text = text.as_ref();
        check_length("member", text, MEMBER_NAME_BYTES_MAX)?;
        match text.char_indices().find(|(_, character)| character.is_control()) {
            Some((at, character)) => Err(GroupNameError::Control { character, at }),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_length(what: &'static str, text: &str, bytes_max: usize) -> Result<(), GroupNameError> {
    match text.len() {
        bytes if (1..=bytes_max).contains(&bytes) => Ok(()),
        bytes => Err(GroupNameError::Length { what, bytes, bytes_max }),
    }
}

macro_rules! text {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = GroupNameError;
            fn from_str(text: &str) -> Result<Self, GroupNameError> {
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
    };
}

text!(GroupName);
text!(MemberName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_group_is_safe_in_a_key_and_a_path() {
        for name in ["a", "process-fulfilment", "publish-orders", "A_b.c-9", &"x".repeat(100)] {
            assert_eq!(name.parse::<GroupName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
        for wrong in ["", ".", ".a", "a.", "a..b", "a/b", "a b", "ä", "a=b", "a\n", &"x".repeat(101)] {
            assert!(wrong.parse::<GroupName>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_name_of_a_member_may_have_any_printed_character() {
        for name in ["host-17-x8", "ä b/c", &"x".repeat(128)] {
            assert!(name.parse::<MemberName>().is_ok(), "{name:?}");
        }
        for wrong in ["", "a\nb", "\u{7f}", &"x".repeat(129)] {
            assert!(wrong.parse::<MemberName>().is_err(), "{wrong:?}");
        }
    }
}
