//! Faults of real processes on a real file system: kills, failed system calls, full disks and power cuts.
//!
//! A process ([`Driver`]) prints each answer on a line. A [`Witness`] reads the lines and knows which events must
//! exist. Each kind of fault is a function that returns a [`Table`] of attempts and outcomes.

mod block_log;
mod crash_state;
mod driver;
mod full_disk;
mod image;
mod judge;
mod kills;
mod limits;
mod power;
mod power_blocks;
mod recorder;
mod recovery;
mod said;
mod strace;
mod syscalls;
mod table;
mod witness;
mod written_back;

pub use driver::Driver;
pub use full_disk::full_disk;
pub use kills::{Torture, torture};
pub use limits::limits;
pub use power::power_cuts;
pub use power_blocks::{power_cut_again, power_cuts_of_blocks};
pub use recovery::killed_recoveries;
pub use said::{Acknowledged, Answer, Said, places};
pub use strace::Strace;
pub use syscalls::{failed_calls, failed_calls_sample, killed_calls};
pub use table::{Row, Table};
pub use witness::{Checked, Witness};
pub use written_back::written_back_in_vain;
