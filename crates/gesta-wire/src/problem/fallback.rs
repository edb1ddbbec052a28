//! Problems that no error of a store made, such as a malformed request or a server that stops, as errors of a store.
//!
//! The order of the rules: the exact error; another store; a refusal by right; a malformed request, which was certainly not
//! executed; a passing refusal; and everything else, which may have been executed.

use gesta_core::{AppendError, ReadError, Retry};

use super::{Problem, kinds};

impl Problem {
    /// Returns the problem as the error of an append.
    ///
    /// An error of the store comes back as itself. A request for another store is [`AppendError::Closed`]: this store
    /// cannot be reached any more. A problem of the server that does not exclude that the batch was written is
    /// [`AppendError::InDoubt`].
    #[must_use]
    pub fn to_append_error(&self) -> AppendError {
        if let Some(error) = self.as_append_error() {
            return error;
        }
        let reason = self.detail.clone();
        match (self.status, self.retry) {
            _ if self.kind == kinds::FOREIGN_STORE.name => AppendError::Closed,
            (401 | 403, _) => AppendError::Denied { code: self.kind.clone(), reason },
            (408 | 429 | 503, _) => AppendError::Unavailable { reason },
            (400..500, Retry::AfterPause | Retry::Now) => AppendError::Unavailable { reason },
            (400..500, _) => AppendError::Invalid { reason },
            _ => AppendError::InDoubt { reason },
        }
    }

    /// Returns the problem as the error of a read.
    ///
    /// An error of the store comes back as itself. A request for another store is [`ReadError::Closed`]. A fault of the
    /// server is [`ReadError::Unavailable`].
    #[must_use]
    pub fn to_read_error(&self) -> ReadError {
        if let Some(error) = self.as_read_error() {
            return error;
        }
        let reason = self.detail.clone();
        match (self.status, self.retry) {
            _ if self.kind == kinds::FOREIGN_STORE.name => ReadError::Closed,
            (408 | 429, _) | (400..500, Retry::AfterPause | Retry::Now) => ReadError::Unavailable { reason },
            (400..500, _) => ReadError::Invalid { reason },
            _ => ReadError::Unavailable { reason },
        }
    }
}
