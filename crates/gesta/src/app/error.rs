//! Why an application did not do what it was asked.

use std::fmt::Write as _;

use gesta_core::{AppendError, Expected, Retry, StreamName, Version};

use crate::command::InputError;
use crate::error::{EncodeError, LoadError, SendError};
use crate::key::KeyError;

/// Why a hosted command, decision or state is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No decider is hosted for the category.
    #[error("nothing is hosted for category `{category}`{}", Known(known))]
    UnknownDecider {
        /// The category asked for.
        category: String,
        /// The categories that are hosted.
        known: Vec<String>,
    },
    /// The decider has no such command.
    #[error("`{category}` has no command `{command}`{}", Known(known))]
    UnknownCommand {
        /// The category.
        category: String,
        /// The command asked for.
        command: String,
        /// The commands it has.
        known: Vec<String>,
    },
    /// No such decision is hosted.
    #[error("decision `{decision}` is not hosted{}", Known(known))]
    UnknownDecision {
        /// The decision asked for.
        decision: String,
        /// The decisions that are hosted.
        known: Vec<String>,
    },
    /// The id is not one of such an entity.
    #[error(transparent)]
    BadId(#[from] KeyError),
    /// The JSON is not what the command takes.
    #[error(transparent)]
    BadInput(#[from] InputError),
    /// The domain refused it.
    #[error("{message}")]
    Refused {
        /// The name of the error's variant, such as `InsufficientFunds`.
        code: String,
        /// What the error says.
        message: String,
    },
    /// The caller expected another version of the entity.
    #[error("stream `{stream}` was expected to have {expected}; {}", Stands(*actual))]
    VersionMismatch {
        /// The stream.
        stream: StreamName,
        /// What was expected of it.
        expected: Expected,
        /// The version of its last event.
        actual: Option<Version>,
    },
    /// Others wrote to the same entities each time in between.
    #[error("others wrote in between, {attempts} times in a row: send the command again")]
    Contended {
        /// How often it was decided.
        attempts: u32,
    },
    /// The call cannot be made like this.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The state could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An event, or what is said with it, could not be written as bytes.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The state cannot be written as JSON.
    #[error("the state cannot be written as JSON: {reason}")]
    Unprintable {
        /// What is in the way.
        reason: String,
    },
    /// It is not known whether the events were written.
    #[error(
        "it is not known whether the events were written ({reason}): send the same command again, under the same key"
    )]
    InDoubt {
        /// What got in the way.
        reason: String,
    },
    /// The store refused the events.
    #[error(transparent)]
    Append(AppendError),
}

impl AppError {
    /// Whether, and when, it helps to ask for the same again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Contended { .. } => Retry::Now,
            Self::InDoubt { .. } => Retry::Unknown,
            Self::Load(error) => error.retry(),
            Self::Append(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

impl<E: std::error::Error> From<SendError<E>> for AppError {
    fn from(error: SendError<E>) -> Self {
        match error {
            SendError::Refused(error) => {
                Self::Refused { code: variant_name(&error), message: error.to_string() }
            }
            SendError::VersionMismatch { stream, expected, actual } => {
                Self::VersionMismatch { stream, expected, actual }
            }
            SendError::Contended { attempts } => Self::Contended { attempts },
            SendError::Invalid { reason } => Self::Invalid { reason },
            SendError::Load(error) => Self::Load(error),
            SendError::Encode(error) => Self::Encode(error),
            SendError::InDoubt { reason, .. } => Self::InDoubt { reason },
            SendError::Append(error) => Self::Append(error),
        }
    }
}

/// The name of an error's variant: what `Debug` writes before its fields.
fn variant_name(error: &dyn std::fmt::Debug) -> String {
    struct Name(String);
    impl std::fmt::Write for Name {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            for character in text.chars() {
                if !character.is_alphanumeric() && character != '_' {
                    return Err(std::fmt::Error);
                }
                self.0.push(character);
            }
            Ok(())
        }
    }
    let mut name = Name(String::new());
    // The error is how writing stops once the name is there.
    let _ = write!(name, "{error:?}");
    name.0
}

struct Known<'a>(&'a [String]);

impl std::fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => f.write_str(": there is none"),
            known => write!(f, ": there is `{}`", known.join("`, `")),
        }
    }
}

struct Stands(Option<Version>);

impl std::fmt::Display for Stands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "its version is {version}"),
            None => f.write_str("it has no event"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::variant_name;

    #[test]
    fn a_refusal_is_named_after_its_variant() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "read by `Debug` only")]
        enum Refusal {
            Unit,
            Tuple(u8),
            Fields { amount: u8 },
        }
        for (error, name) in
            [(Refusal::Unit, "Unit"), (Refusal::Tuple(1), "Tuple"), (Refusal::Fields { amount: 2 }, "Fields")]
        {
            assert_eq!(variant_name(&error), name);
        }
    }
}
