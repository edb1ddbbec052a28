//! Derives of the `gesta` crate.
