//! What is kept beside the events on the same cluster: the key-value store and the snapshots.

use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use gesta_core::StoreId;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::address::JetStreamUrl;
use crate::bucket::{Bucket, Content};
use crate::error::OpenError;
use crate::limits::ANSWER_TIME;
use crate::link::{COPYING, connect, why};
use crate::options::Options;
use crate::snapshots::JetStreamSnapshots;
use crate::values::JetStreamValues;

/// What a cluster keeps beside the events of a store, for all processes that have it open.
///
/// It has one connection and one thread, apart from those of the [`JetStreamStore`](crate::JetStreamStore): events that are appended in
/// masses do not hold up the progress of groups.
#[derive(Clone)]
pub struct JetStreamBuckets {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for JetStreamBuckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JetStreamBuckets({})", self.shared.url)
    }
}

/// The connection and its thread.
pub(crate) struct Shared {
    context: Context,
    url: JetStreamUrl,
    id: StoreId,
    servers: usize,
    /// It is there until the last user is gone.
    runtime: Option<Runtime>,
}

impl JetStreamBuckets {
    /// Connects to the cluster of a store. Blocks until it has answered.
    ///
    /// # Errors
    /// [`OpenError`]; its `retry()` says if it helps to try again.
    pub fn open(url: &JetStreamUrl, store: StoreId, options: &Options) -> Result<Self, OpenError> {
        let mut builder = Builder::new_multi_thread();
        let builder =
            builder.worker_threads(1).thread_name("gesta-jetstream-values").enable_io().enable_time();
        let runtime = builder.build().map_err(OpenError::Thread)?;
        let (address, opened) = (url.clone(), std::sync::mpsc::channel());
        runtime.spawn(async move {
            // Nobody needs to know that a connection was lost: each request says so itself.
            let connected = connect(&address).await;
            // A context begins a task of its own, so it is made here. The caller waits.
            let _ = opened.0.send(
                connected
                    .map(|connection| ContextBuilder::new().timeout(ANSWER_TIME).build(connection.client)),
            );
        });
        let context = opened.1.recv().map_err(|_| panicked()).and_then(|context| context);
        let context = match context {
            Ok(context) => context,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let servers = if options.takes_single_server { 1 } else { 3 };
        let shared = Shared { context, url: url.clone(), id: store, servers, runtime: Some(runtime) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the key-value store. Makes its bucket if it is not there.
    ///
    /// # Errors
    /// [`OpenError`]; its `retry()` says if it helps to try again.
    pub fn values(&self) -> Result<JetStreamValues, OpenError> {
        let bucket = self.bucket(format!("gesta-{}-values", self.shared.url.name()), Content::Values)?;
        Ok(JetStreamValues::new(Arc::clone(&self.shared), bucket))
    }

    /// Returns the snapshot store. Makes its bucket if it is not there.
    ///
    /// # Errors
    /// [`OpenError`]; its `retry()` says if it helps to try again.
    pub fn snapshots(&self) -> Result<JetStreamSnapshots, OpenError> {
        let bucket =
            self.bucket(format!("gesta-{}-snapshots", self.shared.url.name()), Content::Snapshots)?;
        Ok(JetStreamSnapshots::new(Arc::clone(&self.shared), bucket))
    }

    /// Asks when the stream of the store was made. The text is the same for each address that leads there.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] if the cluster does not answer.
    pub fn whereabouts(&self) -> Result<String, OpenError> {
        let (context, stream) = (self.shared.context.clone(), self.shared.url.stream(0));
        self.wait_for(async move {
            let found = context.get_stream(&stream).await;
            let found = found.map_err(|error| OpenError::Unreachable { reason: why(&error) })?;
            Ok(format!("{stream}/{}", found.cached_info().created))
        })
    }

    /// Marks the stream of the store as an unfinished copy, or takes the mark away.
    pub(crate) async fn mark(&self, is_unfinished: bool) -> Result<(), String> {
        let (context, stream) = (self.shared.context.clone(), self.shared.url.stream(0));
        let marking = async move {
            let found = context.get_stream(&stream).await.map_err(|error| why(&error))?;
            let mut config = found.cached_info().config.clone();
            match is_unfinished {
                true => drop(config.metadata.insert(COPYING.to_owned(), "true".to_owned())),
                false => drop(config.metadata.remove(COPYING)),
            }
            context.update_stream(config).await.map(drop).map_err(|error| why(&error))
        };
        self.shared.spawn(marking).await.unwrap_or_else(|_| Err(panicked().to_string()))
    }

    fn bucket(&self, name: String, content: Content) -> Result<Bucket, OpenError> {
        let (context, id, servers) = (self.shared.context.clone(), self.shared.id, self.shared.servers);
        self.wait_for(async move { Bucket::open(&context, (&name, content), id, servers).await })
    }

    /// Runs a future on the thread, and blocks until it has ended.
    fn wait_for<T: Send + 'static>(
        &self,
        asking: impl Future<Output = Result<T, OpenError>> + Send + 'static,
    ) -> Result<T, OpenError> {
        let (answer, answered) = std::sync::mpsc::channel();
        self.shared.spawn(async move {
            // The caller waits.
            let _ = answer.send(asking.await);
        });
        answered.recv().map_err(|_| panicked()).and_then(|answer| answer)
    }
}

fn panicked() -> OpenError {
    OpenError::Unreachable { reason: "the thread of the connection has panicked".to_owned() }
}

impl Shared {
    /// Runs a future on the thread.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.as_ref().expect("it is there until the end").spawn(future)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
