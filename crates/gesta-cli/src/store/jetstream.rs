//! A store on a cluster of NATS JetStream.

use std::path::PathBuf;
use std::sync::Arc;

use gesta_core::{EventStore, KeyValueStore, SnapshotStore};
use gesta_jetstream::{JetStreamBuckets, JetStreamStore, JetStreamUrl, Options};

use super::{Backing, Dealt, OpenError, OpenOptions, Opened, Snapshots, make_folder, shared, shared_groups};

/// The name of the folder of a copy in the folder of the state.
const COPY: &str = "copy";

/// Opens a store on a cluster. Its values and snapshots are there, too, so several processes share them.
pub(super) fn open(url: &JetStreamUrl, options: &OpenOptions) -> Result<Opened, OpenError> {
    options.state.as_deref().map(make_folder).transpose()?;
    let beside = options.state.as_deref().map(|state| state.join(COPY));
    let copy = url.copy().map(PathBuf::from).or(beside);
    let copy = copy.ok_or_else(|| OpenError::NoCopy { url: url.to_string() })?;
    let failed = |source| OpenError::JetStream { url: url.to_string(), copy: copy.clone(), source };
    let jetstream = Arc::new(JetStreamStore::open(url, &copy, &Options::default()).map_err(failed)?);
    let buckets = JetStreamBuckets::open(url, jetstream.store_id(), &Options::default()).map_err(failed)?;
    let values: Arc<dyn KeyValueStore> = Arc::new(buckets.values().map_err(failed)?);
    let store: Arc<dyn EventStore> = Arc::clone(&jetstream) as _;
    let beside: Option<Arc<dyn SnapshotStore>> = match options.snapshots {
        Snapshots::Beside => Some(Arc::new(buckets.snapshots().map_err(failed)?)),
        _ => None,
    };
    let snapshot_threads = match options.snapshots {
        Snapshots::Beside => None,
        _ => options.snapshots.open(options.state.as_deref()),
    };
    let groups = Arc::new(shared_groups(jetstream.store_id(), &store, &values, options)?);
    Ok(Opened {
        store,
        groups: Arc::clone(&groups) as _,
        values,
        snapshots: beside.or_else(|| shared(snapshot_threads.as_ref())),
        state: options.state.clone(),
        described: url.to_string(),
        backing: Backing::JetStream(jetstream),
        dealt: Dealt::Shared(groups),
        file: None,
        snapshot_threads,
    })
}
