//! Bounds of handshakes.

/// Most certificates in a peer's chain; honest peers send about three.
pub(crate) const PEER_CHAIN_MAX: usize = 16;
/// Longest session sealed into a ticket, in bytes. The session holds the client's chain, and the
/// ticket comes back in each hello.
pub(crate) const SESSION_BYTES_MAX: usize = 8 * 1024;
