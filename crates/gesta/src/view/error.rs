//! Why a view in Rust cannot apply an event.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a view cannot apply an event: any error, or a text. `?` and `into` make one of either.
///
/// The status of the view shows it with its causes.
pub type ViewError = Box<dyn std::error::Error + Send + Sync>;

/// A row is needed that is not in memory. The event is applied again when it is.
#[derive(Debug, thiserror::Error)]
#[error("a row is not in memory yet: pass this error on")]
pub(super) struct NotLoaded;

/// Runs code of the view. A panic becomes a message, so that the status of the view names the event.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // After a panic nothing that it changed is used any more.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        format!("it panicked: {}", text.unwrap_or("without a message"))
    })
}

/// As [`caught`], for work that may fail.
pub(super) fn tried<T>(work: impl FnOnce() -> Result<T, ViewError>) -> Result<T, ViewError> {
    caught(work).map_err(ViewError::from).flatten()
}
