//! What happens on a listener, counted since the start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::failure::Failures;

/// Counters of a listener; they outlive its changes.
#[derive(Default)]
pub(crate) struct ListenerCounters {
    /// Connections accepted.
    pub(crate) connections: AtomicU64,
    /// Handshakes that came to their end, resumptions among them.
    pub(crate) handshakes: AtomicU64,
    /// Those of them that resumed a session.
    pub(crate) resumed: AtomicU64,
    /// Clear bytes from clients.
    pub(crate) bytes_up: AtomicU64,
    /// Clear bytes to clients.
    pub(crate) bytes_down: AtomicU64,
    /// Connections that were refused or came to an early end.
    pub(crate) failures: Failures,
}

impl ListenerCounters {
    /// Counts a handshake that came to its end.
    pub(crate) fn handshake(&self, is_resumed: bool) {
        self.handshakes.fetch_add(1, Relaxed);
        self.resumed.fetch_add(u64::from(is_resumed), Relaxed);
    }
}
