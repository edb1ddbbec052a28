//! Workloads that can be stopped anywhere and known afterwards: what each client appends follows from its number and a
//! count, so that whoever looks later can say what must be there.

mod random;
mod workload;

pub use random::Random;
pub use workload::{Acknowledged, CLIENTS, batch, options};
