//! The embedded log as its users see it.

mod laws;
