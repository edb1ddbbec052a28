//! The two stores of a copy, by their addresses.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gesta_core::{
    CopySource, CopyTarget, KeyValueStore, MemoryKeyValueStore, ReadError, RecordedBatches, StoreId,
};
use gesta_jetstream::{JetStreamBuckets, JetStreamCopy, JetStreamUrl};
use gesta_log::{LogCopy, LogStore, Options, Scrub};
use gesta_postgres::{PostgresCopy, PostgresStore};
use gesta_state::StateStore;
use pollster::block_on;

use super::range::Range;
use crate::cluster;
use crate::failure::{Failure, Outcome};
use crate::store::StoreUrl;
use crate::target::{
    IfInUse, IfMissing, cannot_open, cannot_open_database, has_only_other_files, loss, open_log, other_files,
};

/// The store that is copied.
pub(crate) struct Source {
    pub(super) store: Arc<dyn CopySource>,
    pub(super) values: Arc<dyn KeyValueStore>,
    pub(super) described: String,
    /// Where a store in a database is, whatever its address says.
    pub(super) whereabouts: Option<String>,
    id: StoreId,
    /// The log of a folder, which knows what it has lost.
    log: Option<(PathBuf, Arc<LogStore>)>,
}

/// The copy.
pub(crate) struct Target {
    pub(super) copy: Box<dyn CopyTarget>,
    pub(super) values: Arc<dyn KeyValueStore>,
    pub(super) described: String,
    /// Where a store in a database is, whatever its address says.
    pub(super) whereabouts: Option<String>,
}

impl Source {
    /// The partitions of the store. The copy has as many.
    pub(super) fn partitions(&self) -> u16 {
        self.store.capabilities().partitions
    }

    /// True if a target is the source itself, by another address. Two opens of one folder exclude each other.
    pub(crate) fn is_at(&self, target: &Target) -> bool {
        self.whereabouts.is_some() && self.whereabouts == target.whereabouts
    }

    /// Its batches in a range.
    pub(super) fn batches(&self, range: &Range<'_>) -> Box<dyn RecordedBatches + '_> {
        range.batches(|partition, after, until| self.store.batches(partition, after, until))
    }

    /// The failure for a source that has lost events.
    pub(super) fn loss(&self) -> Option<Failure> {
        self.log.as_ref().and_then(|(folder, log)| loss(folder, log.recovery()))
    }

    /// The failure for a source that cannot be read.
    pub(super) fn unreadable(&self, error: ReadError) -> Failure {
        let is_lost = matches!(error, ReadError::DataLoss { .. });
        let failure = Failure::new(format!("cannot read {}", self.described)).because(&error);
        match is_lost {
            true => failure
                .help("the copy stays unfinished: a store without these events is not a copy")
                .help("`gesta verify` explains what to do; `gesta restore` makes a log from a backup"),
            false => failure.help("run the same command again: it goes on"),
        }
    }
}

/// Opens the source, which must be there.
pub(crate) fn open_source(url: &StoreUrl) -> Outcome<Source> {
    match url {
        StoreUrl::File(folder) => {
            let log = Arc::new(open_log(folder, IfMissing::Refuse, IfInUse::Stop)?);
            wait_for_index(&log)?;
            Ok(Source {
                store: Arc::clone(&log) as _,
                values: open_values(folder, false)?,
                described: format!("the log in `{}`", folder.display()),
                whereabouts: None,
                id: log.id(),
                log: Some((folder.clone(), log)),
            })
        }
        StoreUrl::Postgres(url) => {
            let mut options = gesta_postgres::Options::default();
            options.makes_store = false;
            let store = PostgresStore::open(url, &options);
            let store = store.map_err(|error| cannot_open_database(&url.to_string(), &error))?;
            Ok(Source {
                values: Arc::new(store.values()),
                described: format!("the store `{url}`"),
                whereabouts: Some(block_on(store.whereabouts())?),
                id: store.store_id(),
                store: Arc::new(store),
                log: None,
            })
        }
        StoreUrl::JetStream(url) => {
            let store = cluster::open_existing(url)?;
            let buckets = JetStreamBuckets::open(url, store.store_id(), &gesta_jetstream::Options::default());
            let buckets = buckets.map_err(|error| cannot_open_cluster(url, &error))?;
            Ok(Source {
                values: Arc::new(buckets.values().map_err(|error| cannot_open_cluster(url, &error))?),
                described: format!("the store `{url}`"),
                whereabouts: Some(buckets.whereabouts().map_err(|error| cannot_open_cluster(url, &error))?),
                id: store.store_id(),
                store: Arc::new(store),
                log: None,
            })
        }
        StoreUrl::Memory => {
            Err(Failure::usage("a store in memory ends with its process: there is nothing to copy"))
        }
        StoreUrl::Http(_) => {
            Err(Failure::usage("a server shows neither command keys nor the progress of groups")
                .help("stop the server, and give the folder or the database whose store it serves"))
        }
    }
}

/// Begins a copy of a source, or opens the one that is there.
pub(crate) fn open_target(url: &StoreUrl, source: &Source) -> Outcome<Target> {
    let (of, partitions) = (source.id, source.partitions());
    if partitions > 1 && matches!(url, StoreUrl::File(_) | StoreUrl::Postgres(_)) {
        return Err(Failure::usage(format!(
            "the source has {partitions} partitions, and a folder or a database has one: the places of a copy are those of its source"
        ))
        .help("give a name on a cluster, `nats://HOST,HOST,HOST/NAME?copy=FOLDER`"));
    }
    match url {
        StoreUrl::File(folder) => {
            if has_only_other_files(folder) {
                return Err(other_files(folder));
            }
            let copy = LogCopy::open(folder, of, &Options { scrub: Scrub::Off, ..Options::default() });
            let copy = copy.map_err(|error| cannot_open(folder, &error, IfInUse::Stop))?;
            wait_for_index(copy.log())?;
            Ok(Target {
                copy: Box::new(copy),
                values: open_values(folder, true)?,
                described: format!("the log in `{}`", folder.display()),
                whereabouts: None,
            })
        }
        StoreUrl::Postgres(url) => {
            let copy = PostgresCopy::open(url, of, &gesta_postgres::Options::default());
            let copy = copy.map_err(|error| cannot_open_database(&url.to_string(), &error))?;
            Ok(Target {
                values: Arc::new(copy.values()),
                whereabouts: Some(block_on(copy.whereabouts())?),
                copy: Box::new(copy),
                described: format!("the store `{url}`"),
            })
        }
        StoreUrl::JetStream(url) => {
            let copy = JetStreamCopy::open(
                url,
                cluster::copy_of(url)?,
                (of, partitions),
                &gesta_jetstream::Options::default(),
            );
            let copy = copy.map_err(|error| cannot_open_cluster(url, &error))?;
            let buckets = copy.buckets();
            Ok(Target {
                values: Arc::new(buckets.values().map_err(|error| cannot_open_cluster(url, &error))?),
                whereabouts: Some(buckets.whereabouts().map_err(|error| cannot_open_cluster(url, &error))?),
                copy: Box::new(copy),
                described: format!("the store `{url}`"),
            })
        }
        StoreUrl::Memory => {
            Err(Failure::usage("a store in memory ends with its process: nothing would be left"))
        }
        StoreUrl::Http(_) => {
            Err(Failure::usage("a server gives events new places and times, so it cannot be a target")
                .help("give a folder or a database, and start a server on the copy"))
        }
    }
}

fn cannot_open_cluster(url: &JetStreamUrl, error: &gesta_jetstream::OpenError) -> Failure {
    cluster::cannot_open(url, url.copy().unwrap_or(Path::new("")), error)
}

/// The values beside a log. A source without them has none; a target gets the file with its first value.
fn open_values(folder: &Path, makes: bool) -> Outcome<Arc<dyn KeyValueStore>> {
    let file = folder.join(gesta_state::FILE_NAME);
    if !makes && !file.exists() {
        return Ok(Arc::new(MemoryKeyValueStore::default()));
    }
    match StateStore::open(&file) {
        Ok(values) => Ok(Arc::new(values)),
        Err(error) => Err(Failure::new(format!("cannot open `{}`", file.display()))
            .because(&error)
            .help("move it away to copy without the progress of groups, timers and publishers")),
    }
}

fn wait_for_index(log: &LogStore) -> Outcome {
    if log.wait_for_index() {
        return Ok(());
    }
    Err(Failure::new("the index of the log cannot be built").help("run the same command again"))
}
