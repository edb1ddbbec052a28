//! How a store is opened: the streams, a copy for each of them, and the tasks that write.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use futures_util::future::try_join_all;
use gesta_core::{Checkpoint, StoreId};
use gesta_log::Replica;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{block_in_place, spawn_blocking};

use crate::address::JetStreamUrl;
use crate::driver::{Cluster, Copy, Driver, NotCaughtUp, Opening};
use crate::error::OpenError;
use crate::limits::{CATCH_UP_TIME, INPUTS_MAX};
use crate::link::{Found, Link, Purpose, connect, set_up};
use crate::machine::Machine;
use crate::message::{Place, Tip};
use crate::options::{Clock, Options};
use crate::partition::Partition;

/// The parts of an opened store.
pub(crate) struct Opened {
    pub(crate) id: StoreId,
    pub(crate) partitions: Vec<Partition>,
    /// Closed once the tasks of all partitions have ended.
    pub(crate) ended: std::sync::mpsc::Receiver<()>,
    pub(crate) is_unfinished: bool,
}

/// Told how the copy of a partition has caught up.
type CaughtUp = oneshot::Receiver<Result<(), NotCaughtUp>>;

/// Opens the store at an address, with the copies in a folder. Waits until they have what the cluster has.
pub(crate) async fn open(
    url: &JetStreamUrl,
    folder: &Path,
    options: &Options,
    purpose: Purpose,
) -> Result<Opened, OpenError> {
    let connection = connect(url).await?;
    let found = set_up(connection.client.clone(), url, purpose, options.takes_single_server).await?;
    let replicas = open_copies(folder, &found, &options.copy).await?;
    let replicas = replicas.into_iter().map(Arc::new).collect::<Arc<[_]>>();
    let first = Checkpoint::new(found.id, found.last.iter().map(|_| 0));
    let (end, ended) = std::sync::mpsc::channel();
    let start = |(replica, last): (&Arc<Replica>, &u64)| {
        let (tell, inputs) = mpsc::channel(INPUTS_MAX);
        let number = replica.partition();
        let link = Link::new(found.context.clone(), url.stream(number), url.subject(number), tell);
        let cluster = Cluster { link, inputs, lost: connection.lost.clone() };
        let copy = Copy { replica: Arc::clone(replica), all: Arc::clone(&replicas), start: first.clone() };
        start(copy, cluster, (options.clock.clone(), *last, end.clone()))
    };
    let (partitions, waits): (Vec<_>, Vec<_>) = replicas.iter().zip(&found.last).map(start).unzip();
    drop(end);
    let caught_up = waits.into_iter().enumerate().map(|(partition, caught_up)| async move {
        let failed = |error| match error {
            NotCaughtUp::Halted(halt) => OpenError::Lost { folder: folder.display().to_string(), halt },
            NotCaughtUp::Stalled => OpenError::Unreachable { reason: stalled(partition) },
        };
        caught_up.await.map_err(|_| OpenError::panicked())?.map_err(failed)
    });
    if let Err(error) = try_join_all(caught_up).await {
        // The tasks end, and with them what holds the copies: their folders can be opened again.
        drop((partitions, replicas));
        // Nothing is ever sent.
        let _ = block_in_place(|| ended.recv());
        return Err(error);
    }
    Ok(Opened { id: found.id, partitions, ended, is_unfinished: found.is_unfinished })
}

fn stalled(partition: usize) -> String {
    format!(
        "partition {partition} has delivered nothing for {} s, and the copy has not caught up: a majority of the servers must run",
        CATCH_UP_TIME.as_secs()
    )
}

/// The folder of a partition's copy.
fn folder_of(folder: &Path, partition: u16) -> PathBuf {
    folder.join(format!("p{partition}"))
}

/// Returns true if a folder has the copy of a partition.
pub(crate) fn has_copy(folder: &Path, partition: u16) -> bool {
    folder_of(folder, partition).join("manifest").exists()
}

/// Opens the copy of each partition, all at once: one that was not closed is recovered.
pub(crate) async fn open_copies(
    folder: &Path,
    found: &Found,
    options: &gesta_log::Options,
) -> Result<Vec<Replica>, OpenError> {
    let partitions = u16::try_from(found.last.len()).expect("at most 64 partitions");
    let options = share_of(options, partitions);
    let opening = (0..partitions).map(|partition| {
        let (id, folder, options) = (found.id, folder_of(folder, partition), options.clone());
        spawn_blocking(move || Replica::open(folder, id, partition, &options))
    });
    let opened = try_join_all(opening).await.map_err(|_| OpenError::panicked())?;
    opened.into_iter().map(|replica| Ok(replica?)).collect()
}

/// How the copy of one of several partitions is opened: all together take the memory and the threads of one.
fn share_of(options: &gesta_log::Options, partitions: u16) -> gesta_log::Options {
    gesta_log::Options {
        index_run_bytes: options.index_run_bytes / u64::from(partitions),
        index_cache_bytes: options.index_cache_bytes / u64::from(partitions),
        read_threads: (options.read_threads / usize::from(partitions)).max(1),
        ..options.clone()
    }
}

/// Starts the task of a partition.
fn start(
    copy: Copy,
    cluster: Cluster,
    (clock, last, end): (Option<Clock>, u64, std::sync::mpsc::Sender<()>),
) -> (Partition, CaughtUp) {
    let (replica, store_start) = (Arc::clone(&copy.replica), copy.start.clone());
    let number = replica.partition();
    let kept = replica.through().and_then(|place| Place::from_bytes(place.as_bytes()).ok());
    let place = kept.unwrap_or_else(|| Place::at(Tip::start(store_start.store(), number)));
    let random = uuid::Uuid::new_v4().as_u64_pair().0;
    let machine = Machine::new(number, place, replica.head().sequence(0), random);
    let (calls, waiting) = mpsc::unbounded_channel();
    let (done, caught_up) = oneshot::channel();
    let own_clock = clock.clone();
    let halted = Arc::new(OnceLock::new());
    let rest = (clock, Opening { last, done }, Arc::clone(&halted), end);
    tokio::spawn(Driver::new(machine, copy, cluster, waiting, rest).run());
    (Partition::new(replica, calls, store_start, (own_clock, halted)), caught_up)
}
