//! The names that users may write: the same rule for a folder as for a server.

use gesta_core::{EventType, NewEvent, StreamName};

/// Refuses events in the system's streams and of the system's types: names that begin with `$`.
pub(crate) fn check_event(event: &NewEvent) -> Result<(), String> {
    check_stream(&event.stream)?;
    check_type(&event.event_type)
}

fn check_stream(stream: &StreamName) -> Result<(), String> {
    match stream.is_system() {
        true => {
            Err(format!("stream `{stream}` belongs to the system: choose a name without `$` at its start"))
        }
        false => Ok(()),
    }
}

fn check_type(event_type: &EventType) -> Result<(), String> {
    match event_type.as_str().starts_with('$') {
        true => Err(format!(
            "event type `{event_type}` belongs to the system: choose a name without `$` at its start"
        )),
        false => Ok(()),
    }
}
