//! What the nodes do, for a display that is drawn again and again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member, with what it has counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeLoad {
    /// Name.
    pub name: String,
    /// `leader`, `follower`, `learner` or `candidate`; `voter` if it does not answer, or no leader
    /// does.
    pub role: String,
    /// `ready`, `lagging`, `draining`, `sealed` or `unreachable`.
    pub state: String,
    /// Lag behind the leader in log entries, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_entries: Option<u64>,
    /// Its counters; none if it does not answer, or is of a version that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Counters>,
}

/// What a node has counted since the start of its process, all listeners together. The difference of
/// two answers, divided by that of `up_ms`, is a rate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Milliseconds since the node runs as a member.
    pub up_ms: u64,
    /// Connections open now.
    pub connections: u64,
    /// Completed handshakes of TLS, resumptions included.
    pub tls_handshakes: u64,
    /// Completed handshakes of DTLS, resumptions included.
    pub dtls_handshakes: u64,
    /// Completed handshakes that resumed an earlier session.
    pub resumed: u64,
    /// Failed connections, by reason.
    pub failures: Vec<Failures>,
    /// Durations of completed handshakes.
    pub durations: Vec<Bucket>,
    /// Plaintext bytes from clients.
    pub bytes_up: u64,
    /// Plaintext bytes to clients.
    pub bytes_down: u64,
    /// Time of the process on all processors, in milliseconds.
    pub cpu_ms: u64,
    /// Memory of the process, in bytes.
    pub resident_bytes: u64,
}

/// Failed connections for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failures {
    /// The reason in one word, as in the metrics.
    pub reason: String,
    /// Their number.
    pub count: u64,
}

/// Completed handshakes of about the same duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// Longest duration in microseconds; none: without a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to_us: Option<u64>,
    /// Handshakes that were slower than the bucket before, and not slower than this one.
    pub count: u64,
}
