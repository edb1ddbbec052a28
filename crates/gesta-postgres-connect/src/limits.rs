//! The limits of connections, each with its unit and reason.

use std::time::Duration;

/// Time to make a connection, from the reading of files to the server's readiness, unless `connect_timeout` says otherwise. It is
/// shared by the hosts of an address, so that one silent host leaves time for the others.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time for which sent bytes may stay without an acknowledgement of the other machine. The connection ends then.
pub(crate) const UNACKNOWLEDGED_TIME: Duration = Duration::from_secs(10);
/// Time without a packet after which the other machine is asked if it is there.
pub(crate) const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// Time between two such questions.
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Questions without an answer after which the connection ends.
pub(crate) const KEEPALIVE_COUNT: u32 = 3;
