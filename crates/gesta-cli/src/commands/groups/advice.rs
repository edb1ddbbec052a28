//! What helps after a call to groups has failed, in commands.

use std::error::Error;

use gesta_consumer::group::{ChangeError, LookError, PutError};

/// An error that may have a way out by a command.
pub(super) trait Advice: Error + Sized {
    /// The way out, if there is one that the error does not name itself.
    fn advice(&self) -> Option<String>;
}

const LIST: &str = "`gesta groups list` lists the groups";

impl Advice for LookError {
    fn advice(&self) -> Option<String> {
        matches!(self, Self::NoGroup { .. }).then(|| LIST.to_owned())
    }
}

impl Advice for PutError {
    fn advice(&self) -> Option<String> {
        match self {
            Self::Exists { group, .. } => Some(format!(
                "`gesta groups show {group}` shows its settings; `PUT /groups/{group}` with `If-Match` changes them"
            )),
            Self::TooMany { .. } | Self::InDoubt { .. } => Some(LIST.to_owned()),
            _ => None,
        }
    }
}

impl Advice for ChangeError {
    fn advice(&self) -> Option<String> {
        match self {
            Self::NoGroup { .. } | Self::InDoubt { .. } => Some(LIST.to_owned()),
            Self::NotParked { group, .. } => {
                Some(format!("`gesta groups parked {group}` lists the parked streams"))
            }
            Self::NotHosted { group } => {
                Some(format!("`PUT /groups/{group}` with `If-Match` changes its settings"))
            }
            Self::Busy { group, .. } => Some(format!(
                "`gesta groups pause {group}` pauses it, `gesta groups show {group}` shows what is in flight"
            )),
            _ => None,
        }
    }
}
