//! A store on a cluster of NATS JetStream.

use std::path::PathBuf;
use std::sync::Arc;

use gesta_core::SnapshotStore;
use gesta_jetstream::{JetStreamBuckets, JetStreamStore, JetStreamUrl, Options};

use super::{Backing, OpenError, OpenOptions, Opened, SharedStore, Snapshots, make_folder};

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
    let beside: Option<Arc<dyn SnapshotStore>> = match options.snapshots {
        Snapshots::Beside => Some(Arc::new(buckets.snapshots().map_err(failed)?)),
        _ => None,
    };
    let shared = SharedStore {
        id: jetstream.store_id(),
        values: Arc::new(buckets.values().map_err(failed)?),
        beside,
        described: url.to_string(),
        store: Arc::clone(&jetstream) as _,
        backing: Backing::JetStream(jetstream, copy),
    };
    shared.open(options)
}
