//! Errors of hosted commands, decisions and states.

use std::fmt::Write as _;

use gesta_core::{AppendError, Expected, Position, Retry, StreamName, Version};

use crate::command::InputError;
use crate::compensation::EventRef;
use crate::error::{EncodeError, LoadError, SendError};
use crate::key::KeyError;

/// Why a hosted command, decision or state request failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No decider is hosted for the category.
    #[error("nothing is hosted for category `{category}`{}", Known(known))]
    UnknownDecider {
        /// The requested category.
        category: String,
        /// The categories that are hosted.
        known: Vec<String>,
    },
    /// The decider has no such command.
    #[error("`{category}` has no command `{command}`{}", Known(known))]
    UnknownCommand {
        /// The category.
        category: String,
        /// The requested command.
        command: String,
        /// The commands it has.
        known: Vec<String>,
    },
    /// No such decision is hosted.
    #[error("decision `{decision}` is not hosted{}", Known(known))]
    UnknownDecision {
        /// The requested decision.
        decision: String,
        /// The decisions that are hosted.
        known: Vec<String>,
    },
    /// The id is not valid for that kind of entity.
    #[error(transparent)]
    BadId(#[from] KeyError),
    /// The JSON does not fit the command.
    #[error(transparent)]
    BadInput(#[from] InputError),
    /// The domain refused the command.
    #[error("{message}")]
    Refused {
        /// The name of the error's variant, such as `InsufficientFunds`.
        code: String,
        /// The text of the error.
        message: String,
    },
    /// The caller expected another version of the entity.
    #[error("stream `{stream}` was expected to have {expected}; {}", ActualVersion(*actual))]
    VersionMismatch {
        /// The stream.
        stream: StreamName,
        /// The caller's expectation.
        expected: Expected,
        /// The version of its last event.
        actual: Option<Version>,
    },
    /// Every attempt met a newer event of the same entities.
    #[error("other writers were faster {attempts} times in a row: send the command again")]
    Contended {
        /// The number of attempts.
        attempts: u32,
    },
    /// An event that the command reverses was compensated before.
    #[error("event {id} of stream `{stream}` was compensated before, by the event at position {by}", id = .event.id, stream = .event.stream)]
    AlreadyCompensated {
        /// The event that was to be reversed.
        event: EventRef,
        /// The place of the event that compensates it.
        by: Position,
    },
    /// The call is invalid.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with the call.
        reason: String,
    },
    /// The state could not be loaded.
    #[error(transparent)]
    Load(LoadError),
    /// An event or its metadata could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The state cannot be written as JSON.
    #[error("the state cannot be written as JSON: {reason}")]
    Unprintable {
        /// The error of the JSON writer.
        reason: String,
    },
    /// The events may or may not have been written.
    #[error(
        "the events may or may not have been written ({reason}): send the same command again, with the same key"
    )]
    InDoubt {
        /// The error of the last attempt.
        reason: String,
    },
    /// The store refused the events.
    #[error(transparent)]
    Append(AppendError),
}

impl AppError {
    /// Tells if and when sending the same request again can help.
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

/// Errors that the caller can correct keep their form, in the address as in the body.
impl From<LoadError> for AppError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Key(error) => Self::BadId(error),
            empty @ LoadError::EmptyBoundary { .. } => Self::Invalid { reason: empty.to_string() },
            error => Self::Load(error),
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
            SendError::AlreadyCompensated { event, by } => Self::AlreadyCompensated { event, by },
            SendError::Invalid { reason } => Self::Invalid { reason: reason.to_owned() },
            SendError::Load(error) => error.into(),
            SendError::Encode(EncodeError::Key(error)) => Self::BadId(error),
            SendError::Encode(error) => Self::Encode(error),
            SendError::InDoubt { reason, .. } => Self::InDoubt { reason },
            SendError::Append(error) => Self::Append(error),
        }
    }
}

/// The name of an error's variant: the text that `Debug` writes before the fields.
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
    // Writing stops with an error after the name.
    let _ = write!(name, "{error:?}");
    name.0
}

struct Known<'a>(&'a [String]);

impl std::fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => f.write_str(": none is hosted"),
            [one] => write!(f, ": there is only `{one}`"),
            known => write!(f, ": there are `{}`", known.join("`, `")),
        }
    }
}

struct ActualVersion(Option<Version>);

impl std::fmt::Display for ActualVersion {
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
    fn a_refusal_has_the_name_of_its_variant() {
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
