//! The error of recovery.

use std::io;

use crate::env::has_no_room;
use crate::format::HeaderError;
use crate::segment::WalkError;

/// Why recovery stopped. No acknowledged bytes were changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error(transparent)]
    Walk(#[from] WalkError),
    #[error("{what} failed")]
    Io { what: String, source: io::Error },
    #[error(transparent)]
    Newer(HeaderError),
}

impl RecoverError {
    /// Whether the disk was full.
    pub(crate) fn is_storage_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if has_no_room(source))
    }
}

pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> RecoverError {
    let what = what.into();
    move |source| RecoverError::Io { what, source }
}
