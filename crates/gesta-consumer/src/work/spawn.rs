//! Where workers run: on threads, or on the runtime of a host.

use std::io;
use std::thread;

use gesta_core::BoxFuture;

/// Runs futures in the background.
pub trait Spawn: Send + Sync {
    /// Starts a future. It runs to its end, even if nobody waits for it. `name` is for people.
    ///
    /// # Errors
    /// The system has no room for it. The future was not started.
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> io::Result<()>;
}

/// A thread for each future, without a runtime. Handlers may block.
#[derive(Debug, Clone, Copy, Default)]
pub struct Threads;

impl Spawn for Threads {
    fn spawn(&self, name: &str, future: BoxFuture<'static, ()>) -> io::Result<()> {
        // A thread's name holds no zero byte.
        let thread = thread::Builder::new().name(name.replace('\0', ""));
        thread.spawn(move || pollster::block_on(future)).map(drop)
    }
}
