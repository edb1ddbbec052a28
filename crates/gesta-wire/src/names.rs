//! Names that begin with `$`: such streams and event types are reserved for the system.

use gesta_core::{EventType, NewEvent, StreamName};

/// A user's event has a name that is reserved for the system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemName {
    /// The name of its stream.
    #[error("stream `{0}` is reserved for the system: use a name that does not begin with `$`")]
    Stream(StreamName),
    /// The name of its type.
    #[error("event type `{0}` is reserved for the system: use a name that does not begin with `$`")]
    EventType(EventType),
}

/// Checks that the event's stream and type are a user's. Every way in for users makes this check: HTTP, and the command line on a
/// folder.
///
/// # Errors
/// [`SystemName`] if a name begins with `$`.
pub fn check_user_names(event: &NewEvent) -> Result<(), SystemName> {
    check_user_stream(&event.stream)?;
    if event.event_type.is_system() {
        return Err(SystemName::EventType(event.event_type.clone()));
    }
    Ok(())
}

/// Checks that the stream is a user's.
///
/// # Errors
/// [`SystemName::Stream`] if its name begins with `$`.
pub fn check_user_stream(stream: &StreamName) -> Result<(), SystemName> {
    if stream.is_system() { Err(SystemName::Stream(stream.clone())) } else { Ok(()) }
}
