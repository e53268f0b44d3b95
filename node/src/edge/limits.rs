//! Bounds of the edge.

use std::time::Duration;

/// Longest time from the first byte to the end of the handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of a node at once.
pub(crate) const CONNECTIONS_MAX: usize = 50_000;
/// Longest time to connect to the upstream.
pub(crate) const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// Buffer of each direction of a connection, in bytes.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;
/// Pause after the system refuses to accept, so that a full table of descriptors does not spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Pause between tries to open a socket.
pub(crate) const OPEN_RETRY: Duration = Duration::from_secs(2);
/// Connections waiting to be accepted, per socket.
pub(crate) const BACKLOG: i32 = 4096;
