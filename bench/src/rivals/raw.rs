//! An embedded engine as a raw log, as clients of a [`Rival`] see it.

use std::path::Path;
use std::sync::Arc;

use bench_core::{BoxFuture, Client, Event, Guard, Rival, ready};

/// An embedded engine that keeps events by position, and positions by stream.
pub trait RawLog: Send + Sync + 'static {
    /// Opens one on an empty folder.
    fn open(folder: &Path) -> Self;
    /// Appends all events in one transaction, durably.
    fn append(&self, events: &[Event]);
    /// Reads every event in order. Returns their number.
    fn read_all(&self) -> u64;
    /// Reads every event of a stream in order. Returns their number.
    fn read_stream(&self, stream: u64) -> u64;
}

/// A raw log under load. All its clients share it.
pub struct Raw<L>(Arc<L>);

impl<L: RawLog> Raw<L> {
    pub fn open(folder: &Path) -> Self {
        Self(Arc::new(L::open(folder)))
    }
}

impl<L: RawLog> Rival for Raw<L> {
    fn client(&self, _number: u64) -> Box<dyn Client> {
        Box::new(RawClient(Arc::clone(&self.0)))
    }
}

struct RawClient<L>(Arc<L>);

impl<L: RawLog> Client for RawClient<L> {
    fn append<'a>(&'a mut self, events: &'a [Event], _guard: Guard) -> BoxFuture<'a, ()> {
        self.0.append(events);
        ready(())
    }

    fn read_all(&mut self) -> BoxFuture<'_, u64> {
        ready(self.0.read_all())
    }

    fn read_stream(&mut self, stream: u64) -> BoxFuture<'_, u64> {
        ready(self.0.read_stream(stream))
    }
}

/// The key of an event in an index by stream. Positions increase, so they serve as versions.
pub fn index_key(stream: u64, position: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&stream.to_be_bytes());
    key[8..].copy_from_slice(&position.to_be_bytes());
    key
}
