//! A store under load, as its clients see it.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;

use tokio::runtime::Runtime;

use crate::event::Event;
use crate::usage::Process;

/// What a client's call gives: boxed, so that blocking and asynchronous stores are driven by the same code.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an append demands of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Nothing.
    None,
    /// That nobody appended an event with the client's own tag after the client's own last append. It always holds.
    OwnTag,
}

/// Who calls a store's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// A thread for each client.
    Threads,
    /// A task for each client, on a runtime with a thread for each core.
    Tasks,
}

/// A store that was opened over an empty folder, at its durable setting: what it acknowledges has been synced.
pub trait Rival: Send + Sync {
    /// The process that does the store's work.
    fn process(&self) -> Process {
        Process::Own
    }

    /// How its clients are meant to be called.
    fn drive(&self) -> Drive {
        Drive::Threads
    }

    /// Whether it can do what the guard says. Those that cannot are left out of such rows.
    fn takes(&self, guard: Guard) -> bool {
        guard == Guard::None
    }

    /// A client with a connection of its own, where the store has connections.
    fn client(&self, number: u64) -> Box<dyn Client>;
}

/// One client of a store. Its calls panic where the store refuses: a figure of refusals is none.
pub trait Client: Send {
    /// Appends all events, whole and durable.
    fn append<'a>(&'a mut self, events: &'a [Event], guard: Guard) -> BoxFuture<'a, ()>;

    /// Reads every event in order, and counts them.
    fn read_all(&mut self) -> BoxFuture<'_, u64>;

    /// Reads every event of a stream in order (of its tag, where a store has no streams), and counts them.
    fn read_stream(&mut self, stream: u64) -> BoxFuture<'_, u64>;
}

/// The answer of a call that blocked its thread.
pub fn ready<'a, T: Send + 'a>(answer: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

/// The runtime of all tasks and connections of this process, with a thread for each core.
///
/// # Panics
/// If the system gives no threads.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads for a runtime")
    })
}
