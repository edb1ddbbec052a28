//! Workloads that can be stopped anywhere and known afterwards.
//!
//! Two of them. For real processes ([`process`]), what each client appends follows from its number and a count, so that whoever
//! looks later can say what must be there. For a simulated machine, [`simulate`] does everything that a seed says, faults
//! included, beside a model that knows what must be there.

mod check;
mod model;
mod plan;
pub mod process;
mod random;
mod simulation;
mod workload;

pub use random::Random;
pub use simulation::{Outcome, Violation, simulate, simulate_many};
pub use workload::{CLIENTS, batch, contended, options, stale_batch};
