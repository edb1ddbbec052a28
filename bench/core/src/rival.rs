//! A store under load, as its clients see it.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;

use tokio::runtime::Runtime;

use crate::event::Event;
use crate::usage::Process;

/// The result of a client's call: boxed, so that the same code drives blocking and asynchronous stores.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The requirement of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// None.
    None,
    /// No event with the client's tag was appended after the client's last append. It always holds.
    OwnTag,
}

/// The way in which clients are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// A thread for each client.
    Threads,
    /// A task for each client, on a runtime with one thread for each core.
    Tasks,
}

/// A store that was opened on an empty folder with its durable setting: acknowledged events have been synced.
pub trait Rival: Send + Sync {
    /// The process that does the work of the store.
    fn process(&self) -> Process {
        Process::Own
    }

    /// The way in which its clients should be called.
    fn drive(&self) -> Drive {
        Drive::Threads
    }

    /// True if it can check `guard`. Other stores are left out of such rows.
    fn takes(&self, guard: Guard) -> bool {
        guard == Guard::None
    }

    /// A client, with its connection if the store has connections.
    fn client(&self, number: u64) -> Box<dyn Client>;
}

/// One client of a store. Its calls panic if the store refuses: a rate of refusals would be meaningless.
pub trait Client: Send {
    /// Appends all events atomically and durably.
    fn append<'a>(&'a mut self, events: &'a [Event], guard: Guard) -> BoxFuture<'a, ()>;

    /// Reads every event in order. Returns their number.
    fn read_all(&mut self) -> BoxFuture<'_, u64>;

    /// Reads every event of a stream in order (of its tag, if the store has no streams). Returns their number.
    fn read_stream(&mut self, stream: u64) -> BoxFuture<'_, u64>;
}

/// The result of a call that blocked its thread.
pub fn ready<'a, T: Send + 'a>(answer: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

/// The runtime of all tasks and connections of this process, with one thread for each core.
///
/// # Panics
/// If the system starts no threads.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads for a runtime")
    })
}
