//! The timers of a process: a consumer finds those that are set, and fires them when they are due.
//!
//! A timer is an event, `timer-set`, in the stream of its process. What is kept here are its time and its position. When it is
//! due, the stream is read from the `timer-set` to its end. If the timer was cancelled, set again or fired since, it is
//! forgotten. Otherwise `timer-fired` is appended, expecting the version that was just read, under a key of stream and version.
//! So it fires once, and never after its cancel, also with two hosts at once.

mod fire;
mod place;
mod schedule;
mod service;

pub(crate) use fire::{Round, Step, entry_of, lock, step, timer_sets};
pub(crate) use schedule::Schedule;
pub use service::{TimerSettings, TimerStats, Timers, TimersError};
