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
    /// `ready`, `lagging`, `draining`, `sealed` or `unreachable`.
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

/// Drains a node: it takes no new connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Seconds after which connections that still stand are closed; 600 if not given.
    pub deadline_s: Option<u64>,
}

/// How far a drain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Always [`crate::API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Drain`.
    pub kind: String,
    /// The node.
    pub node: String,
    /// `serving`, `draining` or `drained`.
    pub state: String,
    /// Connections that still stand.
    pub remaining: u64,
    /// Connections that have come to their own end.
    pub finished: u64,
    /// Connections that were closed at the deadline.
    pub closed: u64,
}
