//! Why a view in Rust cannot apply an event.

use std::fmt;

/// Why a view cannot apply an event. A text becomes one by `?`.
#[derive(Debug)]
pub struct ViewError(Reason);

#[derive(Debug)]
enum Reason {
    /// A row is needed that is not in memory.
    NotLoaded,
    Refused(String),
}

impl ViewError {
    /// An error with a message, which the status of the view shows.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(Reason::Refused(message.into()))
    }

    /// A row is not in memory. The event is applied again when it is.
    pub(super) const fn not_loaded() -> Self {
        Self(Reason::NotLoaded)
    }
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::NotLoaded => f.write_str("a row is not in memory yet: pass this error on"),
            Reason::Refused(message) => f.write_str(message),
        }
    }
}

impl From<&str> for ViewError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for ViewError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}
