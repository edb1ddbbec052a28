//! Workloads that can be stopped anywhere and known afterwards.
//!
//! Two of them. For real processes ([`process`]), what each client appends follows from its number and a count, so that whoever
//! looks later can say what must be there. For a simulated machine, [`simulate`] does everything that a seed says, faults
//! included, beside a model that knows what must be there.

mod check;
mod exercise;
mod flips;
mod frames;
mod harm;
mod model;
mod observer;
mod outcome;
mod plan;
pub mod process;
mod proof;
mod random;
mod scripts;
mod simulation;
mod small_disks;
mod workload;

pub use flips::{Bits, Flips, Left, flip_bits, flip_index_bits};
pub use outcome::{Outcome, Violation};
pub use plan::Focus;
pub use random::Random;
pub use scripts::{SCRIPTS, Script, Visits};
pub use simulation::{simulate, simulate_focused, simulate_many};
pub use small_disks::fill_small_disks;
pub use workload::{CLIENTS, batch, contended, options, stale_batch};
