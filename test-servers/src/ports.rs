//! Ports of loopback.
//!
//! *Choice: random ports below those that the kernel gives, not port 0.* A server that is killed and started again needs the same port.
//! Meanwhile the kernel could give it to another test, or to an outgoing connection.
//!
//! *Invariant:* no two processes of tests have the same port. The process that was given one holds the UDP port of the same number.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Linux gives ports from 32,768 on to those who name none. The usual ports of servers are below 10,000.
const PORTS: Range<u16> = 10_000..32_000;
/// Ports that are tried. A machine that has none of them free has no loopback.
const TRIES: usize = 1_000;

/// One socket for each port that was given, until the process ends.
static GIVEN: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// Ports that are free now, all different. Until this process has ended, no call in any process returns them again.
///
/// # Panics
///
/// If no port can be bound.
pub fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_port())
}

/// An address with a [free port](free_ports).
///
/// # Panics
///
/// If no port can be bound.
pub fn free_address() -> SocketAddr {
    at(free_port())
}

fn free_port() -> u16 {
    let (port, held) = (0..TRIES).find_map(|_| hold(random_port())).expect("a free port");
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner).push(held);
    port
}

/// Holds a port if no other process of tests has it, and no server listens there.
fn hold(port: u16) -> Option<(u16, UdpSocket)> {
    let held = UdpSocket::bind(at(port)).ok()?;
    TcpListener::bind(at(port)).is_ok().then_some((port, held))
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn random_port() -> u16 {
    let random = RandomState::new().hash_one(()) % u64::from(PORTS.end - PORTS.start);
    PORTS.start + u16::try_from(random).expect("it is less than the number of ports")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_and_can_be_bound_and_bound_again() {
        let ports = free_ports::<100>();
        let different = ports.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(different.len(), ports.len());
        for port in ports {
            assert!(PORTS.contains(&port) && hold(port).is_none());
            for _ in 0..2 {
                TcpListener::bind(at(port)).expect("nobody listens there");
            }
        }
    }
}
