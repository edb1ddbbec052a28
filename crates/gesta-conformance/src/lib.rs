//! The laws of an event store.
