//! Nodes.

use serde::{Deserialize, Serialize};

/// A member of the cluster as the answering node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Number.
    pub id: u64,
    /// `leader`, `follower`, `learner` or `candidate`.
    pub role: String,
    /// `ready`, `sealed` or `unreachable`.
    pub state: String,
    /// `HOST:PORT` for other nodes.
    pub address: String,
    /// Entries that it is behind the leader, if known.
    pub lag_entries: Option<u64>,
    /// Index that it serves, if known.
    pub served_index: Option<u64>,
    /// Digest of its state at that index, hex, if known.
    pub digest: Option<String>,
    /// Rows of its state, if known.
    pub rows: Option<u64>,
    /// Open TLS connections, if known.
    pub connections: Option<u64>,
    /// Handshakes done since its start, if known.
    pub handshakes: Option<u64>,
    /// Since when it runs, if known.
    pub started: Option<String>,
    /// Version of its program, if known.
    pub version: Option<String>,
}
