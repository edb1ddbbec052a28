//! Workers: they take the deliveries of a group and hand them to a handler, several at a time.
//!
//! The workers of one call are one member of the group. More of them, in the same process or in others, share the work.

mod handle;
mod member;
mod planted;
mod run;
mod shared;
#[cfg(test)]
mod simulation;
mod spawn;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;

use crate::clock::Clock;
use crate::group::{GroupName, Groups, MemberName};
use crate::limits::WORKERS_MAX;
use member::Member;
use run::{Loop, worker};
use shared::Shared;

pub use handle::{Failed, Handle};
pub use spawn::{Spawn, Threads};

/// Works off the deliveries of a group, until the workers are stopped.
///
/// `concurrency` deliveries are handled at the same time, each of another stream; it is at least 1 and at most 1,024. Deliveries
/// in hand are renewed as long as they are being handled. While the group is away, stopped, or does not exist, the workers wait
/// for it and log why.
///
/// `spawn` starts `concurrency` + 1 futures. With [`Threads`] handlers may block. A runtime of the host needs handlers that do
/// not.
///
/// # Errors
/// The system has no room for them. None is left behind.
pub fn work(
    groups: Arc<dyn Groups>,
    group: GroupName,
    concurrency: usize,
    handler: Arc<dyn Handle>,
    spawn: &dyn Spawn,
    clock: Arc<dyn Clock>,
) -> io::Result<Workers> {
    let concurrency = concurrency.clamp(1, WORKERS_MAX);
    let shared = Arc::new(Shared::default());
    let name = member_name();
    let salt = RandomState::new().hash_one(&name);
    let member = Member::new(name.clone(), concurrency, salt, clock.elapsed());
    let workers = Workers { name, shared: Arc::clone(&shared) };
    let thread = format!("work-{group}");
    let start = || {
        for _ in 0..concurrency {
            spawn.spawn(&thread, Box::pin(worker(Arc::clone(&shared), Arc::clone(&handler))))?;
        }
        let member_loop = Loop { groups, group, clock, shared: Arc::clone(&shared) };
        spawn.spawn(&thread, Box::pin(member_loop.run(member)))
    };
    // The workers that were started find no work, and end.
    start().inspect_err(|_| shared.end())?;
    Ok(workers)
}

/// Workers of a group. Dropping this asks them to stop, and does not wait.
pub struct Workers {
    name: MemberName,
    shared: Arc<Shared>,
}

impl Workers {
    /// Returns the name of the member that they are: the host, the process id and a random part.
    #[must_use]
    pub const fn member(&self) -> &MemberName {
        &self.name
    }

    /// Asks the workers to stop. They take nothing new, give back what they have not begun, and have 5 s to finish the rest.
    /// What is not finished then is left and given back too.
    pub fn request_stop(&self) {
        self.shared.stop();
    }

    /// Ends when the workers have ended: after a stop, or because the groups were closed.
    ///
    /// A handler that blocks its thread for longer than a stop waits goes on by itself. What it still does is not settled.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn ended(&self) {
        self.shared.ended().await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.request_stop();
    }
}

/// A name that no other process has.
fn member_name() -> MemberName {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let host = host.trim().chars().filter(|character| plain(*character)).take(64).collect::<String>();
    let host = if host.is_empty() { "host" } else { &host };
    let process = std::process::id();
    // Each `RandomState` has keys of its own.
    let random = RandomState::new().hash_one(process);
    MemberName::new(format!("{host}-{process}-{random:016x}")).expect("the parts are short and plain")
}
