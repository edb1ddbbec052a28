//! The kinds of problems. Programs decide by their names, which never change.

use super::members::Member;
use super::members::Member::{Count, CountOrNull, Expected, Position, Text, TextOrNull, Texts};

/// A kind of problem: its HTTP status, its stable name, its title, and the members that hold its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The HTTP status.
    pub status: u16,
    /// The name: the last part of `type`.
    pub name: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// The names and forms of its members. A problem may lack some of them.
    pub(super) members: &'static [(&'static str, Member)],
}

impl Kind {
    /// Creates a kind without members.
    #[must_use]
    pub const fn new(status: u16, name: &'static str, title: &'static str) -> Self {
        Self { status, name, title, members: &[] }
    }
}

/// Defines the kinds, and the list of all of them.
macro_rules! kinds {
    ($($(#[$docs:meta])* $kind:ident = $status:literal $name:literal $title:literal { $($member:ident: $form:expr),* })*) => {
        $(
            $(#[$docs])*
            pub const $kind: Kind = Kind {
                status: $status,
                name: $name,
                title: $title,
                members: &[$((stringify!($member), $form)),*],
            };
        )*

        /// Every kind.
        pub const ALL: &[Kind] = &[$($kind),*];
    };
}

kinds! {
    /// A malformed request.
    INVALID_REQUEST = 400 "invalid-request" "The request is not well formed" {}
    /// A malformed name.
    INVALID_NAME = 400 "invalid-name" "A name is not well formed" {}
    /// Malformed JSON.
    INVALID_JSON = 400 "invalid-json" "The JSON is malformed" { line: Count, column: Count }
    /// A stream whose name begins with `$`.
    SYSTEM_STREAM = 403 "system-stream" "The stream is reserved for the system" {}
    /// An event type whose name begins with `$`.
    SYSTEM_TYPE = 403 "system-type" "The event type is reserved for the system" {}
    /// `AppendError::Invalid`.
    INVALID_BATCH = 400 "invalid-batch" "The batch is not well formed" {}
    /// `ReadError::Invalid`.
    INVALID_READ = 400 "invalid-read" "The read is not well formed" {}
    /// `TooLarge`, and bodies that are too long.
    TOO_LARGE = 413 "too-large" "A limit is exceeded" { what: Text, actual: Count, limit: Count }
    /// `ForeignCheckpoint`.
    FOREIGN_CHECKPOINT = 400 "foreign-checkpoint" "The checkpoint belongs to another store" { checkpoint: Text }
    /// `CheckpointAhead`.
    CHECKPOINT_AHEAD = 409 "checkpoint-ahead" "The checkpoint lies beyond the head of the log" { checkpoint: Text, head: Text }
    /// `Diverged`.
    DIVERGED = 409 "diverged" "The checkpoint is of another history of this store" { checkpoint: Text, found: Text }
    /// `Unsupported`.
    UNSUPPORTED = 501 "unsupported" "The store cannot do this" { capability: Text }
    /// `Overloaded`.
    OVERLOADED = 503 "overloaded" "Too many requests are waiting" {}
    /// `Unavailable`.
    UNAVAILABLE = 503 "unavailable" "The store is not available" {}
    /// `Closed`.
    CLOSED = 503 "closed" "The store is closed" {}
    /// `AppendError::InDoubt`.
    IN_DOUBT = 500 "in-doubt" "The events may or may not have been appended" { ids: Texts }
    /// `AppendError::Conflict`.
    CONFLICT = 409 "conflict" "A stream does not have the expected version" { stream: Text, expected: Expected, actual: CountOrNull }
    /// `AppendError::ConditionFailed`.
    CONDITION_FAILED = 409 "condition-failed" "An event matches a condition of the append" { index: Count, position: Position }
    /// `AppendError::IdTaken`.
    ID_TAKEN = 409 "id-taken" "An event id is taken" { stream: Text, id: Text, version: Count, index: Count }
    /// `AppendError::KeyReused`.
    KEY_REUSED = 422 "key-reused" "The idempotency key was used with another request" {}
    /// `AppendError::ReadOnly`.
    READ_ONLY = 503 "read-only" "The store is read-only" {}
    /// `AppendError::StorageFull`.
    STORAGE_FULL = 507 "storage-full" "The disk is full" {}
    /// `ReadError::DataLoss`.
    DATA_LOSS = 500 "data-loss" "Stored events are damaged" { location: Text, from: Position, to: Position, resume: Text }
    /// `ReadError::NotYet`.
    NOT_YET = 409 "not-yet" "The time cannot be closed yet" { now: Text }
    /// A stream without events.
    NO_STREAM = 404 "no-stream" "There is no such stream" { stream: Text, scannedTo: Text, head: Text }
    /// The request is for another store.
    FOREIGN_STORE = 421 "foreign-store" "The request is for another store" { store: Text }
    /// `AppendError::Denied`: a raw append to a category that a program hosts.
    HOSTED_CATEGORY = 409 "hosted-category" "The category takes commands, not raw appends" { commands: Text }
    /// `AppendError::Denied` with a code that has no kind here.
    DENIED = 403 "denied" "The append is not allowed" {}
    /// An error that this version does not know, of a store that is newer.
    FAILED = 500 "store-error" "The store failed" {}
    /// `NoGroup`.
    NO_GROUP = 404 "no-group" "There is no such group" { group: Text }
    /// The request names a process as the one that deals the groups, and this one is another or deals no more.
    NOT_HOLDER = 421 "not-holder" "This process does not deal the groups" {}
    /// `PutError::Exists`.
    GROUP_EXISTS = 412 "group-exists" "The group exists" { group: Text, actual: Count }
    /// `PutError::Changed`.
    GROUP_CHANGED = 412 "group-changed" "The settings have another version" { group: Text, expected: Count, actual: Count }
    /// `PutError::Settings`.
    INVALID_GROUP = 400 "invalid-group" "A setting of the group is out of its range" { setting: Text, given: Text, allowed: Text }
    /// `TakeError::Form`.
    INVALID_TAKE = 400 "invalid-take" "The call of the member is not well formed" {}
    /// `Hosted`.
    HOSTED_GROUP = 409 "hosted-group" "The group belongs to a host" { group: Text }
    /// `ChangeError::NotHosted`.
    NOT_HOSTED_GROUP = 409 "not-hosted-group" "The group has no host here" { group: Text }
    /// `Busy`.
    GROUP_BUSY = 409 "group-busy" "The group is busy" { group: Text }
    /// `TakeError::Stopped`.
    GROUP_STOPPED = 409 "group-stopped" "The group is stopped" { group: Text }
    /// `PutError::TooMany`.
    TOO_MANY_GROUPS = 409 "too-many-groups" "There are too many groups" { limit: Count }
    /// `ChangeError::NotParked`, and a stream that a view does not hold back.
    NOT_PARKED = 404 "not-parked" "The stream is not parked" { group: Text, view: Text, stream: Text }
    /// `ChangeError::NotReached`, and events that a view has not reached.
    NOT_REACHED = 409 "not-reached" "The events to skip were not read yet" { view: Text, stream: Text, through: Count }
    /// `InDoubt` of a change of a group.
    GROUP_IN_DOUBT = 500 "group-in-doubt" "The group may or may not have been changed" {}
    /// A body of another media type than the route takes.
    UNSUPPORTED_TYPE = 415 "unsupported-type" "The content type is not supported" {}
    /// A compressed body.
    UNSUPPORTED_ENCODING = 415 "unsupported-encoding" "The content encoding is not supported" {}
    /// A body that took too long.
    TOO_SLOW = 408 "too-slow" "The request took too long" {}
    /// A malformed event.
    INVALID_EVENT = 400 "invalid-event" "An event is malformed" {}
    /// An address without a route.
    NO_ROUTE = 404 "no-route" "There is no such route" {}
    /// A method that the route does not have.
    WRONG_METHOD = 405 "wrong-method" "The route does not support this method" {}
    /// A request that a page of another site sent.
    CROSS_SITE = 403 "cross-site" "The request comes from another site" {}
    /// A request for another host than this machine.
    FOREIGN_HOST = 421 "foreign-host" "The request is meant for another host" { host: Text }
    /// A bug of the program.
    INTERNAL = 500 "internal" "The program has a bug" {}
    /// The server is stopping.
    STOPPING = 503 "stopping" "The server is stopping" {}
    /// A view cannot answer yet, or what has stopped makes the server unready.
    NOT_READY = 503 "not-ready" "A view or another part is not ready" { views: Texts, consumers: Texts, groups: Texts }
    /// An id that no event has.
    NO_EVENT = 404 "no-event" "There is no such event" {}
    /// An id that events of several streams have.
    AMBIGUOUS_ID = 409 "ambiguous-id" "Several events have this id" { streams: Texts }
    /// A view that is not there.
    NO_VIEW = 404 "no-view" "There is no such view" { view: Text }
    /// A view that has stopped.
    VIEW_STOPPED = 409 "view-stopped" "The view has stopped" {}
    /// A view that has no older version to use.
    NO_OLD_VERSION = 409 "no-old-version" "No older version can be used" {}
    /// A reload of views by a server that reads no definitions.
    NOT_RELOADED = 409 "not-reloaded" "The server reads no definitions of views" {}
    /// A removal of a view's older version that answers queries.
    OLD_VERSION_SERVES = 409 "old-version-serves" "The older version answers queries" {}
    /// A view that did not reach a checkpoint in time.
    NOT_CAUGHT_UP = 504 "not-caught-up" "The view has not caught up" { serving: TextOrNull }
    /// A malformed query of a view.
    INVALID_QUERY = 400 "invalid-query" "The query is not well formed" {}
    /// A query of a view that would do more than read.
    NOT_ALLOWED = 403 "not-allowed" "Queries can only read" {}
    /// A query of a view beyond a limit.
    QUERY_LIMIT = 422 "query-limit" "The query is beyond a limit" {}
    /// An event that happened before a cut of a series that was given.
    LATE_EVENT = 422 "late-event" "An event happened before a cut that was given" { position: Position, cut: Text }

    /// A consumer that is not there.
    NO_CONSUMER = 404 "no-consumer" "There is no such consumer" { consumer: Text }
    /// A command or an entity that no application hosts.
    NOT_HOSTED = 404 "not-hosted" "There is no such command" { known: Texts }
    /// A malformed id of an entity.
    INVALID_ID = 400 "invalid-id" "The id is not well formed" { category: Text }
    /// A malformed body of a command.
    INVALID_INPUT = 400 "invalid-input" "The command is not well formed" { field: TextOrNull }
    /// A command that the rules of the domain do not allow.
    REFUSED = 422 "refused" "The command was refused" { code: Text }
    /// An entity with another version than the command expects.
    VERSION_MISMATCH = 412 "version-mismatch" "The entity is not as the request expects" { stream: Text, expected: Expected, actual: CountOrNull }
    /// Others were faster at each attempt.
    CONTENDED = 409 "contended" "Others wrote to the same entities in between" { attempts: Count }
    /// An event to reverse that was compensated before.
    ALREADY_COMPENSATED = 409 "already-compensated" "The event was compensated before" { stream: Text, id: Text, by: Position }
    /// A version that a stream does not have.
    NO_VERSION = 404 "no-version" "The stream has no such version" { stream: Text, actual: CountOrNull }
    /// An event that the hosted application cannot read.
    UNREADABLE_HISTORY = 500 "unreadable-history" "The history has an event that this program cannot read" { stream: Text, version: Count, eventType: Text, found: Count, newest: Count }
    /// An event that a newer version of the application wrote.
    NEWER_EVENT = 503 "newer-event" "The history has an event that a newer version of this program wrote" { stream: Text, version: Count, eventType: Text, found: Count, newest: Count }
}

/// What [`ReadError`](gesta_core::ReadError) becomes.
pub const OF_READS: &[Kind] = &[
    INVALID_READ,
    TOO_LARGE,
    FOREIGN_CHECKPOINT,
    CHECKPOINT_AHEAD,
    DIVERGED,
    UNSUPPORTED,
    DATA_LOSS,
    NOT_YET,
    OVERLOADED,
    UNAVAILABLE,
    CLOSED,
    FAILED,
];

/// What [`AppendError`](gesta_core::AppendError) becomes. A store may deny an append with a code of its own.
pub const OF_APPENDS: &[Kind] = &[
    INVALID_BATCH,
    TOO_LARGE,
    CONFLICT,
    CONDITION_FAILED,
    ID_TAKEN,
    KEY_REUSED,
    FOREIGN_CHECKPOINT,
    CHECKPOINT_AHEAD,
    DIVERGED,
    UNSUPPORTED,
    DENIED,
    READ_ONLY,
    STORAGE_FULL,
    OVERLOADED,
    UNAVAILABLE,
    IN_DOUBT,
    CLOSED,
    FAILED,
];

/// What [`LookError`](gesta_consumer::group::LookError) becomes, without the errors of reads.
pub const OF_LOOKS_AT_GROUPS: &[Kind] = &[NO_GROUP, UNAVAILABLE, CLOSED, FAILED];

/// What [`PutError`](gesta_consumer::group::PutError) becomes, without the errors of reads.
pub const OF_PUTS_OF_GROUPS: &[Kind] = &[
    INVALID_GROUP,
    NO_GROUP,
    GROUP_EXISTS,
    GROUP_CHANGED,
    HOSTED_GROUP,
    GROUP_BUSY,
    TOO_MANY_GROUPS,
    UNAVAILABLE,
    GROUP_IN_DOUBT,
    CLOSED,
    FAILED,
];

/// What [`TakeError`](gesta_consumer::group::TakeError) becomes.
pub const OF_TAKES: &[Kind] = &[INVALID_TAKE, NO_GROUP, GROUP_STOPPED, UNAVAILABLE, CLOSED, FAILED];

/// What [`ChangeError`](gesta_consumer::group::ChangeError) becomes, without the errors of reads.
pub const OF_CHANGES_OF_GROUPS: &[Kind] = &[
    NO_GROUP,
    NOT_PARKED,
    NOT_REACHED,
    HOSTED_GROUP,
    NOT_HOSTED_GROUP,
    GROUP_BUSY,
    UNAVAILABLE,
    GROUP_IN_DOUBT,
    CLOSED,
    FAILED,
];
