//! Ports of loopback.

use std::net::TcpListener;

/// Ports that are free now, all different. Take all ports of a test in one call: a port that was given may be given again.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}
