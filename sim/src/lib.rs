//! Workloads that can be stopped at any moment and checked afterwards.
//!
//! There are two. With real processes ([`process`]), the events that a client appends follow from its number and a
//! count, so a checker can compute them. With a simulated machine, [`simulate`] executes the steps of a seed, with
//! faults, and compares the log with a model.

mod check;
mod exercise;
mod flips;
mod frames;
mod groups;
mod harm;
mod jetstream;
mod model;
mod observer;
mod outcome;
mod plan;
pub mod process;
mod proof;
mod random;
mod scripts;
mod seeds;
mod simulation;
mod small_disks;
mod workload;

pub use flips::{Bits, Flips, Left, flip_bits, flip_index_bits};
pub use groups::{GroupViolation, Groups, Mistake, show_groups, simulate_groups};
pub use jetstream::{ClusterViolation, Clustered, simulate_jetstream};
pub use outcome::{Outcome, Violation};
pub use plan::Focus;
pub use random::Random;
pub use scripts::{SCRIPTS, Script, Visits};
pub use seeds::{Seeds, run_seeds};
pub use simulation::{simulate, simulate_focused, simulate_many};
pub use small_disks::fill_small_disks;
pub use workload::{CLIENTS, batch, contended, options, stale_batch};
