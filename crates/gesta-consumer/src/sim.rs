//! The dealer of consumer groups by itself, for the simulation: no part of the promise to users.

#[cfg(feature = "planted-bugs")]
pub use crate::bugs::{Bug, plant};
pub use crate::group::dealer::{
    Bounds, CallId, Change, Changed, Config, Dealer, DealerStatus, Ended, Entry, Input, MoveTo, Output,
    Paused, Row, RowError, Words,
};
