//! The limits of the client, each with its unit and reason.

use std::time::Duration;

/// The pause before an append in doubt is sent again for the first time. It doubles with each sending: a lost
/// connection is settled at once, and a server that restarts is not flooded.
pub(crate) const RESEND_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two sendings of an append in doubt.
pub(crate) const RESEND_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Appends at once, waiting or under way. Further ones are refused as `Overloaded`.
pub(crate) const APPENDS_MAX: usize = 4_096;
/// Bytes of the bodies of all appends at once. Further ones are refused as `Overloaded`. Twice the body of the largest
/// batch, 64 MiB as base64.
pub(crate) const APPENDS_BYTES_MAX: usize = 192 * MIB;
/// Other requests under way at once. Further ones wait in line. Each holds a few KiB.
pub(crate) const QUESTIONS_MAX: usize = 1_024;
/// Calls of members under way at once. Further ones wait for one to end. Each has a connection: a server has room for
/// as many subscriptions.
pub(crate) const TAKES_MAX: usize = 1_024;
/// The time for which the answer to a member may still arrive after its caller is gone, so that what it has is given back at once.
/// After it the connection is closed.
pub(crate) const UNCLAIMED_TIME_MAX: Duration = Duration::from_millis(250);
/// Parked streams and held events that one request asks for: the most that a server gives.
pub(crate) const PARKED_MAX: u32 = 1_024;
/// See [`PARKED_MAX`].
pub(crate) const HELD_MAX: u32 = 1_000;
/// Time for which an unused connection is kept. A server of Gesta closes it after 30 s.
pub(crate) const IDLE_TIME_MAX: Duration = Duration::from_secs(15);
/// Bytes of one answer. A page holds at most one batch more than was asked for, 64 MiB, as base64, with names whose
/// every character is escaped.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 * MIB;
/// Seconds for which the server holds the shared wait for new events, if it waits that long. Proxies often cut an
/// answer that takes a minute.
pub(crate) const WAIT_SECONDS_MAX: u32 = 30;

const MIB: usize = 1024 * 1024;
