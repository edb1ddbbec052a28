//! How views run.

use std::collections::BTreeMap;

use gesta_consumer::Paused;
use gesta_core::Limit;

use crate::catalog::KnownEvent;
use crate::limits::{PAGE, ROW_PAGE, WAL_BYTES_MAX};
#[cfg(feature = "postgres")]
use crate::postgres::PostgresUrl;

/// How views run. [`Options::default`] fits almost every host.
#[derive(Debug, Clone)]
pub struct Options {
    /// What one transaction of a view in SQL takes from the log: 5,000 events or 8 MiB.
    pub page: Limit,
    /// What one transaction of a view in Rust takes: 20,000 events or 16 MiB. A row that repeats in it is written once.
    pub row_page: Limit,
    /// Bytes of a view's write-ahead log before new queries wait so that it can be emptied: 64 MiB.
    pub wal_bytes_max: u64,
    /// The database of views with `-- dialect: postgres`.
    #[cfg(feature = "postgres")]
    pub postgres: Option<PostgresUrl>,
    /// The events that the host knows. A definition that names another one gets a warning in the log and in its
    /// [`Status`](crate::Status). None: nothing is known, and nothing is said.
    pub known_events: Vec<KnownEvent>,
    /// The views that start paused, by name: the pauses that were kept over a restart.
    pub paused: BTreeMap<String, Paused>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page: PAGE,
            row_page: ROW_PAGE,
            wal_bytes_max: WAL_BYTES_MAX,
            #[cfg(feature = "postgres")]
            postgres: None,
            known_events: Vec::new(),
            paused: BTreeMap::new(),
        }
    }
}
