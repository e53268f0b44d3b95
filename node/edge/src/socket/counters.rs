//! Counters of a listener since the start of the process.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::failure::Failures;

/// Counters of a listener. They survive changes of its settings.
#[derive(Default)]
pub(crate) struct ListenerCounters {
    /// Connections accepted.
    pub(crate) connections: AtomicU64,
    /// Completed handshakes, including resumptions.
    pub(crate) handshakes: AtomicU64,
    /// Completed resumptions.
    pub(crate) resumed: AtomicU64,
    /// Plaintext bytes from clients.
    pub(crate) bytes_up: AtomicU64,
    /// Plaintext bytes to clients.
    pub(crate) bytes_down: AtomicU64,
    /// Refused and failed connections.
    pub(crate) failures: Failures,
}

impl ListenerCounters {
    /// Counts a completed handshake.
    pub(crate) fn handshake(&self, is_resumed: bool) {
        self.handshakes.fetch_add(1, Relaxed);
        self.resumed.fetch_add(u64::from(is_resumed), Relaxed);
    }
}
