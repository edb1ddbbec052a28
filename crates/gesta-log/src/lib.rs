//! The embedded log of Gesta: segments, group commit, recovery and index over one directory.

mod damage;
mod env;
mod format;
mod index;
mod manifest;
mod segment;
