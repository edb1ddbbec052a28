//! The limits of snapshots, each with its unit and reason.

use std::time::Duration;

/// How long one load waits for the snapshot store, all its questions together. Folding some thousand events takes as
/// long.
pub(super) const LOAD_WAIT: Duration = Duration::from_millis(50);
/// How long the thread that takes snapshots waits for one answer. Nobody waits for it.
pub(super) const TAKE_WAIT: Duration = Duration::from_secs(10);
/// Failures in a row after which the store is left alone for a while.
pub(super) const FAILURES_MAX: u32 = 3;
/// The first pause. A restart takes about as long.
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause, so that a store that is back is used within a minute.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Streams that may wait for the thread that takes snapshots. One that is left out comes again at its next multiple.
pub(super) const LINE_MAX: usize = 1_024;
/// Snapshots that one load looks at before it folds from the start. Thinned, a stream has fewer.
pub(super) const TRIES_MAX: usize = 64;
/// Takings of each kind that are verified after a start.
pub(super) const VERIFIED_FIRST: u64 = 32;
/// One in this number of the later takings is verified.
pub(super) const VERIFIED_ONE_IN: u64 = 1_000;
/// Keys in one page when all snapshots of a kind are removed.
pub(super) const PAGE_KEYS: u32 = 1_000;
