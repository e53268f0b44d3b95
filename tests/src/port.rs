//! Ports for what is started later.

use std::{
    net::{IpAddr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the ports that the system gives to connections and to those who ask for any: such a port is
/// taken by nobody until it is used.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free at these addresses, for TCP and UDP, and given out once by this process.
pub fn free_port(addresses: &[IpAddr]) -> u16 {
    let count = PORTS.end - PORTS.start;
    // Two processes of tests begin apart from each other.
    let start = u16::try_from(std::process::id().wrapping_mul(997) % u32::from(count)).unwrap();
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let port = PORTS.start + (start + step) % count;
        let is_free = |address: &IpAddr| {
            TcpListener::bind((*address, port)).is_ok() && UdpSocket::bind((*address, port)).is_ok()
        };
        if addresses.iter().all(is_free) {
            return port;
        }
    }
}
