//! What happens on a listener, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection was refused or ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The node has no place for more connections.
    TooMany,
    /// Its address has too many connections.
    TooManyFromAddress,
    /// It had to make room for a newer one before it came to anything.
    Displaced,
    /// The PROXY header is missing or malformed.
    ProxyHeader,
    /// The handshake took too long.
    Timeout,
    /// What the client said is no hello of TLS as it is spoken here.
    NoHello,
    /// The domain, or that there is none, forbids it.
    Refused,
    /// The handshake failed.
    Handshake,
    /// No upstream could be reached.
    Upstream,
}

impl Failure {
    /// All, in the order of the counters.
    pub(crate) const ALL: [Failure; 9] = [
        Failure::TooMany,
        Failure::TooManyFromAddress,
        Failure::Displaced,
        Failure::ProxyHeader,
        Failure::Timeout,
        Failure::NoHello,
        Failure::Refused,
        Failure::Handshake,
        Failure::Upstream,
    ];

    /// One word for logs and metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Failure::TooMany => "too_many",
            Failure::TooManyFromAddress => "too_many_from_address",
            Failure::Displaced => "displaced",
            Failure::ProxyHeader => "proxy_header",
            Failure::Timeout => "timeout",
            Failure::NoHello => "no_hello",
            Failure::Refused => "refused",
            Failure::Handshake => "handshake",
            Failure::Upstream => "upstream",
        }
    }
}

/// Counters of a listener since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections accepted.
    pub(crate) connections: AtomicU64,
    /// Handshakes that came to their end, resumptions included.
    pub(crate) handshakes: AtomicU64,
    /// Those of them that resumed a session.
    pub(crate) resumed: AtomicU64,
    /// Clear bytes from clients.
    pub(crate) bytes_up: AtomicU64,
    /// Clear bytes to clients.
    pub(crate) bytes_down: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
}

impl Counters {
    /// Counts a failure.
    pub(crate) fn fail(&self, failure: Failure) {
        let counter = Failure::ALL.iter().zip(&self.failures).find(|(one, _)| **one == failure);
        if let Some((_, counter)) = counter {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Each reason with its count.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::ALL.into_iter().zip(&self.failures).map(|(one, count)| (one, count.load(Relaxed)))
    }
}
