//! The embedded log as its users see it.

mod damage;
mod laws;
mod opening;
mod town;
