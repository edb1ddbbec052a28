//! What a view asks of the database that holds its rows. `sqlite` and `postgres` implement it.
//!
//! A *version* of a view is the rows of one definition: a file in SQLite, a schema in PostgreSQL.

use std::sync::Arc;
use std::time::Instant;

use gesta_consumer::{Interrupter, Reach, Stop};
use gesta_core::{Checkpoint, RecordedEvent};

use crate::damage::Damage;
use crate::kept::{Kept, Rollback};
use crate::parked::{ParkedChange, ParkedStreams, Pieces};
use crate::query::{QueryError, QueryLimits, Rows, SqlValue};
use crate::run_error::RunError;

/// The database of one view, as the thread of its consumer uses it. Every call may block.
pub(crate) trait Target: Send + 'static {
    /// The version of the definition, open during one try.
    type Version: Version;

    /// Queries can be answered by an older version while the one that serves is made anew.
    const READS_EVERY_VERSION: bool;

    /// The versions that answer queries, or did before. `head` is the end of the log.
    fn survey(&mut self, head: &Checkpoint, stop: &Stop) -> Result<Vec<Kept>, RunError>;

    /// What answers queries on a version from [`Self::survey`] before it is open.
    fn reads(&self, hash: &str) -> Arc<dyn Reads>;

    /// Records a rollback to the version with this hash, or takes any rollback back. `head` is the end of the log.
    fn roll_back(
        &mut self,
        to: Option<(&str, &Rollback)>,
        head: &Checkpoint,
        stop: &Stop,
    ) -> Result<(), RunError>;

    /// Removes a version that neither serves nor is followed.
    fn remove(&mut self, hash: &str, head: &Checkpoint, stop: &Stop) -> Result<(), RunError>;

    /// Opens the version of the definition, if there is one. `head` is the end of the log. Damage that is found later is
    /// reported to `damage`.
    fn find(
        &mut self,
        head: &Checkpoint,
        damage: &Arc<Damage>,
        stop: &Stop,
    ) -> Result<Found<Self::Version>, RunError>;

    /// After [`Self::find`] failed because another process runs the view: the version that answers queries meanwhile.
    fn standing_by(&mut self) -> Option<Serving> {
        None
    }

    /// Makes the version at the start of the log, in place of any that is there.
    fn make(&mut self, start: &Checkpoint, stop: &Stop) -> Result<Self::Version, RunError>;

    /// The run stops.
    fn close(&mut self) {}
}

/// What a version is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is the wanted one: it serves once it has caught up.
    Wanted,
    /// It is an older one: it follows the log beside the wanted one, and is never made anew.
    Old,
}

/// What there is of a version.
pub(crate) enum Found<V> {
    /// There is none.
    Nothing,
    /// One to go on with.
    Usable(V),
    /// One that must be built anew, and why.
    Unusable(String),
}

/// One version of a view, open for its runner.
pub(crate) trait Version {
    /// Writes its rows.
    type Writer<'v>: Writer
    where
        Self: 'v;

    /// The place that its rows show.
    fn checkpoint(&self) -> &Checkpoint;

    /// What answers queries on it.
    fn reads(&self) -> Arc<dyn Reads>;

    /// Records that it has shown everything, and takes over from an older version in the database.
    fn take_over(&self) -> Result<(), RunError>;

    /// Removes all other versions but `old`, the hash of one. What cannot be removed is tried again by the next open.
    fn remove_others(&self, old: Option<&str>);

    /// The streams that it holds back.
    fn parked(&self) -> Result<ParkedStreams, RunError>;

    /// Prepares to write.
    fn writer(&self) -> Result<Self::Writer<'_>, RunError>;
}

/// What one transaction writes.
pub(crate) struct PageWrite<'p> {
    /// The events to apply.
    pub(crate) events: &'p [RecordedEvent],
    pub(crate) pieces: Pieces,
    /// The place that the version shows now.
    pub(crate) from: &'p Checkpoint,
    pub(crate) to: &'p Checkpoint,
    pub(crate) reach: Reach,
    /// The changes of the parked streams.
    pub(crate) parked: &'p [ParkedChange],
    pub(crate) durability: Durability,
}

/// When what was committed survives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// With a later sync. Until then it may be missing as a whole: the log has it.
    WithLater,
    /// Before the call returns: it is an operator's decision, which is nowhere else.
    Synced,
}

/// Writes pages to a version.
pub(crate) trait Writer {
    /// Applies a page. Rows, parked streams and checkpoint become visible and durable together, or not at all. With [`Reach::Head`],
    /// the version takes over before the call returns.
    fn commit(&mut self, page: &PageWrite<'_>, stop: &Stop) -> Result<Outcome, RunError>;

    /// As [`Session::interrupter`](gesta_consumer::Session::interrupter).
    fn interrupter(&self) -> Option<Interrupter> {
        None
    }

    /// As [`Session::tidy_up`](gesta_consumer::Session::tidy_up).
    fn tidy_up(&mut self, stop: &Stop) -> Result<(), RunError> {
        let _ = stop;
        Ok(())
    }

    /// The run stops. Queries have no open connections any more.
    fn close(&mut self) {}
}

/// The outcome of applying a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Applied,
    /// The signal was raised; nothing of the page was kept.
    Interrupted,
}

/// Answers queries on one version of a view.
pub(crate) trait Reads: Send + Sync {
    /// The first 8 digits of the version's hash.
    fn version(&self) -> &str;

    /// Answers one query, with the checkpoint that its rows show.
    fn query(
        &self,
        sql: &str,
        parameters: &[(String, SqlValue)],
        limits: &QueryLimits,
        deadline: Instant,
    ) -> Result<Rows, QueryError>;

    /// Closes the connections that no query uses.
    fn close_idle(&self) {}

    /// The rows are gone, or may go at any time: they must be made anew.
    fn is_lost(&self) -> bool {
        false
    }
}

/// A version that answers queries, and the place that it shows.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) reads: Arc<dyn Reads>,
    pub(crate) checkpoint: Checkpoint,
    /// The streams that its rows do not show to the end.
    pub(crate) parked: ParkedStreams,
}

/// The checkpoint if it lies in this log; otherwise the reason why not.
pub(crate) fn fitting(checkpoint: Checkpoint, head: &Checkpoint) -> Result<Checkpoint, String> {
    if !checkpoint.is_comparable(head) {
        return Err(format!("its checkpoint {checkpoint} belongs to another store"));
    }
    if !head.at_least(&checkpoint) {
        return Err(format!("its checkpoint {checkpoint} lies beyond the head of the log, {head}"));
    }
    Ok(checkpoint)
}
