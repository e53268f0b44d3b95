//! Bounds of handshakes.

/// Certificates that are looked at of what a peer shows; honest ones show three.
pub(crate) const PEER_CHAIN_MAX: usize = 16;
/// Longest session that is sealed into a ticket: a client's chain is part of it, and comes back
/// with each hello.
pub(crate) const SESSION_BYTES_MAX: usize = 8 * 1024;
