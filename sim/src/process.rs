//! Real processes on the real file system, and what happens to them: they are killed, their system calls fail, their disk
//! fills up, their power is cut.
//!
//! A process ([`Driver`]) says what it was told, line by line; a [`Witness`] hears it, and knows what must be there whatever
//! happened. Each kind of fault is a function that gives a [`Table`] of what was tried and what came of it.

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
