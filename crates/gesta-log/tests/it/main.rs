//! The embedded log through its public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backup;
mod batches_in;
mod damage;
mod descriptors;
mod displaced;
mod laws;
mod opening;
mod repair;
mod replica;
mod restore;
mod scrub;
mod stat;
mod town;
