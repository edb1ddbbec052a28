//! Consumers and consumer groups over an event store. They need no runtime and no network.
//!
//! - [`Clock`] is the time that they use: the system's, or a [`TestClock`] that a test moves.
//! - A [`Consumer`] is a named reader of the log whose [`Handler`] commits how far it got.
//! - [`Consumers`] are those of a process, for operators: a pause is kept over a restart.
//! - A [consumer group](group) reads the log once and hands out deliveries to its members: threads, processes or machines.
//! - [`work`] runs workers that take the deliveries of a group and hand them to a [`Handle`].

mod back_off;
mod bugs;
mod clock;
mod consumer;
mod consumers;
pub mod group;
mod history;
mod limits;
#[cfg(feature = "sim")]
pub mod sim;
mod work;

pub use clock::{Clock, SystemClock, TestClock};
pub use consumer::{
    AnyConsumer, Consumer, ConsumerReport, ConsumerSettings, ConsumerState, ConsumerStatus, Failure, Handled,
    Handler, HandlerError, Interrupter, Notice, Opener, Opening, Paused, Reach, Recovery, Session, Start,
    Stop, Why, events_between,
};
pub use consumers::{AddError, Consumers, ControlError, UnknownConsumer, kept_pause};
pub use history::check_history;
pub use work::{Failed, Handle, Spawn, Threads, Workers, work};
